"""The report: one HTML page that opens from disk, without network, and shows what was found.

Photos beside their masks, the tree of scene groups, objects and parts, the objects with a gallery of each
part's best patches, the graph that joined parts into objects, and the curves behind every automatic choice.
The graph is laid out in `graph`, charts in `curve`; wording is in `text`, the page in
`templates/report.html.j2` with its style and its script beside it. The page is complete without the script,
which adds pointing, a closer look and a filter; `regions` says what is under the pointer.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from leopart.drawing.masks import jpeg
from leopart.drawing.palette import colours, part_colours
from leopart.files import write_text
from leopart.segment.report import curve, graph, text
from leopart.segment.report.regions import Regions
from leopart.segment.summary import Summary

if TYPE_CHECKING:
    from leopart.training.adaptation import Adapted

Pixels = NDArray[np.uint8]

CONTACT_SHEET = 60
"""At most this many photos are shown; the others are listed."""
THUMBNAIL = 360
"""Longest side, in pixels, of a photo in the contact sheet: larger ones are made smaller."""
FEW_PHOTOS = 3
"""Objects seen in fewer photos are folded away as rare, unless all are."""
_NODE = 72  # longest side of a part's picture in the graph
_PATCHES = 8  # per part
_ALL_PATCHES = 960  # per report: with many parts each shows fewer, so that the page stays small


@dataclass(frozen=True)
class PhotoRow:
    """One photo of the contact sheet. Arrays are sRGB uint8 [H, W, 3], all three of one size."""

    name: str
    """File name as the user knows it, relative to the input folder; any characters."""
    photo: Pixels | None = None
    """Small photo; None: the photo is listed only."""
    parts: Pixels | None = None
    """The same with the part overlay."""
    objects: Pixels | None = None
    """The same with the object overlay."""
    link: str | None = None
    """Overlay file, relative to the report, with forward slashes and not quoted."""
    regions: Regions | None = None
    """What is under the pointer."""


@dataclass(frozen=True)
class PartRow:
    """One part."""

    id: int
    """Part id as in the masks, >= 1."""
    object: int
    """Object id, 0 = background."""
    share: float
    """Part of all pixels, 0 .. 1."""
    photos: int
    """In how many photos it appears."""
    patches: Sequence[Pixels] = ()
    """Best patches, best first, sRGB uint8 [h, w, 3] each; about 96 pixels and square."""


@dataclass(frozen=True)
class ObjectRow:
    """One object, or the background."""

    id: int
    """Object id as in the masks, >= 1; 0 = the background."""
    parts: Sequence[PartRow]
    """Parts that are mainly its own, the largest first."""
    share: float
    """Part of all pixels, 0 .. 1."""
    photos: int
    """In how many photos it appears."""


@dataclass(frozen=True)
class SceneRow:
    """One scene group: objects that lie beside each other."""

    id: int
    """Number of the group, >= 1."""
    objects: Sequence[ObjectRow]
    share: float
    """Part of all pixels, 0 .. 1."""
    photos: int
    """In how many photos at least one of its objects appears."""


@dataclass(frozen=True)
class Curve:
    """Evidence behind an automatic choice: what was tried, how good it was, what was taken."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    """Values tried."""
    y: Sequence[float]
    """How good each was, as many as x."""
    chosen: float | None = None
    """The x that was taken."""
    caption: str = ""
    """One sentence: how to read the curve."""
    mark: str = ""
    """What to write at the x that was taken, if not the number itself."""


@dataclass(frozen=True)
class Credit:
    """Whose photograph it is."""

    name: str
    author: str
    licence: str
    source: str
    """Web address, shown as a link if it starts with http:// or https://."""


@dataclass(frozen=True)
class ReportPage:
    """Everything the page shows; any sequence may be empty."""

    title: str
    summary: Summary
    """Counts, warnings, failures, seconds and labels are shown as they are."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The options, with what `auto` came to."""
    versions: Mapping[str, str] = field(default_factory=dict)
    photos: Sequence[PhotoRow] = ()
    objects: Sequence[ObjectRow] = ()
    """The largest first, the background last."""
    scenes: Sequence[SceneRow] = ()
    shared: int = 0
    """Number of parts that belong to more than one object, by photo."""
    edges: Sequence[tuple[int, int, float]] = ()
    """The co-occurrence graph: part id, part id, weight in 0 .. 1."""
    curves: Sequence[Curve] = ()
    adaptation: Adapted | None = None
    """How the backbone was adapted to the photos."""
    credits: Sequence[Credit] = ()

    @property
    def parts(self) -> list[PartRow]:
        """All parts, by object."""
        return [part for row in self.objects for part in row.parts]

    @property
    def n_objects(self) -> int:
        """Number of objects, without the background."""
        return sum(row.id > 0 for row in self.objects)


def shown(count: int, cap: int = CONTACT_SHEET) -> list[int]:
    """Which of `count` photos the contact sheet shows: at most `cap`, evenly spread, first and last included.

    Only these need thumbnails in their `PhotoRow`.
    """
    if count <= cap:
        return list(range(count))
    return [round(i * (count - 1) / (cap - 1)) for i in range(cap)]


def write_report(path: Path, page: ReportPage) -> None:
    """Write the report as one self-contained HTML file, UTF-8.

    Pictures are embedded; the only links that leave the page are overlay files and credits. A closer
    look shows the overlay file where there is one. Every text is escaped. At most `CONTACT_SHEET` photos are
    shown, the others are listed with links.

    Args:
        path: file to write, usually OUT/report.html; overlay links are relative to its folder.
        page: what to show.

    Raises:
        LeopartError: the file cannot be written.
    """
    write_text(path, render_report(page))


def render_report(page: ReportPage) -> str:
    """HTML of the report, as `write_report` writes it."""
    folder = files("leopart.segment.report").joinpath("templates")
    template, style, script = (
        folder.joinpath(f"report.{kind}").read_text(encoding="utf-8") for kind in ("html.j2", "css", "js")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(name=text.readable, seconds=text.seconds, share=text.share, href=text.href)
    environment.filters.update(fit=_fit, uri=_data_uri, object_colour=_object_colour)
    html = environment.from_string(template).render(
        page=page,
        run=page.summary,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        thumbnail=THUMBNAIL,
        few=FEW_PHOTOS,
        patches=max(1, min(_PATCHES, _ALL_PATCHES // max(len(page.parts), 1))),
        part_colour=_part_colours(page),
        largest_part=max((part.share for part in page.parts), default=0.0) or 1.0,
        largest_scene=max((row.share for row in page.scenes), default=0.0) or 1.0,
        graph=_graph(page),
        curves=[(c, curve.draw_chart(c.x, c.y, c.chosen, c.mark)) for c in page.curves],
        chart_size=(curve.WIDTH, curve.HEIGHT),
        map_size=(graph.WIDTH, graph.HEIGHT),
        **_photos(page),
        **_objects(page),
        **_time(page),
    )
    # A name that is not valid Unicode has been made readable; anything left over must not stop the report.
    return html.encode("utf-8", "replace").decode("utf-8")


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: our own style and script, pictures in the page and overlays beside it."""
    rules = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data: 'self' file:",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "style-src-attr": "'unsafe-inline'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(content: str) -> str:
    return "'sha256-{}'".format(base64.b64encode(sha256(content.encode()).digest()).decode("ascii"))


def _photos(page: ReportPage) -> dict[str, Sequence[PhotoRow]]:
    """Those of the contact sheet, and the others."""
    pictured = [row for row in page.photos if row.photo is not None]
    sheet = [pictured[i] for i in shown(len(pictured))]
    chosen = {id(row) for row in sheet}
    return {"sheet": sheet, "listed": [row for row in page.photos if id(row) not in chosen]}


def _objects(page: ReportPage) -> dict[str, Sequence[ObjectRow | SceneRow]]:
    """Rare objects and all others; scene groups of several objects, and objects in no such group."""
    rare = [row for row in page.objects if row.id and row.photos < FEW_PHOTOS]
    rare = rare if len(rare) < page.n_objects else []
    folded = {row.id for row in rare}
    alone = [row for scene in page.scenes for row in scene.objects if len(scene.objects) == 1]
    return {
        "common": [row for row in page.objects if row.id not in folded],
        "rare": rare,
        "groups": [scene for scene in page.scenes if len(scene.objects) > 1],
        "alone": [row for row in alone if row.id not in folded],
    }


def _time(page: ReportPage) -> dict[str, float]:
    seconds = page.summary.seconds.values()
    return {"seconds_total": sum(seconds), "seconds_most": max(seconds, default=0.0) or 1.0}


def _graph(page: ReportPage) -> dict[str, object]:
    """Drawing of the foreground parts: nodes, edges and outlines."""
    parts = {part.id: part for part in page.parts if part.object > 0}
    edges = [(a, b, w) for a, b, w in page.edges if a in parts and b in parts and a != b and w > 0]
    largest = max((part.share for part in parts.values()), default=0.0) or 1.0
    radii = {i: 0.55 + 0.9 * sqrt(max(part.share, 0.0) / largest) for i, part in parts.items()}
    placed = graph.draw_map(radii, {i: part.object for i, part in parts.items()}, edges)
    # Strong edges last, so that they lie on top; too many weak ones would only darken the picture.
    edges = sorted(edges, key=lambda edge: edge[2])[-max(40, 4 * len(parts)) :]
    heaviest = max((weight for *_, weight in edges), default=1.0)
    images = {i: _data_uri(_fit(part.patches[0], _NODE)) for i, part in parts.items() if len(part.patches)}
    return {
        "nodes": [(parts[i], *placed.nodes[i]) for i in sorted(parts)],
        "images": images,
        "boxes": {i: _box(*placed.nodes[i]) for i in images},
        "edges": [(a, b, w, placed.nodes[a], placed.nodes[b], w / heaviest) for a, b, w in edges],
        "hulls": placed.hulls,
    }


def _box(x: float, y: float, r: float) -> str:
    """The square round a disc, as the view box of a picture that shows it alone."""
    return f"{x - r:.1f} {y - r:.1f} {2 * r:.1f} {2 * r:.1f}"


def _part_colours(page: ReportPage) -> dict[int, str]:
    object_of_part = np.zeros(max((part.id for part in page.parts), default=0) + 1, dtype=np.int64)
    for part in page.parts:
        object_of_part[part.id] = part.object
    table = part_colours(object_of_part)
    return {part.id: _css(table[part.id]) for part in page.parts}


def _object_colour(number: int) -> str:
    return "rgb(128,128,128)" if number == 0 else _css(colours(number + 1)[number])


def _css(rgb: Pixels) -> str:
    return "rgb({},{},{})".format(*(int(v) for v in rgb))


def _fit(pixels: Pixels, longest: int) -> Pixels:
    """The picture, made smaller if a side is longer than `longest`."""
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _data_uri(pixels: Pixels) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(pixels)).decode("ascii")

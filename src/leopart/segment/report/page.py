"""The report: one HTML page that opens from disk, without network, and shows what was found.

Photos beside their masks, the tree of scene groups, objects and parts, the objects with a gallery of each
part's best patches, the graph that joined parts into objects, and the curves behind every automatic choice.
Drawing is in `report_graph` and `report_curve`, wording in `report_text`, the page in
`templates/report.html.j2`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from math import sqrt
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from leopart.drawing.masks import jpeg
from leopart.drawing.palette import colours, part_colours
from leopart.files import write_text
from leopart.segment.report import curve, graph, text

Pixels = NDArray[np.uint8]

CONTACT_SHEET = 60
"""At most this many photos are shown; the others are listed."""
THUMBNAIL = 360
"""Longest side, in pixels, of a photo in the contact sheet: larger ones are made smaller."""
_PATCH, _NODE = 96, 72
_PATCHES = 8  # per part
_OPEN = 60  # objects of the tree that are shown unfolded
_WIDE = 16  # objects and parts that a group shows beside another group
_SHEET = 1400  # contact sheets of an adaptation
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
    """One object."""

    id: int
    """Object id as in the masks, >= 1; a row with id 0 describes the background."""
    parts: Sequence[int]
    """Its part ids, of parts that are mainly its own."""
    share: float
    """Part of all pixels, 0 .. 1."""
    photos: int
    """In how many photos it appears."""


@dataclass(frozen=True)
class SceneRow:
    """One scene group: objects that lie beside each other."""

    id: int
    """Number of the group, >= 1."""
    objects: Sequence[int]
    """Its object ids."""
    share: float
    """Part of all pixels, 0 .. 1."""
    photos: int
    """In how many photos at least one of its objects appears."""


@dataclass(frozen=True)
class Edge:
    """One edge of the co-occurrence graph."""

    a: int
    """Part id."""
    b: int
    """Part id."""
    weight: float
    """0 .. 1."""


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


@dataclass(frozen=True)
class Adaptation:
    """How the backbone was adapted to the photos."""

    steps: int
    seconds: float
    stopped_early: bool
    """Whether it ended before its time."""
    before: Pixels | None = None
    """A few photos above the clusters of their features, sRGB uint8 [H, W, 3]."""
    after: Pixels | None = None
    """The same with the adapted backbone."""


@dataclass(frozen=True)
class Credit:
    """Whose photograph it is."""

    name: str
    author: str
    licence: str
    source: str
    """Web address, shown as a link if it starts with http:// or https://."""


@dataclass(frozen=True)
class Report:
    """Everything the page shows; any sequence may be empty."""

    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds, in order."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Headline numbers, in order, e.g. photos, parts, objects."""
    labels_used: str = "none"
    warnings: Sequence[str] = ()
    failures: Sequence[tuple[str, str]] = ()
    """Photo name and reason."""
    photos: Sequence[PhotoRow] = ()
    parts: Sequence[PartRow] = ()
    objects: Sequence[ObjectRow] = ()
    scenes: Sequence[SceneRow] = ()
    shared: int = 0
    """Number of parts that belong to more than one object, by photo."""
    edges: Sequence[Edge] = ()
    curves: Sequence[Curve] = ()
    adaptation: Adaptation | None = None
    credits: Sequence[Credit] = ()


def shown(count: int, cap: int = CONTACT_SHEET) -> list[int]:
    """Which of `count` photos the contact sheet shows: at most `cap`, evenly spread, first and last included.

    Only these need thumbnails in their `PhotoRow`.
    """
    if count <= cap:
        return list(range(count))
    return [round(i * (count - 1) / (cap - 1)) for i in range(cap)]


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file, UTF-8.

    Images are embedded; the only links that leave the page are overlay files and credits. Every text is
    escaped. At most `CONTACT_SHEET` photos are shown, the others are listed with links.

    Args:
        path: file to write, usually OUT/report.html; overlay links are relative to its folder.
        report: what to show.

    Raises:
        LeopartError: the file cannot be written.
    """
    write_text(path, render_report(report))


def render_report(report: Report) -> str:
    """HTML of the report, as `write_report` writes it."""
    template = (
        files("leopart.segment.report").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(name=text.readable, seconds=text.seconds, share=text.share)
    sheet, listed = _sheet(report.photos)
    objects = _objects(report)
    page = environment.from_string(template).render(
        report=report,
        sheet=sheet,
        listed=listed,
        objects=objects,
        scenes=_scenes(report, objects),
        graph=_graph(report),
        curves=[(c, curve.draw_chart(c.x, c.y, c.chosen)) for c in report.curves],
        sheets=_sheets(report.adaptation),
        credits=[(c, c.source.startswith(("https://", "http://"))) for c in report.credits],
        seconds_total=sum(report.seconds.values()),
        seconds_most=max(report.seconds.values(), default=0.0),
        chart_size=(curve.WIDTH, curve.HEIGHT),
        map_size=(graph.WIDTH, graph.HEIGHT),
    )
    # A name that is not valid Unicode has been made readable; anything left over must not stop the report.
    return page.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class _SheetRow:
    name: str
    images: list[tuple[str, str]]  # caption, data URI
    size: tuple[int, int]  # width, height
    link: str | None


@dataclass(frozen=True)
class _PartView:
    row: PartRow
    colour: str
    patches: list[str]
    bar: float  # share relative to the largest part, 0 .. 1


@dataclass(frozen=True)
class _ObjectView:
    id: int
    colour: str
    share: float
    photos: int | None
    parts: list[_PartView]


@dataclass(frozen=True)
class _SceneView:
    row: SceneRow
    objects: list[_ObjectView]
    bar: float  # share relative to the largest group, 0 .. 1
    unfolded: bool
    wide: bool


def _sheet(photos: Sequence[PhotoRow]) -> tuple[list[_SheetRow], list[tuple[str, str | None]]]:
    """Photos with images for the contact sheet, names and links of all others."""
    pictured = [i for i, photo in enumerate(photos) if photo.photo is not None]
    chosen = {pictured[i] for i in shown(len(pictured))}
    sheet = [_sheet_row(photos[i]) for i in sorted(chosen)]
    listed = [(p.name, text.href(p.link)) for i, p in enumerate(photos) if i not in chosen]
    return sheet, listed


def _sheet_row(row: PhotoRow) -> _SheetRow:
    arrays = [("photo", row.photo), ("parts", row.parts), ("objects", row.objects)]
    small = [(caption, _fit(array, THUMBNAIL)) for caption, array in arrays if array is not None]
    height, width = small[0][1].shape[:2]
    images = [(caption, _data_uri(array)) for caption, array in small]
    return _SheetRow(row.name, images, (width, height), text.href(row.link))


def _sheets(adaptation: Adaptation | None) -> list[tuple[str, str]]:
    """Caption and data URI of the contact sheets of an adaptation."""
    if adaptation is None:
        return []
    sheets = [("Before", adaptation.before), ("After", adaptation.after)]
    return [(caption, _data_uri(_fit(sheet, _SHEET))) for caption, sheet in sheets if sheet is not None]


def _objects(report: Report) -> list[_ObjectView]:
    """Objects by falling share with their parts by falling share; the background last."""
    tints = _part_tints(report)
    each = max(1, min(_PATCHES, _ALL_PATCHES // max(len(report.parts), 1)))
    most = max((p.share for p in report.parts), default=0.0) or 1.0
    grouped: dict[int, list[_PartView]] = {}
    for row in sorted(report.parts, key=lambda p: (-p.share, p.id)):
        patches = [_data_uri(_fit(patch, _PATCH)) for patch in row.patches[:each]]
        view = _PartView(row, tints[row.id], patches, row.share / most)
        grouped.setdefault(row.object, []).append(view)
    rows = {row.id: row for row in report.objects}
    views = []
    for obj in sorted(set(rows) | set(grouped)):
        known, parts = rows.get(obj), grouped.get(obj, [])
        share = known.share if known else sum(p.row.share for p in parts)
        views.append(_ObjectView(obj, _object_tint(obj), share, known.photos if known else None, parts))
    return sorted(views, key=lambda v: (v.id == 0, -v.share, v.id))


def _scenes(report: Report, objects: Sequence[_ObjectView]) -> list[_SceneView]:
    """Scene groups with their objects; the first ones unfolded, as long as they hold few objects together."""
    known = {view.id: view for view in objects}
    most = max((row.share for row in report.scenes), default=0.0) or 1.0
    views: list[_SceneView] = []
    seen = 0
    for row in report.scenes:
        seen += len(row.objects)
        members = [known[number] for number in row.objects if number in known]
        wide = len(members) + sum(len(view.parts) for view in members) > _WIDE
        views.append(_SceneView(row, members, row.share / most, seen <= _OPEN, wide))
    return views


def _graph(report: Report) -> dict[str, object]:
    """Drawing of the foreground parts: nodes, edges and outlines."""
    parts = {p.id: p for p in report.parts if p.object > 0}
    edges = [e for e in report.edges if e.a in parts and e.b in parts and e.a != e.b and e.weight > 0]
    largest = max((p.share for p in parts.values()), default=0.0) or 1.0
    radii = {i: 0.55 + 0.9 * sqrt(max(p.share, 0.0) / largest) for i, p in parts.items()}
    objects = {i: p.object for i, p in parts.items()}
    placed = graph.draw_map(radii, objects, [(e.a, e.b, float(e.weight)) for e in edges])
    # Strong edges last, so that they lie on top; too many weak ones would only darken the picture.
    edges = sorted(edges, key=lambda e: e.weight)[-max(40, 4 * len(parts)) :]
    heaviest = max((e.weight for e in edges), default=1.0)
    tints = _part_tints(report)
    images = {i: _data_uri(_fit(p.patches[0], _NODE)) for i, p in parts.items() if len(p.patches)}
    return {
        "nodes": [(parts[i], *placed.nodes[i], tints[i], _object_tint(objects[i])) for i in sorted(parts)],
        "images": images,
        "boxes": {i: _box(*placed.nodes[i]) for i in images},
        "edges": [(e, placed.nodes[e.a], placed.nodes[e.b], e.weight / heaviest) for e in edges],
        "hulls": [(hull, _object_tint(hull.object)) for hull in placed.hulls],
    }


def _box(x: float, y: float, r: float) -> str:
    """The square round a disc, as the view box of a picture that shows it alone."""
    return f"{x - r:.1f} {y - r:.1f} {2 * r:.1f} {2 * r:.1f}"


def _part_tints(report: Report) -> dict[int, str]:
    object_of_part = np.zeros(max((p.id for p in report.parts), default=0) + 1, dtype=np.int64)
    for part in report.parts:
        object_of_part[part.id] = part.object
    table = part_colours(object_of_part)
    return {p.id: _css(table[p.id]) for p in report.parts}


def _object_tint(obj: int) -> str:
    return "rgb(128,128,128)" if obj == 0 else _css(colours(obj + 1)[obj])


def _css(rgb: Pixels) -> str:
    return "rgb({},{},{})".format(*(int(v) for v in rgb))


def _fit(pixels: Pixels, longest: int) -> Pixels:
    """The image, made smaller if a side is longer than `longest`."""
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _data_uri(pixels: Pixels) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(pixels)).decode("ascii")

"""`OUT/labels.html`: the labels of a run, and photos with their label masks. It needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from leopart.data.images import load_photo
from leopart.data.masks import read_index_mask
from leopart.data.photo_list import PhotoEntry
from leopart.drawing.masks import jpeg, overlay, shrink
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.labels.rules import Labels
from leopart.segment.report import text

LABEL_PAGE = "labels.html"
_PHOTOS = 24
_LONGEST = 480


@dataclass(frozen=True)
class _Row:
    id: int
    name: str
    colour: str
    claim: str
    share: float
    photos: int


@dataclass(frozen=True)
class _Shot:
    name: str
    picture: str
    """As a data address."""


def write_label_page(
    out: Path,
    labels: Labels,
    entries: Sequence[PhotoEntry],
    pixels: Mapping[int, int],
    photos: Mapping[int, int],
) -> None:
    """Write the page: a table of the labels, and up to 24 photos spread over the run.

    Photos that have gone, changed, or have no label mask are left out.

    Args:
        out: folder of the run, with `labels/`.
        labels: that were applied.
        entries: photos of the run.
        pixels: of each label id in all photos, background (0) included.
        photos: number of photos that show it.

    Raises:
        LeopartError: the page cannot be written.
    """
    total = max(1, sum(pixels.values()))
    rows = [
        _Row(one.id, one.name, _css(one.colour), str(one.claim), pixels[one.id] / total, photos[one.id])
        for one in labels
    ]
    step = max(1, -(-len(entries) // _PHOTOS))
    shots = [shot for entry in entries[::step] if (shot := _shot(out, labels, entry)) is not None]
    template = files("leopart.segment.report").joinpath("templates", "labels.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(name=text.readable, share=text.share)
    page = environment.from_string(template).render(
        rows=rows, shots=shots, ignored=str(labels.ignored), number=len(entries)
    )
    write_text(out / LABEL_PAGE, page)


def _shot(out: Path, labels: Labels, entry: PhotoEntry) -> _Shot | None:
    if entry.changed:
        return None
    scale = min(1.0, _LONGEST / max(entry.height, entry.width))
    smallest = (max(1, round(entry.height * scale)), max(1, round(entry.width * scale)))
    try:
        ids = read_index_mask(entry.mask_path(out, "labels"))
        photo = load_photo(Path(entry.path), smallest=smallest)
    except LeopartError:
        return None
    small, shown = shrink(photo, ids, _LONGEST)
    if small.shape[:2] != shown.shape or shown.max(initial=0) >= len(labels.palette):
        return None  # a mask of another size or of earlier labels
    picture = base64.b64encode(jpeg(overlay(small, shown, labels.palette))).decode("ascii")
    return _Shot(entry.name, f"data:image/jpeg;base64,{picture}")


def _css(colour: Sequence[int]) -> str:
    return "rgb({},{},{})".format(*colour)

"""COCO instances: regions as run lengths or polygons in one JSON file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leopart.data.annotations.annotated import (
    LARGEST_TEXT,
    Annotated,
    Names,
    Rowed,
    Rows,
    unique_last_parts,
)
from leopart.data.annotations.shapes import Bools, coco_runs, polygon
from leopart.data.photo_list import PhotoEntry
from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.paths import shown


@dataclass(frozen=True)
class _Image:
    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class _Runs:
    size: Sequence[int]
    counts: Sequence[int] | str


@dataclass(frozen=True)
class _Region:
    image_id: int
    category_id: int
    segmentation: _Runs | Sequence[Sequence[float]]


@dataclass(frozen=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True)
class _Document:
    images: Sequence[_Image]
    annotations: Sequence[_Region]
    categories: Sequence[_Category]


class CocoRegions(Annotated):
    """Regions of a COCO file; where two overlap, the later one counts.

    Args:
        path: the JSON file.
        entries: photos of the run.

    Raises:
        LeopartError: it cannot be read, or a region is of no category of the file.
    """

    def __init__(self, path: Path, entries: Sequence[PhotoEntry]) -> None:
        self.path, rows = path, Rowed()
        content = read_json(path, _Document, "export the masks as COCO again", limit=LARGEST_TEXT)
        self.rows = {one.id: rows(one.name) for one in content.categories}
        self.classes, self.alone = rows.names, unique_last_parts(entries)
        self.images = {one.file_name: one for one in content.images}
        self.names, self.regions = Names(self.images), defaultdict[int, list[Any]](list)
        for region in content.annotations:
            if region.category_id not in self.rows:
                what = f"{shown(path)} has a region of category {region.category_id}, which it does not name"
                raise LeopartError(f"{what}; export it again")
            self.regions[region.image_id].append(region)

    def read(self, entry: PhotoEntry) -> Rows | None:
        """See `Annotated.read`."""
        name = self.names.find(entry.name, entry.name in self.alone)
        if name is None:
            return None
        image = self.images[name]
        if (image.width, image.height) != (entry.width, entry.height):
            raise self.wrong(entry, (image.height, image.width))
        found = np.zeros((entry.height, entry.width), np.int32)
        for region in self.regions[image.id]:
            try:
                found[_pixels(region, *found.shape)] = self.rows[region.category_id]
            except LeopartError as error:
                raise LeopartError(f"{shown(self.path)}, {entry.name}: {error}") from error
        return found


def _pixels(region: _Region, height: int, width: int) -> Bools:
    if isinstance(region.segmentation, _Runs):
        return coco_runs(region.segmentation.counts, height, width)
    found = np.zeros((height, width), np.bool_)
    for numbers in region.segmentation:
        if len(numbers) % 2:
            raise LeopartError("a polygon has a point with one coordinate; draw it again")
        found |= polygon(np.array(numbers, float).reshape(-1, 2), height, width)
    return found

"""Regions of a mask: connected components, or everything of a class, each cut to its bounding box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ids = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """Pixels of one class in one photo.

    Attributes:
        id: of the class, at least 1.
        x: column of the bounding box's left edge, pixels.
        y: row of its upper edge.
        mask: which pixels of the bounding box belong to it, [h, w]; no edge of the box is empty.
    """

    id: int
    x: int
    y: int
    mask: Bools

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def bbox(self) -> list[int]:
        """Left, top, width and height in pixels, as COCO has them."""
        height, width = self.mask.shape
        return [self.x, self.y, width, height]

    def paint(self, pixels: NDArray[Any], value: int) -> None:
        """Set the region's pixels in an image [H, W]."""
        height, width = self.mask.shape
        pixels[self.y : self.y + height, self.x : self.x + width][self.mask] = value


def class_regions(ids: Ids) -> list[Region]:
    """One region a class.

    Args:
        ids: [H, W]; 0 is background and has no region.

    Returns:
        Regions by ascending id.
    """
    return [
        Region(number, box[1].start, box[0].start, ids[box] == number)
        for number, box in enumerate(ndimage.find_objects(ids), start=1)
        if box is not None
    ]


def components(ids: Ids) -> list[Region]:
    """Connected components of each class; pixels that touch at a corner are connected.

    Args:
        ids: [H, W]; 0 is background and has no region.

    Returns:
        Regions by ascending id, those of a class by their first pixel (row by row).
    """
    return [part for region in class_regions(ids) for part in _components(region)]


def without_small(ids: Ids, least: int) -> Ids:
    """The mask [H, W] with background in place of components of fewer than `least` pixels."""
    if least <= 1:
        return ids
    kept = ids.copy()
    for region in components(ids):
        if region.area < least:
            region.paint(kept, 0)
    return kept


def _components(region: Region) -> list[Region]:
    pixels = region.mask.view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8, ltype=cv2.CV_32S)
    if count == 2:
        return [region]
    parts = []
    for label, (x, y, width, height, _) in enumerate(stats[1:].tolist(), start=1):
        mask = labels[y : y + height, x : x + width] == label
        parts.append(Region(region.id, region.x + x, region.y + y, mask))
    # OpenCV's order depends on its algorithm and threads.
    return sorted(parts, key=_first_pixel)


def _first_pixel(region: Region) -> tuple[int, int]:
    """Row and column."""
    return region.y, region.x + int(region.mask[0].argmax())

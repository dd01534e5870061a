"""Regions as single polygons, holes included, that fill to exactly the same pixels.

A polygon format without holes has one outline a region. So each hole is joined to the outline by a cut: along
a row of the region there and back. Filled by the even-odd rule with its border drawn, as OpenCV's `fillPoly`
does, the polygon covers the region and leaves the holes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from leopart.export.masks.regions import Region

Points = NDArray[np.int32]


def outline(region: Region) -> Points:
    """Corners of a polygon that fills to the region.

    Args:
        region: one connected component.

    Returns:
        Column and row of each corner in the photo, [n, 2], n >= 3. Regions of one or two pixels repeat a
        corner.
    """
    contours, hierarchy = cv2.findContours(
        region.mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(region.x, region.y)
    )
    parents = hierarchy[0, :, 3]
    rings = [np.asarray(contour, np.int32).reshape(-1, 2) for contour in contours]
    outer = next(ring for ring, parent in zip(rings, parents, strict=True) if parent < 0)
    holes = [ring for ring, parent in zip(rings, parents, strict=True) if parent >= 0]
    corners = _without_straight(_joined(outer, holes))
    return np.concatenate([corners, np.repeat(corners[-1:], max(0, 3 - len(corners)), axis=0)])


def _joined(outer: Points, holes: Sequence[Points]) -> Points:
    """One ring of the outline and all holes.

    From left to right, each hole is joined at its leftmost point to the nearest point on its left that is in
    the ring already. No other hole lies between the two: its leftmost point would have come first.
    """
    ring = outer
    for hole in sorted(holes, key=lambda points: points[:, 0].min()):
        start = int(hole[:, 0].argmin())
        x, y = hole[start]
        candidates = np.flatnonzero((ring[:, 1] == y) & (ring[:, 0] <= x))
        at = int(candidates[ring[candidates, 0].argmax()])
        turned = np.roll(hole, -start, axis=0)
        ring = np.concatenate([ring[: at + 1], turned, turned[:1], ring[at:]])
    return ring


def _without_straight(ring: Points) -> Points:
    """Corners only: without repeated points, and points in the middle of a straight line."""
    ring = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)] if len(ring) > 1 else ring
    if len(ring) < 3:
        return ring
    before = np.sign(ring - np.roll(ring, 1, axis=0))
    after = np.sign(np.roll(ring, -1, axis=0) - ring)
    corners: Points = ring[np.any(before != after, axis=1)]
    return corners

"""Many photos on one page, each with its masks below it, and a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leopart.drawing.masks import upsample_labels
from leopart.drawing.page import FONT, Legend, LegendEntry, Page
from leopart.drawing.rows import Place, justified

Pixels = NDArray[np.uint8]
Draw = Callable[[int, int, int], Sequence[Pixels]]
"""From a photo's index, and height and width in pixels, to its pictures of that size, top to bottom."""

#: In points: between pictures of a row, between a photo and its masks, between rows, round the legend.
_GAP, _STACK_GAP, _ROW_GAP, _LEGEND_GAP = 2.0, 1.2, 4.0, 4.0


def mosaic(
    aspects: Sequence[float],
    draw: Draw,
    *,
    width: float,
    dpi: int,
    columns: int,
    bands: Sequence[str],
    legend: Sequence[LegendEntry] = (),
) -> Page:
    """A page of photos in rows of equal width, each photo with its masks below it.

    Args:
        aspects: width over height of each photo, at least one.
        draw: makes the pictures of a photo, as many as there are `bands`.
        width: of the page in inches.
        dpi: pixels per inch.
        columns: approximate number of photos in a row.
        bands: names of the pictures of a photo, top to bottom; written beside them if there are several.
        legend: names of colours, below the photos.

    Raises:
        LeopartError: matplotlib is missing.
    """
    point = dpi / 72
    across = round(width * dpi)
    margin = round(1.6 * FONT * point) if len(bands) > 1 else 0
    gap, stack_gap = round(_GAP * point), round(_STACK_GAP * point)
    row_gap = round((_ROW_GAP if len(bands) > 1 else _GAP) * point)
    places = justified(aspects, columns, across - margin, gap)
    tops, bottom = _tops(places, len(bands), stack_gap, row_gap)
    key = Legend(legend, across - margin, dpi)
    below = round(_LEGEND_GAP * point) if legend else 0
    page = Page(across, bottom + below + key.height, dpi)
    for index, place in enumerate(places):
        for band, picture in enumerate(draw(index, place.height, place.width)):
            page.picture(margin + place.left, tops[place.row] + band * (place.height + stack_gap), picture)
    if margin:
        for row, top in enumerate(tops):
            height = next(place.height for place in places if place.row == row)
            for band, name in enumerate(bands):
                middle = top + band * (height + stack_gap) + height / 2
                page.words(margin / 2 - 0.3 * point, middle, name, rotation=90, ha="center", va="center")
    key.draw(page, margin, bottom + below)
    return page


def _tops(places: Sequence[Place], bands: int, stack_gap: int, row_gap: int) -> tuple[list[int], int]:
    """Top of each row, and the bottom of the last one."""
    heights = {place.row: place.height for place in places}
    tops, top = [], 0
    for row in range(len(heights)):
        tops.append(top)
        top += bands * heights[row] + (bands - 1) * stack_gap + row_gap
    return tops, top - row_gap


def fitted(photo: Pixels, height: int, width: int) -> Pixels:
    """Photo [H, W, 3] at another size, averaged or smoothly enlarged."""
    if photo.shape[:2] == (height, width):
        return photo
    small = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(small)


def fitted_ids(ids: NDArray[np.integer], height: int, width: int) -> NDArray[np.int32]:
    """Label map at another size: nearest where it shrinks, smooth outlines where it grows."""
    return upsample_labels(ids.astype(np.int32), height, width)

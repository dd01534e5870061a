"""Runs of a region's pixels in a whole photo that is read row by row or column by column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leopart.export.masks.regions import Bools, Region

Positions = NDArray[np.int64]


def runs_by_row(region: Region, width: int) -> Positions:
    """Runs in the order of rows.

    Args:
        region: pixels of a photo.
        width: of the photo, pixels.

    Returns:
        Position of each run's first pixel and of the pixel after its last, ascending, [n, 2]; the pixel of
        row y and column x is at y * width + x.
    """
    return _runs(region.mask, region.y * width + region.x, width)


def runs_by_column(region: Region, height: int) -> Positions:
    """As `runs_by_row` in the order of columns: the pixel of row y and column x is at x * height + y."""
    return _runs(region.mask.T, region.x * height + region.y, height)


def _runs(mask: Bools, start: int, stride: int) -> Positions:
    rows, columns = mask.shape
    padded = np.zeros((rows, columns + 2), np.int8)  # np.pad and np.r_ take longer than all the rest
    padded[:, 1:-1] = mask
    change = padded[:, 1:] - padded[:, :-1]
    line, first = np.nonzero(change == 1)
    _, after = np.nonzero(change == -1)
    offset = start + line * stride
    first, after = first + offset, after + offset
    goes_on = np.flatnonzero(first[1:] == after[:-1])  # in the next row
    return np.stack([np.delete(first, goes_on + 1), np.delete(after, goes_on)], axis=1)

"""Counts of the ids of a label map in each cell of a grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leopart.evaluation.metrics.confusion import Labels


def cell_counts(
    ids: Labels, grid: tuple[int, int], num_ids: int, ignore_index: int | None = None
) -> npt.NDArray[np.int64]:
    """Pixels of each id in each cell, [h, w, num_ids].

    Pixel y of H rows lies in row floor(y * h / H) of cells, as in a map enlarged by nearest (see
    `labels.nearest`). The map's size need not be a multiple of the grid's.

    Args:
        ids: [H, W], 0 .. num_ids - 1 or `ignore_index`, any integer type.
        grid: (h, w).
        num_ids: number of ids.
        ignore_index: id of pixels that are not counted; None = count all.

    Raises:
        ValueError: an id is out of range.
    """
    rows, columns = (np.arange(n) * cells // n for n, cells in zip(ids.shape, grid, strict=True))
    cell = rows[:, None] * grid[1] + columns
    if ignore_index is not None:
        counted = ids != ignore_index
        ids, cell = ids[counted], cell[counted]
    if ids.size and not (ids.min() >= 0 and ids.max() < num_ids):
        raise ValueError(f"ids from {ids.min()} to {ids.max()}: there are {num_ids}, 0 to {num_ids - 1}")
    counts = np.bincount((cell * num_ids + ids).ravel(), minlength=grid[0] * grid[1] * num_ids)
    return counts.reshape(*grid, num_ids)

"""Random samples of the tokens or embeddings of many photos; one photo is in memory at a time.

`draw_rows` draws an exact number, and must know how many rows each photo has. `RandomShare` keeps every row
with the same probability, and so works on rows that are found photo by photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]
"""Ascending indices of the rows of one photo."""


def draw_rows(sizes: Sequence[int], most: int, seed: int, *, photo_by_photo: bool = True) -> list[Rows]:
    """`most` rows of all photos at random without repeats, or all rows where there are fewer.

    Args:
        sizes: number of rows of each photo.
        most: number of rows to draw.
        seed: the same seed draws the same rows.
        photo_by_photo: draw first how many rows each photo gives, so that memory does not grow with the
            number of rows. False draws from all rows at once. Every set of rows is equally likely in both
            ways, but the rows differ; overclustering draws at once so that its scores stay what they were.
    """
    total = sum(sizes)
    if total <= most:
        return [np.arange(size) for size in sizes]
    random = np.random.default_rng(seed)
    if photo_by_photo:
        shares = random.multivariate_hypergeometric(sizes, most, method="marginals")
        pairs = zip(sizes, shares, strict=True)
        return [np.sort(random.choice(size, share, replace=False)) for size, share in pairs]
    starts = np.cumsum([0, *sizes[:-1]])
    chosen = np.sort(random.choice(total, most, replace=False))
    parts = np.split(chosen, np.searchsorted(chosen, starts[1:]))
    return [rows - start for rows, start in zip(parts, starts, strict=True)]


def take_rows(rows_of: Callable[[int], Tensor], chosen: Iterable[Rows]) -> Iterator[Tensor]:
    """The chosen rows [m, d] of each photo that has any, in the order of the photos.

    Args:
        rows_of: rows of the photo with this index, [..., d]; called for photos with chosen rows only.
        chosen: see `draw_rows`.
    """
    for index, wanted in enumerate(chosen):
        if len(wanted):
            rows = rows_of(index).flatten(0, -2)
            all_of_them = len(wanted) == len(rows)
            yield rows if all_of_them else rows[torch.from_numpy(wanted).to(rows.device)]


class RandomShare:
    """Keeps each row with the same probability, photo after photo.

    Args:
        share: the probability; from 1 on every row is kept.
        seed: the same seed and the same order of photos keep the same rows.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share, self._random = share, np.random.default_rng(seed)

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows [n, d] that are kept of [..., d]."""
        return rows[torch.from_numpy(self.draw(rows.shape[:-1]))]

    def draw(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """Which rows of [*shape, d] are kept, for a photo that is read later; bool [*shape]."""
        if self.share >= 1:
            return np.ones(shape, bool)
        return self._random.random(shape) < self.share

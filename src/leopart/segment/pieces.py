"""A part in pieces: which of a part's cells became a part of their own. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.kmeans import KMeans


@dataclass(frozen=True)
class Split:
    """One part that was split.

    Attributes:
        ids: part ids of the n pieces, int64 [n]. The first is the part itself: the piece nearest its old
            centroid keeps the id. The others are new.
        pieces: their centroids [n, d], float32; a cell of the part belongs to the nearest.
    """

    ids: NDArray[np.int64]
    pieces: KMeans

    @property
    def part(self) -> int:
        """The part that was split."""
        return int(self.ids[0])

    def piece_of(self, embeddings: Tensor) -> NDArray[np.int32]:
        """Part id of the piece nearest to each embedding [..., d], whatever part it is of; int32 [...]."""
        return np.asarray(self.ids[self.pieces.assign(embeddings).numpy()], np.int32)

    def joined(self, ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Part ids with the pieces put together again, int32 of the same shape."""
        return np.where(np.isin(ids, self.ids), self.part, ids).astype(np.int32)


def split_of(part: int, centroid: Tensor, points: Tensor, fitted: KMeans, first_new: int) -> Split | None:
    """Give ids to the clusters of a part's cells.

    Args:
        part: the part's id.
        centroid: of the part so far, [d].
        points: cells of the part that were clustered, [n, d].
        fitted: Euclidean clusters of them.
        first_new: the smallest id that is free.

    Returns:
        The split: the piece nearest to `centroid` first, the others by falling number of points. None where
        there are fewer than two clusters.
    """
    n_pieces = len(fitted.centroids)
    if n_pieces < 2:
        return None
    distances = torch.linalg.vector_norm(fitted.centroids - centroid, dim=1)
    counts = torch.bincount(fitted.assign(points), minlength=n_pieces)
    counts[int(distances.argmin())] = len(points) + 1
    order = counts.argsort(descending=True, stable=True)
    ids = np.array([part, *range(first_new, first_new + n_pieces - 1)], np.int64)
    return Split(ids, KMeans(fitted.centroids[order], spherical=False, objective=float("nan")))

"""Which parts lie beside which: conditional co-occurrence of clusters, and the graph it gives.

Legend: K clusters, n offsets, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DIRECTIONS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]

#: (dy, dx) of the 8 neighbours at distances 1 and 2, [16, 2].
CLEAN_OFFSETS = np.array([(d * y, d * x) for d in (1, 2) for y, x in _DIRECTIONS])

#: What the published code looks at, [16, 2]: its list of angles holds 4 pi / 3 for 5 pi / 4 and rounds the
#: diagonals, so that at distance 2 three of them repeat distance 1 and one lies off the grid.
REFERENCE_OFFSETS = np.array(
    [*_DIRECTIONS, (0, 2), (1, 1), (2, 0), (1, -1), (0, -2), (-2, -1), (-2, 0), (-1, 1)],
)


@dataclass
class Cooccurrence:
    """Running mean over photos of P(b | a): how often a neighbour of a that is not a is b.

    Attributes:
        probabilities: sum over photos of the conditional probabilities, [K, K] float64.
        photos: number of photos in which each cluster has a neighbour other than itself, [K] int64.
    """

    n_clusters: int
    offsets: NDArray[np.int64] = field(default_factory=lambda: CLEAN_OFFSETS)
    probabilities: NDArray[np.float64] = field(init=False)
    photos: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.probabilities = np.zeros((self.n_clusters, self.n_clusters))
        self.photos = np.zeros(self.n_clusters, np.int64)
        # An offset and its opposite give the same pairs in the other order: count them once.
        self._pairs: dict[tuple[int, int], list[int]] = {}
        for offset in self.offsets.tolist():
            ahead = max(offset, [-step for step in offset])
            self._pairs.setdefault((ahead[0], ahead[1]), [0, 0])[int(offset != ahead)] += 1

    def add(self, ids: ArrayLike) -> None:
        """Count one photo, cluster ids [H, W]; ids below 0 (background) take no part."""
        # A photo shows few of the clusters: count among those only.
        places = np.maximum(np.asarray(ids), -1) + 1
        seen = np.bincount(places.ravel()) > 0  # much faster than np.unique
        present, local = np.flatnonzero(seen) - 1, (np.cumsum(seen) - 1)[places]
        counts = self._neighbours(local, len(present))
        kept = present >= 0
        counts, present = counts[np.ix_(kept, kept)], present[kept]
        total = counts.sum(1)
        self.photos[present] += total > 0
        self.probabilities[np.ix_(present, present)] += counts / np.maximum(total, 1)[:, None]

    @property
    def conditional(self) -> NDArray[np.float64]:
        """P(b | a) as [K, K], row a; rows sum to 1, or to 0 where a never had a different neighbour."""
        return self.probabilities / np.maximum(self.photos, 1)[:, None]

    def _neighbours(self, ids: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Ordered pairs (a at a pixel, b != a at pixel + offset), summed over offsets, [size, size]."""
        square = np.zeros((size, size), np.int64)
        for (dy, dx), times in self._pairs.items():
            here, there = _overlap(ids, dy, dx), _overlap(ids, -dy, -dx)
            counts = np.bincount((here * size + there).ravel(), minlength=size * size).reshape(size, size)
            square += times[0] * counts + times[1] * counts.T
        np.fill_diagonal(square, 0)
        return square


def _overlap(ids: NDArray[np.int64], dy: int, dx: int) -> NDArray[np.int64]:
    """The pixels of `ids` that still lie inside the image after moving by (dy, dx)."""
    height, width = ids.shape
    return ids[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]


def edge_list(conditional: ArrayLike, threshold: float) -> NDArray[np.float64]:
    """Undirected edges (a, b, weight), a < b, of the co-occurrence graph, [E, 3] float64.

    Two clusters are joined iff both P(b | a) and P(a | b) reach `threshold`; the weight is the smaller one.

    Args:
        conditional: P(b | a) [K, K], see `Cooccurrence.conditional`.
        threshold: probability in [0, 1]; the paper takes 0.05.

    Source: Leopart, CVPR 2022, supplement A.1 (community detection).
    """
    p = np.asarray(conditional)
    both = np.triu(np.minimum(p, p.T), k=1)
    a, b = np.nonzero((both >= threshold) & (both > 0))
    return np.column_stack([a, b, both[a, b]]).astype(np.float64)

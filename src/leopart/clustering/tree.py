"""A tree of points that can be cut at any number of clusters, and the number that other photos confirm.

Legend: N points, D dimensions, S splits of the photos, C candidate numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from leopart.clustering.stability import adjusted_rand

Labels = NDArray[np.int64]

#: Numbers of clusters to choose from.
NUMBERS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
#: Random splits of the photos into two halves.
_SPLITS = 8


@dataclass(frozen=True)
class Tree:
    """Nested clusters of N points: each cut at fewer clusters joins clusters of a cut at more.

    Attributes:
        merges: as scipy's `linkage` returns them, [N - 1, 4].
    """

    merges: NDArray[np.float64]

    def cut(self, number: int) -> Labels:
        """Cluster 0.. of each point with at most `number` clusters, [N]; fewer only where points tie."""
        if not len(self.merges):
            return np.zeros(1, np.int64)
        return np.asarray(fcluster(self.merges, number, "maxclust"), np.int64) - 1


def average_tree(points: NDArray[np.floating]) -> Tree:
    """Join the two clusters whose points are nearest to each other on average, until one is left.

    Average linkage lets a rare kind be a small cluster beside large ones; k-means and Ward's rule would split
    the large ones instead.

    Args:
        points: [N, D], N >= 1.
    """
    if len(points) == 1:
        return Tree(np.zeros((0, 4)))
    return Tree(np.asarray(linkage(np.asarray(points, np.float64), "average")))


@dataclass(frozen=True)
class StableNumber:
    """The number of clusters that was chosen, and how well each candidate did.

    Attributes:
        number: the finest candidate whose agreement is less than one standard deviation of the splits below
            the best. A tree by average linkage loses little by a few small clusters more.
        curve: (candidate, mean adjusted Rand index of the two halves of the photos) rows.
    """

    number: int
    curve: tuple[tuple[int, float], ...]


def stable_number(
    labels_from: Callable[[NDArray[np.bool_]], Callable[[int], Labels]],
    n_photos: int,
    numbers: Sequence[int],
    *,
    seed: int,
) -> StableNumber:
    """How many clusters are found again in other photos.

    The photos are split into two random halves, each half learns clusters of its own, and both name the same
    points; the agreement is the adjusted Rand index of the two namings. No label is involved.

    Args:
        labels_from: learns from the photos of a mask [n_photos] and returns how those clusters, cut at a
            number, name a fixed set of points.
        n_photos: photos to split.
        numbers: candidates in ascending order, at least one.
        seed: of the splits.
    """
    random = np.random.default_rng(seed)
    agreement = np.zeros((_SPLITS, len(numbers)))
    for split in agreement:
        half = random.permutation(n_photos) < n_photos // 2
        one, other = labels_from(half), labels_from(~half)
        split[:] = [adjusted_rand(one(number), other(number)) for number in numbers]
    mean, deviation = agreement.mean(0), agreement.std(0, ddof=1)
    best = int(mean.argmax())
    chosen = np.flatnonzero(mean >= mean[best] - deviation[best])[-1]
    curve = tuple((number, float(value)) for number, value in zip(numbers, mean, strict=True))
    return StableNumber(numbers[chosen], curve)

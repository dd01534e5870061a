"""Cluster-based foreground extraction (CBFE): which clusters are foreground, by noisy masks.

Legend: M photos, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass
class ClusterCounts:
    """Running counts of how well clusters agree with noisy foreground masks, one photo at a time.

    Attributes:
        pixels: pixels of each cluster over all photos, [K] int64.
        hits: those of them inside the noisy foreground, [K] int64.
        photos: number of photos in which each cluster appears, [K] int64.
        ratios: sum over those photos of the share of the cluster inside the noisy foreground, [K] float64.
    """

    n_clusters: int
    pixels: NDArray[np.int64] = field(init=False)
    hits: NDArray[np.int64] = field(init=False)
    photos: NDArray[np.int64] = field(init=False)
    ratios: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels, self.hits, self.photos = np.zeros((3, self.n_clusters), np.int64)
        self.ratios = np.zeros(self.n_clusters)

    def add(self, ids: ArrayLike, mask: ArrayLike) -> None:
        """Count one photo: cluster ids [H, W] and its noisy foreground [H, W] (bool or 0/1)."""
        flat, inside = np.ravel(ids), np.ravel(mask) > 0
        pixels = np.bincount(flat, minlength=self.n_clusters)
        hits = np.bincount(flat[inside], minlength=self.n_clusters)
        self.pixels += pixels
        self.hits += hits
        self.photos += pixels > 0
        self.ratios += hits / np.maximum(pixels, 1)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Mean over the photos with the cluster of its share inside the noisy foreground, [K] in [0, 1].

        Every photo counts the same however many pixels the cluster has in it; a cluster without any pixel
        gets 0. Source: Leopart, CVPR 2022, cluster-based foreground extraction.
        """
        return self.ratios / np.maximum(self.photos, 1)


def cluster_precision(ids: ArrayLike, mask: ArrayLike, n_clusters: int) -> NDArray[np.float64]:
    """Foreground precision of each cluster over M photos of equal size: see `ClusterCounts.precision`.

    Args:
        ids: cluster ids [M, H, W], 0..K-1.
        mask: noisy foreground [M, H, W], bool or 0/1.
        n_clusters: K.
    """
    counts = ClusterCounts(n_clusters)
    for photo_ids, photo_mask in zip(np.asarray(ids), np.asarray(mask), strict=True):
        counts.add(photo_ids, photo_mask)
    return counts.precision


@dataclass(frozen=True)
class ForegroundCut:
    """A precision threshold, and how well each possible one agrees with the noisy masks.

    Attributes:
        threshold: clusters of at least this precision are foreground.
        thresholds: the candidate cuts, descending, [<= K].
        agreement: Jaccard index, over all photos together, of the foreground at each candidate cut and the
            noisy masks, in [0, 1].
    """

    threshold: float
    thresholds: NDArray[np.float64]
    agreement: NDArray[np.float64]


def agreeing_cut(counts: ClusterCounts) -> ForegroundCut:
    """The precision threshold whose foreground agrees best with the noisy masks; no labels needed.

    Clusters are taken in the order of their precision; after each one the foreground so far is compared
    with the masks by the Jaccard index J = hits / (foreground + mask - hits), pooled over photos. Taking in
    one more cluster raises J exactly when its own pooled precision p satisfies p / (1 - p) > J, so J rises,
    then falls, and the best cut is the point where a cluster is no longer better than what is there.
    """
    order = np.argsort(-counts.precision, kind="stable")
    order = order[counts.pixels[order] > 0]
    hits, size = np.cumsum(counts.hits[order]), np.cumsum(counts.pixels[order])
    agreement = hits / np.maximum(size + counts.hits.sum() - hits, 1)
    thresholds, last = np.unique(-counts.precision[order], return_index=True)
    # Clusters of equal precision stand or fall together: keep the value after the last of each tie.
    last = np.append(last[1:], len(order)) - 1
    thresholds, agreement = -thresholds, agreement[last]
    return ForegroundCut(float(thresholds[agreement.argmax()]), thresholds, agreement)

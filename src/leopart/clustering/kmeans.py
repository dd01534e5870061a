"""K-means in torch: Euclidean or spherical, best of several restarts, on any device.

Legend: N points, D dimensions, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leopart.progress import Track, silent

# Scores of this many (point, cluster) pairs are held at a time: about 8 MB, which stays in the cache.
_PAIRS_AT_A_TIME = 1 << 21
# From so many clusters on, NumPy finds the largest score of a row sooner than torch.
_LONG_ROW = 48


@dataclass(frozen=True)
class KMeans:
    """Fitted centroids.

    Attributes:
        centroids: [K, D] float32; unit rows when `spherical`.
        spherical: whether points go to the largest inner product instead of the smallest distance.
        objective: Euclidean: sum of squared distances of the training points to their centroid (lower is
            better); spherical: sum of their inner products with it (higher is better).
    """

    centroids: Tensor
    spherical: bool
    objective: float

    def assign(self, points: Tensor) -> Tensor:
        """Cluster ids of `points` [..., D] as int64 [...]."""
        return self.nearest(points)[0]

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Cluster ids of `points` [..., D] as int64 [...], and how well the cluster fits as float32 [...].

        The fit is the inner product (spherical) or minus half the squared distance; larger is nearer.
        """
        flat = points.reshape(-1, points.shape[-1]).float()
        ids, scores = _nearest(flat, self.centroids, self.spherical)
        if not self.spherical:
            scores = scores - flat.pow(2).sum(1) / 2
        return ids.reshape(points.shape[:-1]), scores.reshape(points.shape[:-1])


def kmeans(
    points: Tensor | npt.NDArray[np.floating[Any]],
    n_clusters: int,
    *,
    seed: int = 0,
    spherical: bool = False,
    iterations: int = 100,
    restarts: int = 5,
    max_points_per_centroid: int | None = 256,
    track: Track = silent,
) -> KMeans:
    """Lloyd's algorithm from random distinct points, the best of `restarts` runs.

    A run ends early once no point changes its cluster. A cluster that runs empty takes over the point that
    its own centroid describes worst, so that exactly K clusters come back whenever there are K different
    points, and one for each where there are fewer. Spherical k-means assigns by inner product to unit-norm
    centroids and leaves the points as they are: same argmax as cosine similarity, centroids weighted by norm
    (faiss does the same).

    Args:
        points: [N, D], any float type, on any device; or an array.
        n_clusters: K >= 1; lowered to N when there are fewer points.
        seed: of the subsample and of the starts.
        spherical: see above.
        iterations: at most this many assignments per run.
        restarts: number of runs.
        max_points_per_centroid: train on a random subset of at most this many points per cluster, as faiss
            does by default; None takes all.
        track: progress, one step a run.

    Raises:
        ValueError: no points, or `n_clusters` < 1.

    Source: Leopart, CVPR 2022, supplement A.1 (faiss k-means; 100 iterations and 5 restarts in evaluation).
    """
    points = torch.as_tensor(points)
    if len(points) == 0 or n_clusters < 1:
        raise ValueError(f"k-means needs points and clusters, got {len(points)} and {n_clusters}")
    generator = torch.Generator().manual_seed(seed)
    if max_points_per_centroid is not None and len(points) > n_clusters * max_points_per_centroid:
        chosen = torch.randperm(len(points), generator=generator)[: n_clusters * max_points_per_centroid]
        points = points[chosen.sort().values.to(points.device)]
    points = points.float().contiguous()
    n_clusters = min(n_clusters, len(points))
    runs = (
        _run(points, n_clusters, spherical, iterations, generator)
        for _ in track(range(restarts), restarts, "k-means")
    )
    return max(runs, key=lambda run: run.objective if spherical else -run.objective)


def _run(
    points: Tensor, n_clusters: int, spherical: bool, iterations: int, generator: torch.Generator
) -> KMeans:
    starts = torch.randperm(len(points), generator=generator)[:n_clusters]
    centroids = _normalised(points[starts.to(points.device)], spherical)
    ids, scores = _nearest(points, centroids, spherical)
    for _ in range(iterations):
        centroids = _normalised(_means(points, ids, scores, n_clusters, spherical), spherical)
        before = ids
        ids, scores = _nearest(points, centroids, spherical)
        if torch.equal(ids, before):
            break
    total = scores.double().sum().item()
    objective = total if spherical else points.double().pow(2).sum().item() - 2 * total
    used = torch.unique(ids)  # all of them, unless there are fewer different points
    return KMeans(centroids[used], spherical, objective)


def _nearest(points: Tensor, centroids: Tensor, spherical: bool) -> tuple[Tensor, Tensor]:
    """Best cluster [N] and its score [N]: x.c (spherical) or x.c - |c|^2 / 2, largest = nearest."""
    bias = torch.zeros(len(centroids), device=points.device) if spherical else -centroids.pow(2).sum(1) / 2
    chunks = torch.split(points, max(1, _PAIRS_AT_A_TIME // len(centroids)))
    best = [_largest(torch.addmm(bias, chunk, centroids.T)) for chunk in chunks]
    return torch.cat([ids for ids, _ in best]), torch.cat([scores for _, scores in best])


def _largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Place of the largest of each row (the first of equal ones), and the largest itself."""
    if scores.device.type != "cpu" or scores.shape[1] < _LONG_ROW:
        values, ids = scores.max(1)
        return ids, values
    ids = torch.from_numpy(scores.numpy().argmax(1))  # torch compares one number at a time here
    return ids, scores.gather(1, ids[:, None])[:, 0]


def _means(points: Tensor, ids: Tensor, scores: Tensor, n_clusters: int, spherical: bool) -> Tensor:
    """Mean of each cluster's points [K, D]; an empty cluster gets one of the worst described points."""
    counts = torch.bincount(ids, minlength=n_clusters)
    empty = counts == 0
    sums = torch.zeros(n_clusters, points.shape[1], device=points.device)
    if points.is_cuda:  # index_add_ is not deterministic there
        sums = torch.nn.functional.one_hot(ids, n_clusters).to(points.dtype).T @ points
    else:
        sums.index_add_(0, ids, points)
    means = sums / counts.clamp(min=1)[:, None]
    if empty.any():
        # With a centroid of its own a point would score |x| (spherical) or |x|^2 / 2; worst lacks most.
        fit = scores - (points.norm(dim=1) if spherical else points.pow(2).sum(1) / 2)
        means[empty] = points[fit.argsort(stable=True)[: int(empty.sum())]]
    return means


def _normalised(centroids: Tensor, spherical: bool) -> Tensor:
    return torch.nn.functional.normalize(centroids, dim=1) if spherical else centroids

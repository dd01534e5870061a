"""K-means, foreground counts and co-occurrence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import torch
from scipy import ndimage
from sklearn.cluster import KMeans as PeerKMeans
from sklearn.exceptions import ConvergenceWarning

from benchmarks.harness import Comparison, compare
from leopart.clustering.cooccurrence import CLEAN_OFFSETS, Cooccurrence
from leopart.clustering.foreground import cluster_precision
from leopart.clustering.kmeans import kmeans
from leopart.models.attention import attention_mask


def run() -> Iterator[Comparison]:
    yield from _kmeans(25_600, 100, spherical=False)
    yield from _kmeans(51_200, 200, spherical=True)
    generator = np.random.default_rng(0)
    ids = ndimage.zoom(generator.integers(0, 100, (8, 16, 16)), (1, 8, 8), order=0)
    mask = generator.random(ids.shape) < 0.4
    yield compare(
        "foreground precision / loop over clusters",
        lambda: cluster_precision(ids, mask, 100),
        lambda: _naive_precision(ids, mask, 100),
        note="8 maps of 128x128, K=100",
    )
    yield compare(
        "co-occurrence / loop over pixels",
        lambda: Cooccurrence(100).add(ids[0]),
        lambda: _naive_cooccurrence(ids[0], 100),
        runs=3,
        note="one map of 128x128, K=100",
    )
    attention = torch.rand(64, 32, 32)
    yield compare(
        "attention mask / loop over photos",
        lambda: attention_mask(attention),
        lambda: _naive_attention_mask(attention.numpy()),
        note="64 maps of 32x32",
    )


def _kmeans(n_points: int, n_clusters: int, *, spherical: bool) -> Iterator[Comparison]:
    """The two clusterings of `leopart segment`, two starts each, against faiss where it is installed."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 50)) * 2
    noise = generator.normal(size=(n_points, 50))
    points = (centres[generator.integers(0, 60, n_points)] + noise).astype("f4")
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        fitted = kmeans(torch.from_numpy(points), n_clusters, seed=0, spherical=spherical, restarts=2)
        found["ours"] = fitted.centroids.numpy()

    def sklearn() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = PeerKMeans(n_clusters, init="random", n_init=2, max_iter=100, tol=0, random_state=0)
            found["peer"] = model.fit(points).cluster_centers_

    def faiss() -> None:
        import faiss

        model = faiss.Kmeans(
            50, n_clusters, niter=100, nredo=2, seed=0, spherical=spherical, max_points_per_centroid=256
        )
        model.train(points)
        found["peer"] = model.centroids

    kind = "spherical k-means" if spherical else "k-means"
    peers = [("faiss", faiss)] if find_spec("faiss") else []
    peers += [] if spherical else [("scikit-learn Lloyd", sklearn)]
    for name, peer in peers:
        result = compare(f"{kind} / {name}", ours, peer, runs=3)
        ratio = _objective(points, found["ours"], spherical) / _objective(points, found["peer"], spherical)
        note = f"{n_points:,}x50, K={n_clusters}, 2 starts; objective ratio {ratio:.4f}"
        yield replace(result, note=note)


def _objective(points: np.ndarray, centroids: np.ndarray, spherical: bool) -> float:
    """Sum of inner products (larger is better) or of squared distances (smaller is better)."""
    scores = points @ centroids.T
    if spherical:
        return float(scores.max(1).sum(dtype=np.float64))
    distances = (points**2).sum(1) - 2 * (scores - (centroids**2).sum(1) / 2).max(1)
    return float(distances.sum(dtype=np.float64))


def _naive_precision(ids: np.ndarray, mask: np.ndarray, n_clusters: int) -> list[float]:
    result = []
    for cluster in range(n_clusters):
        shares = [m[i == cluster].mean() for i, m in zip(ids, mask, strict=True) if (i == cluster).any()]
        result.append(float(np.mean(shares)) if shares else 0.0)
    return result


def _naive_cooccurrence(ids: np.ndarray, n_clusters: int) -> np.ndarray:
    counts = np.zeros((n_clusters, n_clusters))
    height, width = ids.shape
    for y in range(height):
        for x in range(width):
            for dy, dx in CLEAN_OFFSETS:
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width and ids[v, u] != ids[y, x]:
                    counts[ids[y, x], ids[v, u]] += 1
    return counts


def _naive_attention_mask(maps: np.ndarray) -> np.ndarray:
    result = np.zeros(maps.shape, bool)
    for index, attention in enumerate(maps):
        blurred = ndimage.gaussian_filter(attention, 0.6, mode="mirror", radius=3).ravel()
        order = np.argsort(blurred)
        keep = np.zeros(blurred.size, bool)
        keep[order] = np.cumsum(blurred[order] / blurred.sum()) > 0.4
        labels, count = ndimage.label(keep.reshape(attention.shape), np.ones((3, 3)))
        for label in range(1, count + 1):
            if (labels == label).sum() >= 3:
                result[index] |= labels == label
    return result

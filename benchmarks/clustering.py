"""K-means, foreground counts and co-occurrence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

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
    yield from _kmeans()
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


def _kmeans() -> Iterator[Comparison]:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 50)) * 2
    points = (centres[generator.integers(0, 60, 25_600)] + generator.normal(size=(25_600, 50))).astype("f4")
    tensor = torch.from_numpy(points)
    objective = {}

    def ours() -> None:
        objective["ours"] = kmeans(tensor, 100, seed=0, restarts=2).objective

    def peer() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = PeerKMeans(100, init="random", n_init=2, max_iter=100, tol=0, random_state=0)
            objective["peer"] = model.fit(points).inertia_

    result = compare("k-means / scikit-learn Lloyd", ours, peer, runs=3)
    ratio = objective["ours"] / objective["peer"]
    yield Comparison(**{**vars(result), "note": f"25,600x50, K=100, 2 starts; inertia ratio {ratio:.4f}"})


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

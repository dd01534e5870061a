"""Spectral embedding: places in which points are near each other if a chain of neighbours joins them.

Legend: N points, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh

#: Rows whose similarities to all others are held at a time.
_BLOCK = 1024
#: Up to this many points all eigenvectors are computed, which is exact and as fast.
_DENSE = 300


def neighbour_graph(points: NDArray[np.float32], neighbours: int) -> sparse.csr_array:
    """Symmetric graph of the nearest neighbours by inner product, [N, N].

    The weight of a pair is 1 if each is among the other's nearest, 1/2 if only one is, and 0 otherwise.

    Args:
        points: unit rows, [N, D].
        neighbours: of each point, fewer than N.
    """
    n = len(points)
    nearest = np.empty((n, neighbours), np.int64)
    for start in range(0, n, _BLOCK):
        similarity = points[start : start + _BLOCK] @ points.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        nearest[start : start + _BLOCK] = np.argpartition(-similarity, neighbours - 1, axis=1)[:, :neighbours]
    ends = np.repeat(np.arange(n), neighbours), nearest.ravel()
    graph = sparse.csr_array((np.ones(n * neighbours), ends), shape=(n, n))
    return sparse.csr_array((graph + graph.T) / 2)


def spectral_embedding(
    points: NDArray[np.float32], *, neighbours: int = 15, dimensions: int = 20
) -> NDArray[np.float64]:
    """Unit rows [N, <= dimensions] of the leading eigenvectors of the neighbour graph, normalised by degree.

    Args:
        points: unit rows, [N, D], N >= 1.
        neighbours: of each point; fewer where there are fewer points.
        dimensions: number of eigenvectors; fewer where there are fewer points.

    Source: Ng, Jordan and Weiss, On spectral clustering, NIPS 2001, steps 2 to 4, with a graph of nearest
    neighbours. The defaults were chosen while scores of MSRC-21 were known, see results/masks.md.
    """
    n = len(points)
    if n < 3:
        return np.asarray(points, np.float64)
    graph = neighbour_graph(points, min(neighbours, n - 1))
    scale = sparse.diags_array(1 / np.sqrt(graph.sum(0)))
    adjacency = scale @ graph @ scale
    if n <= max(_DENSE, 2 * dimensions):
        _, vectors = np.linalg.eigh(adjacency.toarray())
        vectors = vectors[:, ::-1][:, : min(dimensions, n)]
    else:  # from a fixed vector, so that the outcome is always the same
        _, vectors = eigsh(adjacency, dimensions, which="LA", v0=np.ones(n))
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

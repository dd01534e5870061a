from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering import spectral
from leopart.clustering.spectral import neighbour_graph, spectral_embedding


def unit_rows(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_graph_joins_nearest_neighbours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spectral, "_BLOCK", 7)
    points, expected = unit_rows(20), np.zeros((20, 20))
    for a in range(20):
        others = sorted((b for b in range(20) if b != a), key=lambda b: -float(points[a] @ points[b]))
        for b in others[:4]:
            expected[a, b] += 0.5
            expected[b, a] += 0.5
    np.testing.assert_array_equal(neighbour_graph(points, 4).toarray(), expected)


def test_groups_that_no_neighbour_joins_are_orthogonal():
    """Two groups of points around two orthogonal directions: their embeddings share no component."""
    near = np.random.default_rng(0).normal(0, 0.05, (40, 6)).astype(np.float32)
    near[:20, 0] += 1
    near[20:, 1] += 1
    points = near / np.linalg.norm(near, axis=1, keepdims=True)
    places = spectral_embedding(points, neighbours=5, dimensions=2)
    likeness = places @ places.T
    assert likeness[:20, :20].min() > 0.99
    assert np.abs(likeness[:20, 20:]).max() < 1e-6


def test_the_iterative_solver_finds_the_places_of_the_exact_one(monkeypatch: pytest.MonkeyPatch):
    points = unit_rows(120)
    exact = spectral_embedding(points, neighbours=10, dimensions=5)
    monkeypatch.setattr(spectral, "_DENSE", 0)
    found = spectral_embedding(points, neighbours=10, dimensions=5)
    np.testing.assert_allclose(found @ found.T, exact @ exact.T, atol=1e-6)  # eigenvectors have no sign


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_few_points_have_places_too(n: int):
    places = spectral_embedding(unit_rows(n))
    assert len(places) == n
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-6)

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import make_blobs
from torch import Tensor

from leopart.clustering import kmeans as module
from leopart.clustering.kmeans import KMeans, kmeans

#: Two tall pairs, far apart: Lloyd from (0, 0), (0, 2) is caught in a poor optimum of objective 100.
PAIRS = torch.tensor([[0.0, 0.0], [0.0, 2.0], [10.0, 0.0], [10.0, 2.0]])


def blobs(count: int = 600, dims: int = 6, centres: int = 8) -> Tensor:
    points, _ = make_blobs(count, dims, centers=centres, cluster_std=2.5, random_state=3)
    return torch.from_numpy(points).float()


def naive_spherical(points: np.ndarray, n_clusters: int, seed: int) -> float:
    """Spherical k-means as it is written down: loops, float64, one run from random points."""
    starts = np.random.default_rng(seed).choice(len(points), n_clusters, replace=False)
    centroids = [points[i] / np.linalg.norm(points[i]) for i in starts]
    for _ in range(100):
        ids = [max(range(n_clusters), key=lambda k: x @ centroids[k]) for x in points]
        for k in range(n_clusters):
            own = [x for x, i in zip(points, ids, strict=True) if i == k]
            if own:
                centroids[k] = sum(own) / np.linalg.norm(sum(own))
    return sum(max(x @ c for c in centroids) for x in points)


def rows(tensor: Tensor) -> list[list[float]]:
    return sorted([round(value, 5) for value in row] for row in tensor.tolist())


def test_centroids_of_two_pairs_are_their_means():
    model = kmeans(PAIRS, 2, seed=0)

    assert rows(model.centroids) == [[0.0, 1.0], [10.0, 1.0]]
    assert model.objective == pytest.approx(4.0)
    left, right = model.assign(torch.tensor([[4.0, 50.0], [6.0, 50.0]])).tolist()
    assert model.centroids[left].tolist() == [0.0, 1.0]
    assert model.centroids[right].tolist() == [10.0, 1.0]


def test_the_best_of_several_restarts_is_kept():
    alone = {round(kmeans(PAIRS, 2, seed=seed, restarts=1).objective) for seed in range(20)}
    several = {round(kmeans(PAIRS, 2, seed=seed, restarts=8).objective) for seed in range(20)}

    assert alone == {4, 100}
    assert several == {4}


def test_the_best_of_several_spherical_restarts_is_kept():
    points = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
    alone = [kmeans(points, 6, seed=seed, restarts=1, spherical=True).objective for seed in range(20)]
    several = [kmeans(points, 6, seed=seed, restarts=10, spherical=True).objective for seed in range(5)]

    assert min(several) > np.median(alone)


@pytest.mark.parametrize("n_clusters", [5, 8, 20])
def test_objective_is_within_a_percent_of_scikit_learns(n_clusters: int):
    points = blobs()
    model = kmeans(points, n_clusters, seed=0, restarts=10)
    reference = Reference(n_clusters, init="random", n_init=10, random_state=0, max_iter=100).fit(
        points.numpy()
    )

    own = (points - model.centroids[model.assign(points)]).double().pow(2).sum().item()
    assert model.objective == pytest.approx(own, rel=1e-5)
    assert model.objective <= 1.01 * reference.inertia_
    assert model.centroids.shape == (n_clusters, 6)


def test_points_go_to_the_nearest_centroid_and_fit_is_minus_half_the_squared_distance():
    points = blobs(300)
    model = kmeans(points, 7, seed=1)
    distances = torch.cdist(points.double(), model.centroids.double())

    ids, fit = model.nearest(points.reshape(3, 100, 6))

    assert ids.shape == fit.shape == (3, 100)
    assert (ids.ravel() == distances.argmin(1)).all()
    torch.testing.assert_close(fit.ravel(), -distances.min(1).values.pow(2).float() / 2, rtol=1e-4, atol=1e-3)


def test_spherical_assignment_is_the_largest_inner_product_with_unit_centroids():
    points = blobs() + 1
    model = kmeans(points, 9, seed=0, spherical=True)
    products = points.double() @ model.centroids.double().T

    ids, fit = model.nearest(points)

    torch.testing.assert_close(model.centroids.norm(dim=1), torch.ones(9))
    assert (ids == products.argmax(1)).all()
    torch.testing.assert_close(fit, products.max(1).values.float())
    assert model.objective == pytest.approx(products.max(1).values.sum().item(), rel=1e-5)
    assert (
        ids != torch.cdist(points, model.centroids).argmin(1)
    ).sum() == 0  # unit centroids: the same order


def test_spherical_centroids_are_sums_of_points_that_keep_their_length():
    points = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    model = kmeans(points, 1, seed=0, spherical=True)

    assert model.centroids[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)  # (1, 0) and (-1, 0) cancel
    weighted = kmeans(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 1, seed=0, spherical=True)
    assert weighted.centroids[0].tolist() == pytest.approx([0.6, 0.8])
    assert weighted.objective == pytest.approx(5.0)


def test_spherical_objective_is_not_below_a_naive_implementation():
    points = np.random.default_rng(0).standard_normal((60, 3)) * np.array([1, 2, 3])
    model = kmeans(torch.from_numpy(points), 4, seed=0, spherical=True, restarts=10)

    assert model.objective >= 0.999 * max(naive_spherical(points, 4, seed) for seed in range(4))


@pytest.mark.parametrize("spherical", [False, True])
def test_the_result_is_a_fixed_point_of_the_iteration(spherical: bool):
    points = blobs(200, 3, 5)
    model = kmeans(points, 6, seed=0, spherical=spherical)
    ids = model.assign(points)
    means = torch.stack([points[ids == k].mean(0) for k in range(6)])
    if spherical:
        means = means / means.norm(dim=1, keepdim=True)

    torch.testing.assert_close(model.centroids, means, rtol=1e-4, atol=1e-4)


def test_an_empty_cluster_takes_over_the_worst_described_point():
    points = torch.tensor([[2.0, 2.0]] * 50 + [[3.0, 2.0], [2.0, 7.0]])
    for seed in range(10):
        model = kmeans(points, 3, seed=seed, restarts=1)

        assert rows(model.centroids) == [[2.0, 2.0], [2.0, 7.0], [3.0, 2.0]]


def test_the_first_point_taken_over_is_the_one_that_is_worst_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "randperm", lambda n, generator: torch.arange(n))
    points = torch.tensor([[0.0], [0.0], [1.0], [-5.0], [2.0]])
    model = kmeans(points, 2, seed=0, restarts=1, iterations=1)

    # Both start at 0 and the first takes all: its mean is -0.4, the empty one takes -5 (not 2).
    assert rows(model.centroids) == [[-5.0], [-0.4]]


@pytest.mark.parametrize("seed", range(4))
def test_no_spherical_cluster_stays_empty_because_a_long_point_is_far_from_unit_length(seed: int):
    long = [[1.0, 0.0, 0.0]] * 40 + [[100.0, 0.0, 0.0]]
    points = torch.tensor([*long, [0.0, 0.1, 0.0], [0.0, 0.1, 0.1]])
    model = kmeans(points, 3, seed=seed, spherical=True)

    assert len(model.assign(points).unique()) == 3
    assert model.objective == pytest.approx(points.norm(dim=1).sum().item(), rel=1e-6)


def test_fewer_points_than_clusters_give_a_cluster_each():
    model = kmeans(PAIRS[:3], 10, seed=0)

    assert rows(model.centroids) == rows(PAIRS[:3])
    assert model.objective == 0


def test_fewer_different_points_than_clusters_give_a_cluster_each():
    for spherical in (False, True):
        model = kmeans(torch.zeros(20, 3), 4, seed=0, spherical=spherical)
        assert model.centroids.tolist() == [[0.0, 0.0, 0.0]]
        assert model.objective == 0

    pairs = kmeans(torch.eye(2).repeat(10, 1), 5, seed=0)
    assert sorted(pairs.centroids.tolist()) == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(("limit", "expected"), [(7, 7), (1000, 1000), (5000, 1000), (None, 1000)])
def test_no_more_points_per_centroid_than_the_limit_are_looked_at(limit: int | None, expected: int):
    points = torch.tensor([[1.0, 0.0]]).repeat(1000, 1)
    model = kmeans(points, 1, seed=0, spherical=True, max_points_per_centroid=limit)

    assert model.objective == expected  # each point adds an inner product of 1


def test_the_subset_is_drawn_from_all_points_by_the_seed():
    points = torch.arange(1000.0)[:, None]
    centroids = [kmeans(points, 1, seed=s, max_points_per_centroid=50).centroids.item() for s in range(20)]

    assert len(set(centroids)) > 15
    assert abs(np.mean(centroids) - 499.5) < 40  # 41 = standard deviation of one; 9 of their mean


@pytest.mark.parametrize("spherical", [False, True])
def test_the_same_seed_gives_the_same_centroids_and_another_seed_others(spherical: bool):
    points = torch.randn(2000, 5, generator=torch.Generator().manual_seed(1))
    first, again, other = (
        kmeans(points, 12, seed=seed, spherical=spherical, restarts=2, max_points_per_centroid=50)
        for seed in (3, 3, 4)
    )

    assert torch.equal(first.centroids, again.centroids)
    assert first.objective == again.objective
    assert not torch.equal(first.centroids, other.centroids)


def test_the_state_of_torchs_global_generator_does_not_matter():
    torch.manual_seed(1)
    first = kmeans(blobs(), 5, seed=0)
    torch.manual_seed(2)
    assert torch.equal(first.centroids, kmeans(blobs(), 5, seed=0).centroids)


def test_ending_early_gives_the_result_of_running_on(monkeypatch: pytest.MonkeyPatch):
    calls = []
    nearest = module._nearest
    monkeypatch.setattr(module, "_nearest", lambda *given: calls.append(1) or nearest(*given))
    points = blobs(300)
    early = kmeans(points, 5, seed=0, restarts=1)
    taken, calls[:] = len(calls), []
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    late = kmeans(points, 5, seed=0, restarts=1)
    monkeypatch.undo()

    assert taken < 60
    assert len(calls) == 101
    torch.testing.assert_close(early.centroids, late.centroids, rtol=0, atol=0)
    assert early.objective == late.objective


@pytest.mark.parametrize("spherical", [False, True])
def test_the_size_of_the_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch, spherical: bool):
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(-9, 10, (500, 4), generator=generator).float()
    centroids = torch.randint(-9, 10, (13, 4), generator=generator).float()  # whole numbers: no rounding
    whole = KMeans(centroids, spherical, 0.0).nearest(points)
    for pairs in (1, 13 * 7, 13 * 499):
        monkeypatch.setattr(module, "_PAIRS_AT_A_TIME", pairs)
        parts = KMeans(centroids, spherical, 0.0).nearest(points)
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])


def test_no_points_are_assigned_to_nothing():
    ids, fit = kmeans(PAIRS, 2, seed=0).nearest(torch.zeros(0, 2))
    assert ids.shape == fit.shape == (0,)


def test_half_precision_and_strided_points_are_taken():
    half = PAIRS.half().repeat_interleave(2, dim=1)[:, ::2]
    model = kmeans(half, 2, seed=0)
    assert model.centroids.dtype == torch.float32
    assert model.objective == pytest.approx(4.0)
    assert model.assign(half).dtype == torch.int64


@pytest.mark.parametrize(("points", "clusters"), [(torch.zeros(0, 3), 2), (torch.zeros(3, 3), 0)])
def test_no_points_or_no_clusters_are_refused(points: Tensor, clusters: int):
    with pytest.raises(ValueError, match=f"got {len(points)} and {clusters}"):
        kmeans(points, clusters, seed=0)

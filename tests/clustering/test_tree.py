from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from leopart.clustering.tree import NUMBERS, average_tree, stable_number


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around corners of a square far apart, and the corner 0.. of each."""
    corners = np.array([(0, 0), (10, 0), (0, 10), (10, 10)], float)
    of_point = np.repeat(np.arange(len(sizes)), sizes)
    return corners[of_point] + np.random.default_rng(seed).normal(0, 0.5, (len(of_point), 2)), of_point


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a[:, None] == a, b[:, None] == b)


def naive_average_linkage(points: np.ndarray, number: int) -> np.ndarray:
    """Join the two clusters of least mean distance until `number` are left."""
    clusters = [[index] for index in range(len(points))]
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    while len(clusters) > number:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        a, b = min(pairs, key=lambda pair: distances[np.ix_(clusters[pair[0]], clusters[pair[1]])].mean())
        clusters[b] += clusters.pop(a)
    labels = np.zeros(len(points), int)
    for number_, members in enumerate(clusters):
        labels[members] = number_
    return labels


@pytest.mark.parametrize("number", [1, 2, 5, 11])
def test_the_tree_is_that_of_average_linkage(number: int):
    points = np.random.default_rng(number).standard_normal((12, 3))
    assert same_partition(average_tree(points).cut(number), naive_average_linkage(points, number))


def test_a_rare_kind_is_a_cluster_of_its_own():
    points, of_point = blobs([60, 60, 3])
    assert same_partition(average_tree(points).cut(3), of_point)


def test_a_cut_at_fewer_joins_clusters_of_a_cut_at_more():
    tree = average_tree(np.random.default_rng(0).standard_normal((30, 4)))
    for few, many in pairwise(NUMBERS[:6]):
        pairs = {(int(a), int(b)) for a, b in zip(tree.cut(many), tree.cut(few), strict=True)}
        assert len(pairs) == many, "a cluster of the finer cut lies in two of the coarser one"


def test_one_point_is_one_cluster():
    assert average_tree(np.zeros((1, 3))).cut(5).tolist() == [0]


def test_the_number_that_both_halves_find_is_chosen():
    """Four corners, ten points a photo; more clusters would split a corner where chance has it."""
    points, _ = blobs([50, 50, 50, 50])
    photos = np.random.default_rng(1).permutation(200) % 20

    def labels_from(half: np.ndarray):
        own = points[half[photos]]
        tree = average_tree(own)

        def named(number: int) -> np.ndarray:
            ids = tree.cut(number)
            centres = np.array([own[ids == cluster].mean(0) for cluster in range(ids.max() + 1)])
            return np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)

        return named

    found = stable_number(labels_from, 20, [2, 3, 4, 8, 12, 20], seed=0)
    assert found.number == 4
    assert dict(found.curve)[4] == pytest.approx(1)
    assert dict(found.curve)[20] < 0.7

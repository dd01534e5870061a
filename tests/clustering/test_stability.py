from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from leopart.clustering.communities import RESOLUTIONS
from leopart.clustering.cooccurrence import Cooccurrence, edge_list
from leopart.clustering.stability import Communities, adjusted_rand, find_objects, numbers_of_objects

ENGINES = pytest.mark.parametrize("engine", ["map-equation", "infomap"])


def object_photo(parts: list[int], rng: np.random.Generator) -> np.ndarray:
    """A photo of one object on background: its parts as stripes side by side, in random order."""
    ids = np.full((12, 12), -1)
    for column, part in enumerate(rng.permutation(parts)):
        ids[2:10, 2 + 2 * column : 4 + 2 * column] = part
    return ids


def folds_of(
    objects: list[list[int]], n_parts: int, photos: int = 60, n_folds: int = 12
) -> list[Cooccurrence]:
    rng = np.random.default_rng(0)
    folds = [Cooccurrence(n_parts) for _ in range(n_folds)]
    for photo in range(photos):
        folds[photo % n_folds].add(object_photo(objects[photo % len(objects)], rng))
    return folds


def blocks(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {0}}


def pairs_index(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index from its definition over pairs of elements."""
    pairs = list(combinations(range(len(a)), 2))
    both = sum(a[i] == a[j] and b[i] == b[j] for i, j in pairs)
    in_a, in_b = sum(a[i] == a[j] for i, j in pairs), sum(b[i] == b[j] for i, j in pairs)
    expected = in_a * in_b / len(pairs)
    return (both - expected) / ((in_a + in_b) / 2 - expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_stable_number_is_one_of_those_that_are_possible(seed: int):
    rng = np.random.default_rng(seed)
    folds = [Cooccurrence(12) for _ in range(6)]
    for photo in range(30):
        folds[photo % 6].add(rng.integers(-1, 12, (5, 5)))
    graph, numbers = numbers_of_objects(folds, engine="map-equation", seed=seed)
    found = find_objects(folds, engine="map-equation", n_objects=None, seed=seed)

    assert len(numbers) == len(RESOLUTIONS)
    np.testing.assert_array_equal(graph.edges, found.edges)
    assert found.object_of_part.max() == numbers[RESOLUTIONS.index(found.resolution)]


@pytest.mark.parametrize("seed", range(10))
def test_adjusted_rand_index_is_scikit_learns(seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, rng.integers(2, 8), 30), rng.integers(0, rng.integers(2, 8), 30)

    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b))
    assert adjusted_rand(a, b) == pytest.approx(pairs_index(a, b))
    alike = np.where(rng.random(30) < 0.2, b, a)
    assert adjusted_rand(a, alike) == pytest.approx(adjusted_rand_score(a, alike))


def test_the_names_of_the_groups_do_not_matter():
    a = np.array([0, 0, 1, 1, 2, 2, 2])
    b = np.array([5, 5, 0, 0, 3, 3, 3])
    assert adjusted_rand(a, b) == 1.0


@pytest.mark.parametrize("trivial", [np.zeros(6, np.int64), np.arange(6), np.zeros(1, np.int64)])
def test_two_partitions_that_say_nothing_do_not_agree(trivial: np.ndarray):
    assert adjusted_rand(trivial, trivial) == 0.0  # scikit-learn says 1: equal all the same
    assert adjusted_rand_score(trivial, trivial) == 1.0


@pytest.mark.parametrize("trivial", [np.zeros(6, np.int64), np.arange(6)])
def test_a_partition_that_says_nothing_agrees_with_none(trivial: np.ndarray):
    other = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(trivial, other) == adjusted_rand(other, trivial) == 0.0
    assert adjusted_rand_score(trivial, other) == 0.0


@ENGINES
def test_planted_objects_are_found_without_their_number(engine: str):
    if engine == "infomap":
        pytest.importorskip("infomap")
    objects = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    found = find_objects(folds_of(objects, 10), engine=engine, n_objects=None, seed=0)

    assert blocks(found.object_of_part) == {frozenset(o) for o in objects}
    assert found.object_of_part[0] == 1  # the largest
    assert found.engine == engine
    assert [resolution for resolution, _, _ in found.curve] == list(RESOLUTIONS)
    count, stability = {f: (c, s) for f, c, s in found.curve}[found.resolution]
    assert count == 3
    assert stability == pytest.approx(1.0)


@ENGINES
def test_planted_objects_are_found_by_their_number_and_the_rest_is_background(engine: str):
    if engine == "infomap":
        pytest.importorskip("infomap")
    objects = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9], [11]]
    found = find_objects(folds_of(objects, 12), engine=engine, n_objects=3, seed=0)

    assert blocks(found.object_of_part) == {frozenset(o) for o in objects[:3]}
    assert found.object_of_part[10:].tolist() == [0, 0]
    assert found.curve == ()


def test_a_part_beside_no_other_is_an_object_of_its_own_when_the_number_is_free():
    objects = [[0, 1, 2, 3], [4, 5, 6], [7]]
    found = find_objects(folds_of(objects, 8), engine="map-equation", n_objects=None, seed=0)
    assert blocks(found.object_of_part) == {frozenset(o) for o in objects}


def test_the_graph_is_that_of_all_photos_together():
    objects = [[0, 1, 2, 3], [4, 5, 6]]
    one = Cooccurrence(7)
    rng = np.random.default_rng(0)
    for photo in range(60):
        one.add(object_photo(objects[photo % 2], rng))
    found = find_objects(folds_of(objects, 7), engine="map-equation", n_objects=2, threshold=0.1, seed=0)

    np.testing.assert_allclose(found.edges, edge_list(one.conditional, 0.1), atol=1e-12)


def test_parts_that_never_meet_are_objects_each_without_a_curve():
    found = find_objects(folds_of([[0], [1], [2]], 3), engine="map-equation", n_objects=None, seed=0)
    assert sorted(found.object_of_part.tolist()) == [1, 2, 3]
    assert found.edges.shape == (0, 3)
    assert found.curve == ()


def test_the_coarsest_of_equally_stable_candidates_is_taken():
    found = find_objects(
        folds_of([[0, 1, 2, 3], [4, 5, 6]], 7), engine="map-equation", n_objects=None, seed=0
    )
    best = max(stability for _, _, stability in found.curve)
    stable = [resolution for resolution, _, stability in found.curve if stability == best]
    assert len(stable) > 1
    assert found.resolution == stable[0]


def test_stability_falls_where_photos_disagree():
    rng = np.random.default_rng(1)
    folds = [Cooccurrence(12) for _ in range(12)]
    for photo in range(24):
        folds[photo % 12].add(object_photo(rng.choice(12, 4, replace=False).tolist(), rng))
    random = find_objects(folds, engine="map-equation", n_objects=None, seed=0)
    planted = find_objects(
        folds_of([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], 12),
        engine="map-equation",
        n_objects=None,
        seed=0,
    )
    assert max(s for _, _, s in random.curve) < 0.8 < max(s for _, _, s in planted.curve)


def test_the_same_seed_gives_the_same_objects():
    rng = np.random.default_rng(1)
    folds = [Cooccurrence(12) for _ in range(6)]
    for photo in range(24):
        folds[photo % 6].add(object_photo(rng.choice(12, 4, replace=False).tolist(), rng))
    first, again, other = (
        find_objects(folds, engine="map-equation", n_objects=None, seed=seed) for seed in (1, 1, 2)
    )
    assert first.object_of_part.tolist() == again.object_of_part.tolist()
    assert first.curve == again.curve
    assert first.curve != other.curve


def test_reordering_renames_nodes_and_edges_alike():
    edges = np.array([[0, 1, 0.5], [1, 3, 0.4], [2, 3, 0.3]])
    before = Communities(np.array([1, 1, 2, 2]), edges, "map-equation", 1.0)
    order, objects = np.array([2, 3, 0, 1]), np.array([2, 2, 1, 1])  # the objects change places as well

    after = before.reordered(order, objects)

    assert after.object_of_part.tolist() == [1, 1, 2, 2]
    assert {(order[int(a)], order[int(b)]) for a, b, _ in after.edges} == {(0, 1), (3, 1), (2, 3)}
    assert {(int(a), int(b)): w for a, b, w in after.edges} == {(2, 3): 0.5, (1, 3): 0.4, (0, 1): 0.3}


@pytest.mark.parametrize("seed", range(3))
def test_reordering_keeps_every_edge_between_the_same_parts(seed: int):
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations(range(7), 2)))
    edges = np.column_stack([pairs, rng.random(len(pairs))])[rng.random(len(pairs)) < 0.5]
    order, objects = rng.permutation(7), rng.integers(0, 4, 7)
    after = Communities(objects, edges, "map-equation", 1.0).reordered(order, objects)

    assert (after.edges[:, 0] < after.edges[:, 1]).all()
    back = {tuple(sorted((order[int(a)], order[int(b)]))): w for a, b, w in after.edges}
    assert back == {(int(a), int(b)): w for a, b, w in edges}
    assert after.object_of_part.tolist() == [objects[old] for old in order]

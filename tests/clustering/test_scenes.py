from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering.communities import detect_communities
from leopart.clustering.scenes import object_edges, scene_groups
from random_graphs import random_graphs

ENGINES = pytest.mark.parametrize("engine", ["map-equation", "infomap"])


def by_hand(edges: np.ndarray, object_of_part: np.ndarray) -> dict[tuple[int, int], float]:
    """Summed weights of the parts' edges between each pair of objects, in two loops over the objects."""
    total: dict[tuple[int, int], float] = {}
    for a in range(1, object_of_part.max() + 1):
        for b in range(a + 1, object_of_part.max() + 1):
            weights = [w for x, y, w in edges if {object_of_part[int(x)], object_of_part[int(y)]} == {a, b}]
            if weights:
                total[a - 1, b - 1] = sum(weights)
    return total


@pytest.mark.parametrize("seed", range(6))
def test_objects_are_joined_by_the_summed_weights_of_their_parts_edges(seed: int):
    edges, n_parts = list(random_graphs(seed + 1, least=10, most=60))[seed]
    object_of_part = np.random.default_rng(seed).integers(0, 8, n_parts)  # 0: of no object
    rows = object_edges(edges, object_of_part, 9)

    assert {(int(a), int(b)): w for a, b, w in rows} == pytest.approx(by_hand(edges, object_of_part))
    assert (rows[:, 0] < rows[:, 1]).all()
    assert rows.dtype == np.float64


def streets_and_fields() -> tuple[np.ndarray, np.ndarray]:
    """Seven objects of two parts each: 1, 3 and 5 lie beside each other, so do 2, 4 and 6; 7 lies alone."""
    object_of_part = np.repeat(np.arange(1, 8), 2)
    inside = [(2 * o, 2 * o + 1, 0.5) for o in range(7)]
    beside = [
        (2 * a, 2 * b + 1, 0.2) for group in ((0, 2, 4), (1, 3, 5)) for a in group for b in group if a < b
    ]
    return np.array([*inside, *beside, (1, 3, 0.02)]), object_of_part


@ENGINES
@pytest.mark.parametrize("area", [[9, 8, 7, 6, 5, 4, 3], [1, 8, 1, 6, 1, 4, 30], [3, 1, 3, 1, 3, 1, 5]])
def test_objects_beside_each_other_are_groups_by_falling_area(engine: str, area: list[int]):
    if engine == "infomap":
        pytest.importorskip("infomap")
    edges, object_of_part = streets_and_fields()
    groups = scene_groups(edges, object_of_part, np.array(area), engine=engine, seed=0)

    assert groups.dtype == np.int64
    members = [set(np.flatnonzero(groups == g) + 1) for g in range(1, groups.max() + 1)]
    wanted = [{1, 3, 5}, {2, 4, 6}, {7}]
    assert members == sorted(wanted, key=lambda group: -sum(area[o - 1] for o in group))


@pytest.mark.parametrize("area", [[3, 2, 1], [1, 2, 3]])
def test_objects_beside_no_other_are_groups_of_their_own(area: list[int]):
    object_of_part = np.array([1, 1, 2, 2, 0])
    edges = np.array([(0, 1, 0.5), (2, 3, 0.5), (1, 4, 0.9), (3, 4, 0.9)])  # part 4 is of no object
    groups = scene_groups(edges, object_of_part, np.array(area), engine="map-equation", seed=0)
    assert groups.tolist() == (1 + np.argsort(-np.array(area))).tolist()  # object 3 has no part at all


def test_no_objects_at_all():
    nothing = scene_groups(
        np.zeros((0, 3)), np.zeros(4, np.int64), np.zeros(0), engine="map-equation", seed=0
    )
    assert nothing.tolist() == []


@pytest.mark.parametrize("engine", ["map-equation", "infomap"])
def test_groups_are_the_communities_of_the_graph_of_objects_and_the_seed_repeats_them(engine: str):
    for edges, n_parts in random_graphs(5, least=40, most=80):
        object_of_part = np.random.default_rng(0).integers(1, 13, n_parts)
        object_of_part[:12] = np.arange(1, 13)
        area = np.bincount(object_of_part)[1:]
        groups, again = (scene_groups(edges, object_of_part, area, engine=engine, seed=3) for _ in range(2))
        rows = np.array([(a, b, w) for (a, b), w in by_hand(edges, object_of_part).items()])
        plain = detect_communities(rows, 12, engine=engine, resolution=1.0, keep_isolated=True, seed=3)

        assert groups.tolist() == again.tolist()
        np.testing.assert_array_equal(groups[:, None] == groups, plain[:, None] == plain)
        assert (np.diff(np.bincount(groups, weights=area)[1:]) <= 0).all()

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from leopart.clustering.map_equation.codelength import codelength
from leopart.clustering.map_equation.search import map_equation_communities
from random_graphs import random_graphs


def all_partitions(size: int) -> Iterator[list[int]]:
    """Every partition of so many nodes, modules numbered by their first node."""

    def grown(labels: list[int]) -> Iterator[list[int]]:
        if len(labels) == size:
            yield labels
            return
        for label in range(max(labels) + 2):
            yield from grown([*labels, label])

    yield from grown([0])


def small_graph(seed: int, size: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = np.triu((rng.random((size, size)) < 0.4) * rng.exponential(1, (size, size)), k=1)
    weights[np.arange(size - 1), np.arange(1, size)] += 0.1  # a path joins all
    a, b = np.nonzero(weights)
    return np.column_stack([a, b, weights[a, b]])


@pytest.mark.parametrize("seed", range(6))
def test_of_all_partitions_of_a_small_graph_the_best_is_found_for_each_number(seed: int):
    edges, time = small_graph(seed), (0.5, 1.0, 1.5)[seed % 3]
    best: dict[int | None, float] = {}
    for labels in all_partitions(7):
        bits = codelength(edges, 7, np.array(labels), time)
        for count in (None, max(labels) + 1):
            best[count] = min(best.get(count, np.inf), bits)
    assert len(best) == 8
    for count, bits in best.items():
        found = map_equation_communities(edges, 7, markov_time=time, modules=count)
        assert found.codelength == pytest.approx(bits, abs=1e-9)
        assert count in (None, found.modules.max() + 1)


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_codes_are_as_short_as_infomaps_best_of_ten(count: int):
    infomap = pytest.importorskip("infomap")
    excess = []
    for number, (edges, n_nodes) in enumerate(random_graphs(count, most=500 if count == 200 else 120)):
        time = (0.5, 1.0, 1.5, 2.0, 3.0)[number // 5 % 5]
        network = infomap.Network()
        network.add_nodes(range(n_nodes))
        network.add_links([(int(a), int(b), float(w)) for a, b, w in edges])
        theirs = infomap.run(network, seed=1, num_trials=10, two_level=True, markov_time=time).codelength
        found = map_equation_communities(edges, n_nodes, markov_time=time)
        excess.append(found.codelength / theirs - 1)

    print(f"mean {np.mean(excess):+.4%}, worst {max(excess):+.4%}")
    assert np.mean(excess) <= 0
    assert max(excess) <= 0.005


def test_the_codelength_is_that_of_the_modules():
    for edges, n_nodes in random_graphs(5, most=60):
        for count in (None, 4):
            found = map_equation_communities(edges, n_nodes, markov_time=1.5, modules=count, starts=4)
            assert found.codelength == codelength(edges, n_nodes, found.modules, 1.5)


def test_more_starts_do_no_worse():
    for edges, n_nodes in random_graphs(5, most=60):
        one, many = (map_equation_communities(edges, n_nodes, starts=starts) for starts in (1, 24))
        assert many.codelength <= one.codelength + 1e-12


@pytest.mark.parametrize("count", [1, 2, 5, 13, 20])
def test_as_many_modules_come_back_as_are_asked_for(count: int):
    for edges, n_nodes in random_graphs(15, least=40, most=60):
        found = map_equation_communities(edges, n_nodes, modules=count, starts=4)
        alone = np.setdiff1d(np.arange(n_nodes), edges[:, :2])
        assert np.unique(found.modules[found.modules >= 0]).tolist() == list(range(count))
        assert np.flatnonzero(found.modules < 0).tolist() == alone.tolist()


def test_modules_are_numbered_by_their_first_node_and_nodes_without_an_edge_are_in_none():
    triangles = [(a, b, 1.0) for nodes in ((1, 2, 3), (6, 7, 8)) for a, b in combinations(nodes, 2)]
    found = map_equation_communities(np.array([*triangles, (3, 6, 0.1)]), 10)
    assert found.modules.tolist() == [-1, 0, 0, 0, -1, -1, 1, 1, 1, -1]


def test_parts_that_nothing_joins_are_no_module_until_so_few_are_asked_for():
    pairs = np.array([[0, 1, 1.0], [2, 3, 1.0], [4, 5, 0.2]])
    assert map_equation_communities(pairs, 6).modules.tolist() == [0, 0, 1, 1, 2, 2]
    assert map_equation_communities(pairs, 6, modules=2).modules.max() == 1


def test_more_modules_than_nodes_with_an_edge_are_every_node_alone():
    found = map_equation_communities(np.array([[0, 1, 1.0], [1, 3, 1.0]]), 5, modules=9)
    assert found.modules.tolist() == [0, 1, -1, 2, -1]


def test_the_same_seed_gives_the_same_modules():
    edges, n_nodes = next(random_graphs(1, least=200))  # no structure in it: the seed decides

    def found(seed: int) -> list[int]:
        return map_equation_communities(edges, n_nodes, starts=2, seed=seed).modules.tolist()

    assert found(3) == found(3)
    assert any(found(seed) != found(3) for seed in range(3))


def test_no_edges_no_modules():
    found = map_equation_communities(np.zeros((0, 3)), 3, modules=2)
    assert found.modules.tolist() == [-1, -1, -1]
    assert found.codelength == 0.0


def test_nodes_outside_the_graph_are_refused():
    with pytest.raises(ValueError, match="nodes must be 0 to 1"):
        map_equation_communities(np.array([[0, 2, 1.0]]), 2)


@pytest.mark.parametrize("wrong", [{"modules": 0}, {"starts": 0}])
def test_numbers_below_one_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match="at least 1"):
        map_equation_communities(np.array([[0, 1, 1.0]]), 2, **wrong)

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from leopart.clustering.map_equation.codelength import flow_network
from leopart.clustering.map_equation.moves import NodeMoves, merge_down
from random_graphs import random_graphs

GRAPHS = list(random_graphs(10, most=50))


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize(("time", "begin"), [(0.5, "alone"), (1.5, "alone"), (1.0, "random")])
def test_where_nothing_moves_any_more_no_move_to_a_neighbour_shortens_the_code(
    number: int, time: float, begin: str
):
    network = flow_network(*GRAPHS[number], time)
    size, rng = len(network), np.random.default_rng(number)
    before = np.arange(size) if begin == "alone" else rng.integers(0, 5, size)
    after = NodeMoves(network, before, 1, size).run(rng.permutation(size))
    best = network.codelength(after)
    assert best < network.codelength(before)
    while (again := NodeMoves(network, after, 1, size).run(rng.permutation(size))).tolist() != after.tolist():
        after = again

    assert network.codelength(after) <= best
    best = network.codelength(after)
    free = np.setdiff1d(np.arange(size), after)[:1]
    for node in range(size):
        for module in {*after[[other for other, _ in network.neighbours[node]]], *free}:
            moved = after.copy()
            moved[node] = module
            assert network.codelength(moved) > best - 1e-9


@pytest.mark.parametrize(("least", "most"), [(1, 5), (5, 5), (8, 50)])
def test_moves_stay_within_the_bounds(least: int, most: int):
    for edges, n_nodes in GRAPHS:
        network = flow_network(edges, n_nodes, 1.0)
        before = np.arange(n_nodes) % max(least, 5)
        order = np.random.default_rng(0).permutation(n_nodes)
        after = NodeMoves(network, before, least, min(most, n_nodes)).run(order)
        assert least <= len(np.unique(after)) <= most
        assert network.codelength(after) < network.codelength(before)


@pytest.mark.parametrize("number", range(10))
def test_the_first_pair_to_be_joined_is_the_cheapest_of_all(number: int):
    network = flow_network(*GRAPHS[number], 1.5)
    size = len(network)

    def joined(a: int, b: int) -> float:
        modules = np.arange(size)
        modules[b] = a
        return network.codelength(np.unique(modules, return_inverse=True)[1])

    cheapest = min(joined(a, b) for a, b in combinations(range(size), 2))
    assert network.codelength(merge_down(network, size - 1)) == pytest.approx(cheapest, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_as_many_modules_are_left_as_are_wanted_whether_linked_or_not(count: int):
    for edges, n_nodes in GRAPHS:
        modules = merge_down(flow_network(edges, n_nodes), count)
        assert np.unique(modules).tolist() == list(range(count))


def test_nothing_is_joined_where_there_is_nothing_to_join():
    network = flow_network(*GRAPHS[0])
    assert merge_down(network, len(network)).tolist() == list(range(len(network)))

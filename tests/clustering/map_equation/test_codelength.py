from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering.map_equation.codelength import codelength, flow_network
from random_graphs import random_graphs

SQUARE = np.array([[0, 1, 1.0], [1, 2, 1.0], [2, 3, 1.0], [3, 0, 1.0]])
TIMES = (0.5, 1.0, 1.5, 2.0, 3.0)


def entropy(rates: list[float]) -> float:
    """Bits of a codeword from a codebook whose words are used at these rates."""
    total = sum(rates)
    return -sum(rate / total * np.log2(rate / total) for rate in rates if rate > 0)


def by_codebooks(edges: np.ndarray, n_nodes: int, modules: np.ndarray, time: float) -> float:
    """The map equation as its authors introduce it: rate of use times entropy, codebook by codebook."""
    total = 2 * edges[:, 2].sum()
    visits, exits = np.zeros(n_nodes), dict.fromkeys(modules.tolist(), 0.0)
    for a, b, weight in edges:
        visits[int(a)] += weight / total
        visits[int(b)] += weight / total
        if modules[int(a)] != modules[int(b)]:
            exits[modules[int(a)]] += time * weight / total
            exits[modules[int(b)]] += time * weight / total
    bits = 0.0
    for rates in [list(exits.values()), *([q, *visits[modules == m]] for m, q in exits.items())]:
        if sum(rates) > 0:
            bits += sum(rates) * entropy(rates)
    return bits


@pytest.mark.parametrize(
    ("modules", "time", "bits"),
    [
        ([0, 0, 0, 0], 1.0, 2.0),  # four nodes visited alike, one codebook
        ([0, 0, 1, 1], 1.0, 0.5 + 2 * 0.75 * np.log2(3)),  # half the steps change module
        ([0, 0, 1, 1], 2.0, 1 + 2 * 1.5),
        ([0, 1, 2, 3], 1.0, 2.0 + 4 * 0.5),
    ],
)
def test_codelengths_of_a_square_by_hand(modules: list[int], time: float, bits: float):
    assert codelength(SQUARE, 4, np.array(modules), time) == pytest.approx(bits, abs=1e-12)


@pytest.mark.parametrize("time", TIMES)
def test_the_codelength_is_that_of_the_codebooks(time: float):
    for number, (edges, n_nodes) in enumerate(random_graphs(20, most=60)):
        modules = np.random.default_rng(number).integers(0, 6, n_nodes)
        expected = by_codebooks(edges, n_nodes, modules, time)
        assert codelength(edges, n_nodes, modules, time) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_the_codelength_is_infomaps(count: int):
    infomap = pytest.importorskip("infomap")
    for number, (edges, n_nodes) in enumerate(random_graphs(count)):
        network = infomap.Network()
        network.add_nodes(range(n_nodes))
        network.add_links([(int(a), int(b), float(w)) for a, b, w in edges])
        modules = np.random.default_rng(number).integers(0, 1 + number % 9, n_nodes)
        given = dict(enumerate(modules.tolist()))
        for time in TIMES:
            theirs = infomap.run(
                network, two_level=True, markov_time=time, no_infomap=True, initial_partition=given
            ).codelength
            assert codelength(edges, n_nodes, modules, time) == pytest.approx(theirs, abs=1e-9)


def test_labels_order_and_direction_of_edges_do_not_matter():
    edges, n_nodes = next(random_graphs(1))
    rng = np.random.default_rng(0)
    modules = rng.integers(0, 5, n_nodes)
    swapped = rng.permutation(edges)
    swapped[::2, :2] = swapped[::2, 1::-1]
    assert codelength(swapped, n_nodes, modules * 7 - 3) == pytest.approx(codelength(edges, n_nodes, modules))


def test_a_network_of_modules_has_the_codelength_of_its_nodes():
    edges, n_nodes = next(random_graphs(1))
    network = flow_network(edges, n_nodes, 1.5)
    modules = np.random.default_rng(0).permutation(n_nodes) % 12
    groups = np.arange(12) // 3
    merged = network.merged(modules)

    assert len(merged) == 12
    assert merged.codelength(groups) == pytest.approx(network.codelength(groups[modules]), abs=1e-12)
    np.testing.assert_allclose(merged.exits, network.module_flows(modules, 12)[1])


def test_a_graph_without_edges_needs_no_code():
    assert codelength(np.zeros((0, 3)), 3, np.arange(3)) == 0.0


@pytest.mark.parametrize(
    ("edges", "time", "message"),
    [
        ([[1, 1, 0.5]], 1.0, "edge to itself"),
        ([[0, 1, 0.0]], 1.0, "above 0"),
        ([[0, 1, np.nan]], 1.0, "above 0"),
        ([[0, 1, 0.5]], 0.0, "above 0"),
        ([[0, 3, 0.5]], 1.0, "nodes must be 0 to 2"),
        ([[-1, 1, 0.5]], 1.0, "nodes must be 0 to 2"),
    ],
)
def test_graphs_that_are_none_are_refused(edges: list[list[float]], time: float, message: str):
    with pytest.raises(ValueError, match=message):
        flow_network(np.array(edges), 3, time)

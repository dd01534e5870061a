from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering.map_equation.codelength import FlowNetwork, flow_network
from leopart.clustering.map_equation.shakes import dissolve_modules, follow_neighbours, take_nodes_out
from random_graphs import random_graphs


@pytest.fixture
def network() -> FlowNetwork:
    return flow_network(*next(random_graphs(1, least=200))).visited()


@pytest.fixture
def modules(network: FlowNetwork) -> np.ndarray:
    return np.arange(len(network)) % 20


def test_some_modules_dissolve_wholly_and_the_others_stay(network: FlowNetwork, modules: np.ndarray):
    shaken = dissolve_modules(network, modules, np.random.default_rng(0))
    changed = shaken != modules
    gone = np.unique(modules[changed])

    assert 0 < len(gone) < 20
    assert np.isin(modules, gone).tolist() == changed.tolist()
    assert len(np.unique(shaken)) == 20 - len(gone) + changed.sum()


def test_a_single_module_dissolves(network: FlowNetwork):
    for seed in range(5):
        shaken = dissolve_modules(network, np.zeros(len(network), np.int64), np.random.default_rng(seed))
        assert len(np.unique(shaken)) == len(network)


def test_some_nodes_are_left_alone(network: FlowNetwork, modules: np.ndarray):
    shaken = take_nodes_out(network, modules, np.random.default_rng(0))
    changed = shaken != modules

    assert 0.2 < changed.mean() < 0.4
    assert len(np.unique(shaken)) == 20 + changed.sum()


def test_some_nodes_go_where_a_neighbour_is(network: FlowNetwork, modules: np.ndarray):
    shaken = follow_neighbours(network, modules, np.random.default_rng(0))
    moved = np.flatnonzero(shaken != modules)

    assert 0.1 < len(moved) / len(network) < 0.4
    for node in moved:
        assert shaken[node] in modules[[other for other, _ in network.neighbours[node]]]

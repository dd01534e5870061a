"""Communities by the map equation, against Infomap's best of ten trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks.harness import Comparison, compare
from leopart.clustering.map_equation.codelength import codelength
from leopart.clustering.map_equation.search import map_equation_communities

_TIME = 1.5  # the paper's Markov time


def run() -> Iterator[Comparison]:
    if find_spec("infomap") is None:
        return
    for n_nodes, n_groups, runs in ((100, 20, 5), (150, 20, 5), (500, 40, 3), (2000, 100, 1)):
        edges = _planted(n_nodes, n_groups)
        for count in (None, n_groups // 2):
            yield _communities(edges, n_nodes, count, runs)


def _communities(edges: np.ndarray, n_nodes: int, count: int | None, runs: int) -> Comparison:
    wanted = "a free number" if count is None else f"{count} modules"
    ours, theirs = _ours(edges, n_nodes, count), _infomap(edges, n_nodes, count)
    bits = [codelength(edges, n_nodes, find(), _TIME) for find in (ours, theirs)]
    note = f"{len(edges)} edges; codelength {bits[0] / bits[1] - 1:+.3%}"
    return compare(f"{n_nodes} nodes, {wanted} / Infomap, 10 trials", ours, theirs, runs=runs, note=note)


def _ours(edges: np.ndarray, n_nodes: int, count: int | None) -> Callable[[], np.ndarray]:
    return lambda: map_equation_communities(edges, n_nodes, markov_time=_TIME, modules=count).modules


def _infomap(edges: np.ndarray, n_nodes: int, count: int | None) -> Callable[[], np.ndarray]:
    import infomap

    wanted = {} if count is None else {"preferred_number_of_modules": count}

    def find() -> np.ndarray:
        network = infomap.Network()
        network.add_nodes(range(n_nodes))
        network.add_links([(int(a), int(b), float(w)) for a, b, w in edges])
        found = infomap.run(network, seed=1, num_trials=10, two_level=True, markov_time=_TIME, **wanted)
        return np.array([module for _, module in sorted(found.modules().items())])

    return find


def _planted(n_nodes: int, n_groups: int) -> np.ndarray:
    """Groups of nodes with about eight links each, a quarter of them to other groups."""
    generator = np.random.default_rng(0)
    group = generator.integers(0, n_groups, n_nodes)
    same = group[:, None] == group
    chance = np.where(same, 6 * n_groups / n_nodes, 2 / n_nodes)
    a, b = np.nonzero(np.triu(generator.random((n_nodes, n_nodes)) < chance, k=1))
    return np.column_stack([a, b, generator.uniform(0.05, 0.5, len(a))])

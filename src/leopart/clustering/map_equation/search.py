"""Modules of a graph that describe a random walk on it most briefly: a search for the least codelength.

One search goes as in Louvain: nodes move one by one, then whole modules, and so on up and down until nothing
moves. That ends in one of many valleys. So there are several starts; the best partition is shaken and
searched again; and its modules are split inside and the pieces moved.

Legend: N nodes, E edges, M modules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.map_equation.codelength import FlowNetwork, codelength, flow_network
from leopart.clustering.map_equation.moves import NodeMoves, merge_down
from leopart.clustering.map_equation.shakes import SHAKES

#: Of all starts, one in so many is from scratch; the others shake the best partition so far.
_SCRATCH = 4


@dataclass(frozen=True)
class Partition:
    """Modules of a graph.

    Attributes:
        modules: module of each node, [N] int64, numbered 0..M-1 by their first node; -1 = no edge.
        codelength: bits a step, see `map_equation.codelength`.
    """

    modules: NDArray[np.int64]
    codelength: float


def map_equation_communities(
    edges: NDArray[np.float64],
    n_nodes: int,
    *,
    markov_time: float = 1.0,
    modules: int | None = None,
    starts: int = 24,
    seed: int = 0,
) -> Partition:
    """Modules of least codelength by the two-level map equation, as nearly as a search finds them.

    Args:
        edges: (a, b, weight) rows, weights > 0, each edge once, [E, 3].
        n_nodes: N.
        markov_time: > 0; the longer, the fewer and larger modules.
        modules: find exactly so many, >= 1 (every node with an edge alone, if those are fewer); None = the
            number with the shortest code.
        starts: >= 1; of them every fourth is from scratch.
        seed: >= 0; the same gives the same modules.

    Raises:
        ValueError: see `map_equation.flow_network`; or `modules` or `starts` is below 1.

    Source: see `map_equation`; that only nodes beside a move are visited again is from Traag, Waltman and van
        Eck, From Louvain to Leiden, 2019.
    """
    if starts < 1 or (modules is not None and modules < 1):
        raise ValueError("starts and modules must be at least 1")
    labels = np.full(n_nodes, -1, np.int64)
    if len(edges) == 0:
        return Partition(labels, 0.0)
    network = flow_network(edges, n_nodes, markov_time)
    labels[network.visits > 0] = _by_first_node(_Search(network.visited(), modules, seed).best(starts))
    return Partition(labels, codelength(edges, n_nodes, labels, markov_time))


class _Search:
    """Searches of one network from many starts; with `count` modules, or any number of them."""

    def __init__(self, network: FlowNetwork, count: int | None, seed: int) -> None:
        self.network = network
        self.least = 1 if count is None else min(count, len(network))
        self.most = len(network) if count is None else self.least
        self.rng = np.random.default_rng(seed)

    def best(self, starts: int) -> NDArray[np.int64]:
        scratch = -(-starts // _SCRATCH)
        singles = np.arange(len(self.network))
        best = self._shortest([self._descend(singles, start) for start in range(scratch)])
        for start in range(starts - scratch):
            shaken = SHAKES[start % len(SHAKES)](self.network, best, self.rng)
            best = self._shortest([best, self._descend(_numbered(shaken), start)])
        best = self._split_and_moved(best)
        return self._shortest([best, np.zeros_like(best)]) if self.least == 1 else best

    def _shortest(self, candidates: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return min(candidates, key=self.network.codelength)

    def _descend(self, modules: NDArray[np.int64], start: int) -> NDArray[np.int64]:
        """The valley below these modules, with as many as are wanted.

        Too many modules are joined after a first descent or, by every other start, before it: that finds the
        better partitions when more are wanted than would come by themselves.
        """
        network, most = self.network, self.most
        if most < len(network) and start % 2 == 0:
            modules = self._valley(network, modules, self.least, len(network))
        if modules.max() + 1 > most:
            modules = merge_down(network.merged(modules), most)[modules]
        return self._valley(network, modules, self.least, most)

    def _valley(
        self, network: FlowNetwork, modules: NDArray[np.int64], least: int, most: int
    ) -> NDArray[np.int64]:
        """Move nodes, then whole modules as nodes of a smaller network, and again, until nothing moves."""
        while True:
            order = self.rng.permutation(len(network))
            modules = _numbered(NodeMoves(network, modules, least, most).run(order))
            count = int(modules.max()) + 1
            if count in (least, len(network)):
                return modules
            joined = self._valley(network.merged(modules), np.arange(count), least, most)
            if joined.max() + 1 == count:
                return modules
            modules = joined[modules]

    def _split_and_moved(self, modules: NDArray[np.int64]) -> NDArray[np.int64]:
        """Search inside each module for pieces, and move those instead of nodes; again while it helps."""
        while True:
            inside = self.network.inside(modules)
            pieces = self._valley(inside, np.arange(len(modules)), 1, len(modules))
            first = np.unique(pieces, return_index=True)[1]
            moved = self._valley(self.network.merged(pieces), modules[first], self.least, self.most)[pieces]
            moved = self._valley(self.network, moved, self.least, self.most)
            if self.network.codelength(moved) > self.network.codelength(modules) - 1e-10:
                return modules
            modules = moved


def _numbered(modules: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same modules as 0..M-1."""
    return np.unique(modules, return_inverse=True)[1]


def _by_first_node(modules: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, labels = np.unique(modules, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[labels]

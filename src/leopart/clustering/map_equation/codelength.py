"""The two-level map equation: how briefly modules of a graph's nodes describe a random walk on it.

A walker's steps are described by codewords. One codebook names the modules whenever the walker enters one;
each module has a codebook of its nodes and of leaving it. Good modules hold the walker for long, so that
short codewords of few nodes describe most steps. The codelength, in bits a step, is the quality of a
partition: less is better.

Written from the papers: Rosvall and Bergstrom, Maps of random walks on complex networks reveal community
structure, 2008; Rosvall, Axelsson and Bergstrom, The map equation, 2009; Kheirkhahzadeh, Lancichinetti and
Rosvall, Efficient community detection of network flows for varying Markov times and bipartite networks, 2016.

Legend: N nodes, E edges, L = 2E links (each edge both ways), M modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FlowNetwork:
    """A random walk on an undirected graph, in the long run.

    Attributes:
        visits: how often the walker is at each node, [N], sums to 1.
        sources, targets: the links' ends, [L], sorted by source.
        flows: how often the walker takes each link, [L].
    """

    visits: NDArray[np.float64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    flows: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.visits)

    @cached_property
    def exits(self) -> NDArray[np.float64]:
        """How often the walker leaves each node, [N]."""
        return _sums(self.sources, self.flows, len(self))

    @cached_property
    def neighbours(self) -> list[list[tuple[int, float]]]:
        """Per node (neighbour, flow) of its links: what a loop over nodes in plain Python reads fastest."""
        links = list(zip(self.targets.tolist(), self.flows.tolist(), strict=True))
        ends = np.searchsorted(self.sources, np.arange(len(self) + 1)).tolist()
        return [links[ends[node] : ends[node + 1]] for node in range(len(self))]

    def merged(self, modules: NDArray[np.int64]) -> FlowNetwork:
        """The walk between modules [N] (0..M-1, none empty), each a node of the new network."""
        count = int(modules.max()) + 1
        pairs = modules[self.sources] * count + modules[self.targets]
        crossing = self._crossing(modules)
        pairs, place = np.unique(pairs[crossing], return_inverse=True)
        flows = _sums(place, self.flows[crossing], len(pairs))
        return FlowNetwork(_sums(modules, self.visits, count), pairs // count, pairs % count, flows)

    def visited(self) -> FlowNetwork:
        """The same walk without the nodes that have no edge."""
        kept = self.visits > 0
        place = np.cumsum(kept) - 1
        return FlowNetwork(self.visits[kept], place[self.sources], place[self.targets], self.flows)

    def inside(self, modules: NDArray[np.int64]) -> FlowNetwork:
        """The same nodes without the links between different modules [N]."""
        kept = ~self._crossing(modules)
        return FlowNetwork(self.visits, self.sources[kept], self.targets[kept], self.flows[kept])

    def module_flows(
        self, modules: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How often the walker is in each of `count` modules, and how often it leaves each, [M] both."""
        crossing = self._crossing(modules)
        exits = _sums(modules[self.sources[crossing]], self.flows[crossing], count)
        return _sums(modules, self.visits, count), exits

    def codelength(self, modules: NDArray[np.int64]) -> float:
        """Bits a step for modules [N] (0..M-1), less `- sum of plogp(visits)`, which no partition changes."""
        visits, exits = self.module_flows(modules, int(modules.max()) + 1)
        return float(plogp(exits.sum()) + module_terms(visits, exits).sum())

    def _crossing(self, modules: NDArray[np.int64]) -> NDArray[np.bool_]:
        crossing: NDArray[np.bool_] = modules[self.sources] != modules[self.targets]
        return crossing


def _sums(places: NDArray[np.int64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.bincount(places, values, size).astype(np.float64, copy=False)


def plogp(p: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """P log2 p, elementwise; 0 where p is 0 (or below, by rounding)."""
    positive = np.maximum(p, np.finfo(np.float64).tiny)
    return np.asarray(np.where(np.asarray(p) > 0, p * np.log2(positive), 0.0))


def module_terms(visits: NDArray[np.float64], exits: NDArray[np.float64]) -> NDArray[np.float64]:
    """What modules with these flows add to the codelength."""
    return plogp(visits + exits) - 2 * plogp(exits)


def flow_network(edges: NDArray[np.float64], n_nodes: int, markov_time: float = 1.0) -> FlowNetwork:
    """The random walk on a graph, described every `markov_time` steps.

    Args:
        edges: (a, b, weight) rows of an undirected graph, [E, 3], E >= 1; weights > 0. Each edge is listed
            once, in either direction.
        n_nodes: N.
        markov_time: > 0. It scales the flow of links but not the visits of nodes: the longer the time between
            two codewords, the oftener a walker has changed module, and the larger modules must be to hold it.

    Raises:
        ValueError: there is a loop from a node to itself, a weight or time <= 0, or a node outside 0..N-1.
    """
    ends, weights = edges[:, :2].astype(np.int64), edges[:, 2]
    if (ends[:, 0] == ends[:, 1]).any():
        raise ValueError("a node has an edge to itself")
    if not ((weights > 0).all() and np.isfinite(weights).all() and markov_time > 0):
        raise ValueError("weights and Markov time must be above 0")
    if ends.min() < 0 or ends.max() >= n_nodes:
        raise ValueError(f"nodes must be 0 to {n_nodes - 1}")
    sources, targets = np.concatenate([ends, ends[:, ::-1]]).T
    flows = np.tile(weights / weights.sum() / 2, 2)
    order = np.lexsort([targets, sources])
    visits = _sums(sources, flows, n_nodes)
    return FlowNetwork(visits, sources[order], targets[order], flows[order] * markov_time)


def codelength(
    edges: NDArray[np.float64], n_nodes: int, modules: NDArray[np.int64], markov_time: float = 1.0
) -> float:
    """Bits a step of the two-level map equation, >= 0.

    `plogp(sum q) - 2 sum plogp(q) + sum plogp(P + q) - sum plogp(p)`, where p are the visits of nodes, P
    those of modules, and q the flow of the links that leave a module.

    Args:
        edges: (a, b, weight) rows, see `flow_network`.
        n_nodes: N.
        modules: any label per node, [N]. Those of nodes without an edge do not matter.
        markov_time: > 0.
    """
    if len(edges) == 0:
        return 0.0
    network = flow_network(edges, n_nodes, markov_time)
    labels = np.unique(modules, return_inverse=True)[1]
    return network.codelength(labels) - float(plogp(network.visits).sum())

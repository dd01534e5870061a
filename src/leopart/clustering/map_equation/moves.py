"""Single moves that shorten the map equation: a node to another module, two modules into one.

Legend: N nodes, M modules.
"""

from __future__ import annotations

from collections import deque
from math import log2

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.map_equation.codelength import FlowNetwork, module_terms, plogp

#: Bits a move must gain: above rounding, so that no cycle of moves gains for ever.
_LEAST_GAIN = 1e-11

#: Each round of `merge_down` joins one in so many of the pairs that are still to be joined.
_ROUNDS = 8

#: (bits after the move less bits before, module, its exit flow after it, its term after it)
_Move = tuple[float, int, float, float]


class NodeMoves:
    """Moves nodes to neighbouring modules, or to a new one, as long as that shortens the code.

    Flows and terms of modules are kept up to date, so that a move costs as much as its node has neighbours.
    Plain lists and floats: nodes move one by one, and NumPy is slow on single numbers.

    Args:
        network: the walk.
        modules: where the nodes are to begin with, [N], 0..N-1.
        least, most: the number of modules stays within these bounds (as long as it is at first).
    """

    def __init__(self, network: FlowNetwork, modules: NDArray[np.int64], least: int, most: int) -> None:
        size = len(network)
        self.neighbours = network.neighbours
        self.node_visits: list[float] = network.visits.tolist()
        self.node_exits: list[float] = network.exits.tolist()
        self.module: list[int] = modules.tolist()
        visits, exits = network.module_flows(modules, size)
        self.visits: list[float] = visits.tolist()
        self.exits: list[float] = exits.tolist()
        self.terms: list[float] = module_terms(visits, exits).tolist()
        self.total = float(exits.sum())
        self.sizes: list[int] = np.bincount(modules, minlength=size).tolist()
        self.empty = [module for module, nodes in enumerate(self.sizes) if nodes == 0]
        self.least_empty, self.most_empty = size - most, size - least

    def run(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Visit nodes in this order [N], then again those that a neighbour left, as long as there are any.

        Nearly all that can move has moved then, but not all: a move changes its two modules for their other
        nodes as well. Where a run moves nothing, no single move helps. Returns modules [N].
        """
        queue = deque(order.tolist())
        waiting = [True] * len(queue)
        while queue:
            node = queue.popleft()
            waiting[node] = False
            move = self._best(node)
            if move[0] >= -_LEAST_GAIN:
                continue
            self._apply(node, move)
            for other, _ in self.neighbours[node]:
                if not waiting[other] and self.module[other] != move[1]:
                    waiting[other] = True
                    queue.append(other)
        return np.array(self.module)

    def _best(self, node: int) -> _Move:
        old = self.module[node]
        nothing = (0.0, old, 0.0, 0.0)
        alone = self.sizes[old] == 1
        if alone and len(self.empty) >= self.most_empty:
            return nothing
        flows = self._flows_to_modules(node)
        inside = flows.pop(old, 0.0)
        if not alone and len(self.empty) > self.least_empty:
            flows[self.empty[-1]] = 0.0
        visits, exits = self.node_visits[node], self.node_exits[node]
        _, old_exits, old_term = self._without(node, inside)
        total = self.total - self.exits[old] + old_exits
        before = _plogp(self.total) + self.terms[old] - old_term
        best = nothing
        for (
            module,
            flow,
        ) in flows.items():  # `_term` and `_plogp` written out: most of the search is spent here
            new_exits = self.exits[module] + exits - 2 * flow
            new_total = total - self.exits[module] + new_exits
            both = self.visits[module] + visits + new_exits
            term = both * log2(both) if both > 0.0 else 0.0
            if new_exits > 0.0:
                term -= 2 * (new_exits * log2(new_exits))
            after = (new_total * log2(new_total) if new_total > 0.0 else 0.0) + term - self.terms[module]
            if after - before < best[0]:
                best = after - before, module, new_exits, term
        return best

    def _flows_to_modules(self, node: int) -> dict[int, float]:
        flows: dict[int, float] = {}
        for other, flow in self.neighbours[node]:
            module = self.module[other]
            flows[module] = flows.get(module, 0.0) + flow
        return flows

    def _without(self, node: int, inside: float) -> tuple[float, float, float]:
        """Visits, exit flow and term of the node's module without it; `inside`: the flow between the two."""
        old = self.module[node]
        if self.sizes[old] == 1:
            return 0.0, 0.0, 0.0
        visits = self.visits[old] - self.node_visits[node]
        exits = self.exits[old] - self.node_exits[node] + 2 * inside
        return visits, exits, _term(visits, exits)

    def _apply(self, node: int, move: _Move) -> None:
        old = self.module[node]
        inside = self._flows_to_modules(node).get(old, 0.0)
        _, new, exits, term = move
        before = self.exits[old] + self.exits[new]
        self.visits[old], self.exits[old], self.terms[old] = self._without(node, inside)
        self.visits[new] += self.node_visits[node]
        self.exits[new], self.terms[new] = exits, term
        self.total += self.exits[old] + exits - before
        if self.sizes[new] == 0:
            self.empty.pop()
        self.sizes[old] -= 1
        self.sizes[new] += 1
        if self.sizes[old] == 0:
            self.empty.append(old)
        self.module[node] = new


def merge_down(network: FlowNetwork, count: int) -> NDArray[np.int64]:
    """Join nodes that cost the code least until `count` modules are left; modules [N], 0..count-1.

    Of the pairs that are still to be joined, an eighth (the cheapest disjoint ones) is joined at a time. All
    pairs are looked at, so that this also joins what no link joins; memory grows as N^2.
    """
    modules = np.arange(len(network))
    while len(network) > count:
        joined = _join_cheapest(network, -(-(len(network) - count) // _ROUNDS))
        network, modules = network.merged(joined), joined[modules]
    return modules


def _join_cheapest(network: FlowNetwork, pairs: int) -> NDArray[np.int64]:
    """Modules after joining so many disjoint pairs of nodes (or fewer), each with its cheapest partner."""
    cost = _costs_of_joining(network)
    partners, costs = cost.argmin(1), cost.min(1)
    joined = np.arange(len(network))
    free = np.ones(len(network), bool)
    for node in np.argsort(costs, kind="stable"):
        partner = partners[node]
        if pairs and free[node] and free[partner]:
            joined[partner] = node
            free[[node, partner]] = False
            pairs -= 1
    return np.unique(joined, return_inverse=True)[1]


def _costs_of_joining(network: FlowNetwork) -> NDArray[np.float64]:
    """Bits that joining each pair of nodes adds, up to a constant, [N, N]; infinite on the diagonal."""
    visits, exits = network.visits, network.exits
    both_ways = np.zeros((len(network), len(network)))
    both_ways[network.sources, network.targets] = 2 * network.flows
    terms = module_terms(visits, exits)
    joint = module_terms(visits[:, None] + visits, exits[:, None] + exits - both_ways)
    costs = joint - terms[:, None] - terms + plogp(exits.sum() - both_ways)
    np.fill_diagonal(costs, np.inf)
    return costs


def _term(visits: float, exits: float) -> float:
    return _plogp(visits + exits) - 2 * _plogp(exits)


def _plogp(p: float) -> float:
    return p * log2(p) if p > 0.0 else 0.0

"""Ways to shake a partition before it is searched again: each leads out of other valleys of the codelength.

All take a network, modules [N] and a generator, and return changed modules [N], not numbered in a row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.map_equation.codelength import FlowNetwork

#: Part of the modules or nodes that a shake moves.
_PART = 0.3


def dissolve_modules(
    _network: FlowNetwork, modules: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Leave all nodes of some modules alone, of one at least."""
    count = int(modules.max()) + 1
    gone = rng.random(count) < _PART
    gone[rng.integers(count)] = True
    return _alone(modules, gone[modules])


def take_nodes_out(
    _network: FlowNetwork, modules: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Leave some nodes alone."""
    return _alone(modules, rng.random(len(modules)) < _PART)


def follow_neighbours(
    network: FlowNetwork, modules: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Send some nodes to the module of a neighbour. One of each module stays, and so does their number."""
    first = np.searchsorted(network.sources, np.arange(len(network) + 1))
    chosen = first[:-1] + rng.integers(0, np.diff(first))
    moving = rng.random(len(modules)) < _PART
    order = rng.permutation(len(modules))
    moving[order[np.unique(modules[order], return_index=True)[1]]] = False
    return np.where(moving, modules[network.targets[chosen]], modules)


Shake = Callable[[FlowNetwork, NDArray[np.int64], np.random.Generator], NDArray[np.int64]]

#: Taken in turn.
SHAKES: tuple[Shake, ...] = (dissolve_modules, take_nodes_out, follow_neighbours)


def _alone(modules: NDArray[np.int64], out: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(out, len(modules) + np.arange(len(modules)), modules)

"""Parts that keep together become objects: communities of the co-occurrence graph.

Two engines minimise the map equation, as the paper does: our own code, and Infomap, the software that the
paper names (GPL, an extra). Both have one parameter for how coarse communities are: the Markov time.

Legend: K parts (nodes), E edges.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.map_equation.search import map_equation_communities
from leopart.errors import LeopartError

#: The paper's Markov time, 1.5, as a resolution: its inverse.
PAPER_RESOLUTION = 1 / 1.5

#: Candidates for 1 / Markov time, coarse to fine. Up to 1, a module is what describes a walk on the graph
#: most briefly; above 1 it falls apart into pairs of parts.
RESOLUTIONS = (1 / 3, 1 / 2, PAPER_RESOLUTION, 1 / 1.25, 1.0)

Engine = Callable[[NDArray[np.float64], int, float, int | None, int], NDArray[np.int64]]


def engine_name(wanted: str = "auto") -> str:
    """The engine to use: `auto` is the map equation.

    Raises:
        LeopartError: `infomap` is asked for and not installed, or there is no such engine (any more).
    """
    if wanted == "auto":
        return "map-equation"
    if wanted == "louvain":  # stands in files of version 0.1
        raise LeopartError("the community engine louvain was removed: choose map-equation, or infomap")
    if wanted not in ENGINES:
        raise LeopartError(f"unknown community engine {wanted!r}: choose auto, {' or '.join(ENGINES)}")
    if wanted == "infomap" and find_spec("infomap") is None:
        raise LeopartError('Infomap is not installed: pip install "leopart[infomap]", or choose map-equation')
    return wanted


def detect_communities(
    edges: NDArray[np.float64],
    n_nodes: int,
    *,
    engine: str,
    resolution: float = PAPER_RESOLUTION,
    n_communities: int | None = None,
    keep_isolated: bool = False,
    seed: int,
) -> NDArray[np.int64]:
    """Community of every node, [K] int64, numbered 1.. by falling number of nodes; 0 = none.

    Args:
        edges: (a, b, weight) rows, [E, 3], see `cooccurrence.edge_list`.
        n_nodes: K.
        engine: `map-equation` or `infomap`.
        resolution: 1 / Markov time, > 0; larger values give more and smaller communities. See `RESOLUTIONS`.
        n_communities: find as many as this instead (as nearly as the graph allows), at that Markov time.
        keep_isolated: nodes without any edge are communities of one. The paper makes them background (0).
        seed: of the engine, >= 0.

    Source: Leopart, CVPR 2022, supplement A.1.
    """
    raw = np.arange(n_nodes)
    if len(edges):
        raw = ENGINES[engine](edges, n_nodes, resolution, n_communities, seed)
    joined = np.isin(np.arange(n_nodes), edges[:, :2])
    numbered = _by_size(np.where(joined, raw, -1))
    if keep_isolated:
        numbered[~joined] = numbered.max(initial=0) + 1 + np.arange((~joined).sum())
    return numbered


def _map_equation(
    edges: NDArray[np.float64], n_nodes: int, resolution: float, n_communities: int | None, seed: int
) -> NDArray[np.int64]:
    return map_equation_communities(
        edges, n_nodes, markov_time=1 / resolution, modules=n_communities, seed=seed
    ).modules


def _infomap(
    edges: NDArray[np.float64], n_nodes: int, resolution: float, n_communities: int | None, seed: int
) -> NDArray[np.int64]:
    import infomap

    network = infomap.Network()
    network.add_nodes(range(n_nodes))
    network.add_links([(int(a), int(b), float(w)) for a, b, w in edges])
    wanted = {} if n_communities is None else {"preferred_number_of_modules": n_communities}
    # Seeds start at 1 there.
    result = infomap.run(network, seed=seed + 1, two_level=True, markov_time=1 / resolution, **wanted)
    return np.array([module for _, module in sorted(result.modules().items())])


ENGINES: dict[str, Engine] = {"map-equation": _map_equation, "infomap": _infomap}


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number communities 1.. by falling size, ties by their lowest node; negative labels become 0."""
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
    groups.sort(key=lambda group: (-len(group), group[0]))
    numbered = np.zeros(len(labels), np.int64)
    for number, group in enumerate(groups, 1):
        numbered[group] = number
    return numbered

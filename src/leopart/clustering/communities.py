"""Parts that keep together become objects: communities of the co-occurrence graph.

Three engines find them: the map equation, which the paper uses, in our own code; Infomap, the software that
the paper names for it (GPL, an extra); and Louvain from networkx, which maximises modularity instead. All
have one knob for how coarse communities are.

Legend: K parts (nodes), E edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.map_equation.search import map_equation_communities
from leopart.errors import LeopartError

#: The paper's Markov time, 1.5, as fineness.
PAPER_FINENESS = 1 / 1.5

#: 1 / Markov time, from 3 down to 1, where a module is what describes a walk on the graph most briefly; below
#: 1 it falls apart into pairs of parts.
_MARKOV = (1 / 3, 1 / 2, PAPER_FINENESS, 1 / 1.25, 1.0)

#: Candidates of each engine, coarse to fine. Louvain: resolution of modularity round its plain value 1.
FINENESS = {
    "map-equation": _MARKOV,
    "infomap": _MARKOV,
    "louvain": (0.5, 0.7, 1.0, 1.4, 2.0),
}

Engine = Callable[[NDArray[np.float64], int, float, int | None, int], NDArray[np.int64]]


def engine_name(wanted: str = "auto") -> str:
    """The engine to use: `auto` is the map equation.

    Raises:
        LeopartError: `infomap` is asked for and not installed, or the name is unknown.
    """
    if wanted == "auto":
        return "map-equation"
    if wanted not in ENGINES:
        *most, last = ENGINES
        raise LeopartError(f"unknown community engine {wanted!r}: choose auto, {', '.join(most)} or {last}")
    if wanted == "infomap" and find_spec("infomap") is None:
        raise LeopartError('Infomap is not installed: pip install "leopart[infomap]", or choose map-equation')
    return wanted


def detect_communities(
    edges: NDArray[np.float64],
    n_nodes: int,
    *,
    engine: str,
    fineness: float = PAPER_FINENESS,
    n_communities: int | None = None,
    keep_isolated: bool = False,
    seed: int,
) -> NDArray[np.int64]:
    """Community of every node, [K] int64, numbered 1.. by falling number of nodes; 0 = none.

    Args:
        edges: (a, b, weight) rows, [E, 3], see `cooccurrence.edge_list`.
        n_nodes: K.
        engine: `map-equation`, `infomap` or `louvain`.
        fineness: > 0; larger values give more and smaller communities. See `FINENESS`.
        n_communities: find as many as this instead (as nearly as the graph allows); `fineness` is then
            where the search starts, and for the map equation the Markov time of the code still.
        keep_isolated: nodes without any edge are communities of one. The paper makes them background (0).
        seed: of the engine, >= 0.

    Source: Leopart, CVPR 2022, supplement A.1.
    """
    raw = np.arange(n_nodes)
    if len(edges):
        raw = ENGINES[engine](edges, n_nodes, fineness, n_communities, seed)
    joined = np.isin(np.arange(n_nodes), edges[:, :2])
    numbered = _by_size(np.where(joined, raw, -1))
    if keep_isolated:
        numbered[~joined] = numbered.max(initial=0) + 1 + np.arange((~joined).sum())
    return numbered


def _map_equation(
    edges: NDArray[np.float64], n_nodes: int, fineness: float, n_communities: int | None, seed: int
) -> NDArray[np.int64]:
    return map_equation_communities(
        edges, n_nodes, markov_time=1 / fineness, modules=n_communities, seed=seed
    ).modules


def _louvain(
    edges: NDArray[np.float64], n_nodes: int, fineness: float, n_communities: int | None, seed: int
) -> NDArray[np.int64]:
    import networkx as nx

    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(n_nodes))
    graph.add_weighted_edges_from((int(a), int(b), float(w)) for a, b, w in edges)

    def partition(resolution: float) -> NDArray[np.int64]:
        groups = nx.community.louvain_communities(graph, resolution=resolution, seed=seed)
        return _labels(groups, n_nodes)

    if n_communities is None:
        return partition(fineness)
    candidates = [partition(fineness * 2.0**step) for step in np.arange(-10, 6, 0.25)]
    isolated = n_nodes - len(np.unique(edges[:, :2]))  # each is a group of its own here
    return min(candidates, key=lambda labels: abs(int(labels.max()) + 1 - isolated - n_communities))


def _infomap(
    edges: NDArray[np.float64], n_nodes: int, fineness: float, n_communities: int | None, seed: int
) -> NDArray[np.int64]:
    import infomap

    network = infomap.Network()
    network.add_nodes(range(n_nodes))
    network.add_links([(int(a), int(b), float(w)) for a, b, w in edges])
    wanted = {} if n_communities is None else {"preferred_number_of_modules": n_communities}
    # Seeds start at 1 there.
    result = infomap.run(network, seed=seed + 1, two_level=True, markov_time=1 / fineness, **wanted)
    return np.array([module for _, module in sorted(result.modules().items())])


ENGINES: dict[str, Engine] = {"map-equation": _map_equation, "infomap": _infomap, "louvain": _louvain}


def _labels(groups: Iterable[Iterable[int]], n_nodes: int, start: int = 0) -> NDArray[np.int64]:
    labels = np.zeros(n_nodes, np.int64)
    for label, group in enumerate(groups, start):
        labels[list(group)] = label
    return labels


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number communities 1.. by falling size, ties by their lowest node; negative labels become 0."""
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels[labels >= 0])]
    groups.sort(key=lambda group: (-len(group), group[0]))
    return _labels(groups, len(labels), start=1)

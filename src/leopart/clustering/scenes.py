"""Objects that lie beside each other become scene groups: the graph of parts, one level up.

Legend: K parts, M objects, E edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.communities import detect_communities

#: Markov time 1, where a module is what describes a walk most briefly. Objects are few: a longer time soon
#: joins all of them into one group.
_RESOLUTION = 1.0


def object_edges(
    edges: NDArray[np.float64], object_of_part: NDArray[np.int64], n_objects: int
) -> NDArray[np.float64]:
    """The graph of objects: (a, b, weight) rows, a < b, of objects 0..M-1; float64.

    The weight between two objects is the sum over the edges that join a part of one to a part of the other.

    Args:
        edges: the graph of parts 0..K-1, (a, b, weight) rows, [E, 3].
        object_of_part: [K], 0 = none, 1..M.
        n_objects: M.
    """
    ends = np.sort(object_of_part[edges[:, :2].astype(np.int64)], axis=1)
    kept = (ends[:, 0] > 0) & (ends[:, 0] < ends[:, 1])
    weights = np.zeros((n_objects, n_objects))
    np.add.at(weights, tuple(ends[kept].T - 1), edges[kept, 2])
    a, b = np.nonzero(weights)
    return np.column_stack([a, b, weights[a, b]])


def scene_groups(
    edges: NDArray[np.float64],
    object_of_part: NDArray[np.int64],
    area: NDArray[np.float64],
    *,
    engine: str,
    seed: int,
) -> NDArray[np.int64]:
    """Scene group of each object, [M] int64, numbered 1.. by falling area.

    Groups are the communities of the graph of objects. An object beside no other is a group of its own. Where
    all objects lie beside each other about equally often, they are one group.

    Args:
        edges: the graph of parts 0..K-1, (a, b, weight) rows, [E, 3].
        object_of_part: [K] int64, 0 = none, 1..M.
        area: of each object, [M], >= 0.
        engine: see `detect_communities`.
        seed: of the engine, >= 0.
    """
    between = object_edges(edges, object_of_part, len(area))
    groups = detect_communities(
        between, len(area), engine=engine, resolution=_RESOLUTION, keep_isolated=True, seed=seed
    )
    by_area = np.argsort(-np.bincount(groups - 1, weights=area), kind="stable")
    return 1 + np.argsort(by_area)[groups - 1]

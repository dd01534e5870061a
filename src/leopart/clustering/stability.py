"""How many objects: the partition that stays the same when other photos of the same kind are drawn.

Legend: F folds of photos, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.communities import PAPER_RESOLUTION, RESOLUTIONS, detect_communities
from leopart.clustering.cooccurrence import Cooccurrence, edge_list


@dataclass(frozen=True)
class Communities:
    """Objects found in the co-occurrence graph, and the evidence for their number.

    Attributes:
        object_of_part: [K] int64; 0 = background, 1.. = objects by falling number of parts.
        edges: the graph, (a, b, weight) rows, [E, 3].
        engine: what found them, `map-equation` or `infomap`.
        resolution: 1 / Markov time of the chosen candidate; None when the number was given.
        curve: per candidate (resolution, mean number of objects, how good it is); empty when the number was
            given.
        criterion: what is good: `stability` in [-1, 1]; `prediction` in nats, see `prediction.Prediction`; or
            `halves`, see `tree.stable_number`: then the first two values of a candidate are its number.
    """

    object_of_part: NDArray[np.int64]
    edges: NDArray[np.float64]
    engine: str
    resolution: float | None
    curve: tuple[tuple[float, float, float], ...] = ()
    criterion: Literal["stability", "prediction", "halves"] = "stability"

    def reordered(self, order: NDArray[np.int64], objects: NDArray[np.int64]) -> Communities:
        """The same with part `order[i]` called i, and with `objects` [K] (old part numbers) as object ids."""
        place = np.argsort(order)
        ends = np.sort(place[self.edges[:, :2].astype(np.int64)], axis=1)
        edges = np.column_stack([ends, self.edges[:, 2]])
        return replace(self, object_of_part=objects[order], edges=edges)


def find_objects(
    folds: Sequence[Cooccurrence],
    *,
    engine: str,
    n_objects: int | None,
    threshold: float = 0.05,
    resamples: int = 16,
    seed: int,
) -> Communities:
    """Communities of the parts' co-occurrence graph; their number is given, or the most stable one.

    Without a number, the graph is rebuilt from `resamples` bootstrap samples of the folds, and for each
    resolution the partitions of those graphs are compared pairwise by the adjusted Rand index
    (1 = always the same, 0 = as alike as chance). Engines alone, run from several seeds on one graph, agree
    too easily; a partition that also survives a change of photos says something about the objects. Of the
    candidates within one standard error of the most stable one, the coarsest is taken: no more objects than
    the photos bear out. A part that lies beside no other part is then an object of its own (it is
    foreground, and belongs to nothing else). No label is involved.

    With a number, as in the paper: that many communities, and parts outside them are background.

    Args:
        folds: co-occurrence of disjoint groups of photos, all with K clusters.
        engine: `map-equation` or `infomap`.
        n_objects: how many objects to look for; None = the most stable number.
        threshold: least conditional probability of an edge, see `edge_list`.
        resamples: number of bootstrap samples.
        seed: of the engine and of the bootstrap.
    """
    edges, n_parts = merged_edges(folds, threshold), len(folds[0].probabilities)
    curve: tuple[tuple[float, float, float], ...] = ()
    resolution = PAPER_RESOLUTION
    if n_objects is None and len(edges):
        graphs = _resampled_graphs(folds, threshold, resamples, seed)
        points = [_stability(graphs, n_parts, engine, f, seed) for f in RESOLUTIONS]
        resolution = _coarsest_stable(points)
        curve = tuple((f, count, mean) for f, count, mean, _ in points)
    labels = detect_communities(
        edges,
        n_parts,
        engine=engine,
        resolution=resolution,
        n_communities=n_objects,
        keep_isolated=n_objects is None,
        seed=seed,
    )
    return Communities(labels, edges, engine, resolution if curve else None, curve)


def numbers_of_objects(
    folds: Sequence[Cooccurrence], *, engine: str, threshold: float = 0.05, seed: int
) -> tuple[Communities, list[int]]:
    """The graph of all photos, without objects, and how many `find_objects` can find in it.

    Finding out which of the numbers is stable takes many times as long.

    Args:
        folds: see `find_objects`, as the others.
        engine: `map-equation` or `infomap`.
        threshold: least conditional probability of an edge.
        seed: of the engine.
    """
    everything = _merged(folds, np.ones(len(folds)))
    edges, n_parts = edge_list(everything, threshold), len(everything)
    found = [
        detect_communities(edges, n_parts, engine=engine, resolution=f, keep_isolated=True, seed=seed)
        for f in RESOLUTIONS
    ]
    none = np.zeros(n_parts, np.int64)
    return Communities(none, edges, engine, None), [int(labels.max(initial=0)) for labels in found]


def merged_edges(folds: Sequence[Cooccurrence], threshold: float = 0.05) -> NDArray[np.float64]:
    """The co-occurrence graph of all photos, (a, b, weight) rows, [E, 3]; see `edge_list`."""
    return edge_list(_merged(folds, np.ones(len(folds))), threshold)


def adjusted_rand(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Adjusted Rand index of two partitions given as labels [K]: 1 = equal, about 0 = chance.

    0 where it is undefined, that is when both are all-in-one or all-alone: such a partition says nothing.

    Source: Hubert and Arabie, Comparing partitions, 1985.
    """
    table = np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1))
    table = table.reshape(a.max() + 1, b.max() + 1)
    together, in_a, in_b = (_pairs(t) for t in (table, table.sum(1), table.sum(0)))
    expected = in_a * in_b / max(_pairs(np.array([len(a)])), 1)
    most = (in_a + in_b) / 2
    return float((together - expected) / (most - expected)) if most > expected else 0.0


def _pairs(counts: NDArray[np.int64]) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _merged(folds: Sequence[Cooccurrence], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = sum(w * f.probabilities for w, f in zip(weights, folds, strict=True))
    photos = sum(w * f.photos for w, f in zip(weights, folds, strict=True))
    return np.asarray(total / np.maximum(photos, 1)[:, None])


def _resampled_graphs(
    folds: Sequence[Cooccurrence], threshold: float, resamples: int, seed: int
) -> list[NDArray[np.float64]]:
    draws = np.random.default_rng(seed).multinomial(len(folds), [1 / len(folds)] * len(folds), resamples)
    return [edge_list(_merged(folds, weights.astype(np.float64)), threshold) for weights in draws]


def _stability(
    graphs: list[NDArray[np.float64]], n_parts: int, engine: str, resolution: float, seed: int
) -> tuple[float, float, float, float]:
    """(resolution, mean number of communities, mean agreement of the partitions, its standard error)."""
    found = [
        detect_communities(g, n_parts, engine=engine, resolution=resolution, keep_isolated=True, seed=seed)
        for g in graphs
    ]
    agreement = np.array(
        [[adjusted_rand(a, b) for j, b in enumerate(found) if j != i] for i, a in enumerate(found)]
    )
    per_graph = agreement.mean(1)
    error = 2 * per_graph.std(ddof=1) / len(per_graph) ** 0.5  # of a mean over pairs (U-statistic)
    return resolution, float(np.mean([f.max() for f in found])), float(per_graph.mean()), float(error)


def _coarsest_stable(points: list[tuple[float, float, float, float]]) -> float:
    _, _, best, error = max(points, key=lambda point: point[2])
    return next(resolution for resolution, _, mean, _ in points if mean >= best - error)

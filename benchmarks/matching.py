"""From label maps and cluster maps to a score, at the size of PASCAL VOC's validation set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.harness import Comparison, compare
from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.matching import many_to_one

MAPS, SIDE, GRID, CLASSES, CLUSTERS = 1449, 100, 28, 21, 500
_TIMED = 5
"""Clusters that the naive version is timed on; all of them would take minutes."""


def run() -> Iterator[Comparison]:
    labels, clusters = _maps(CLASSES, np.uint8, 0), _maps(CLUSTERS, np.int16, 1)
    labels[:, ::17] = 255
    size = f"{MAPS} maps of {SIDE}x{SIDE}, K={CLUSTERS}, {CLASSES} classes"
    _check(labels[:20], clusters[:20])
    counted = labels != 255
    truth, found = labels[counted], clusters[counted]  # once, not for each of the clusters that are timed

    def ours() -> float:
        confusion = Confusion(CLASSES, CLUSTERS)
        confusion.update(labels, clusters)
        return many_to_one(confusion.matrix).miou

    part = compare(
        "counting, matching, mIoU / a mask for each pair",
        ours,
        lambda: _pairwise(truth, found, range(_TIMED)),
        runs=3,
    )
    scale = CLUSTERS / _TIMED
    yield replace(
        part,
        peer=scale * part.peer,
        speedup=scale * part.speedup,
        least=scale * part.least,
        most=scale * part.most,
        note=f"{size}; naive timed on {_TIMED} clusters, times {scale:.0f}",
    )
    yield compare(
        "counting, matching, mIoU / one pass",
        ours,
        lambda: (labels.sum(dtype=np.int64), clusters.sum(dtype=np.int64)),
        note=f"{size}; the pass adds up both arrays",
    )


def _maps(ids: int, dtype: type, seed: int) -> np.ndarray:
    """Random ids on a grid of tokens, enlarged by nearest, [n, S, S]."""
    coarse = np.random.default_rng(seed).integers(0, ids, (MAPS, GRID, GRID)).astype(dtype)
    return np.stack([nearest(photo, SIDE) for photo in coarse])


def _pairwise(truth: np.ndarray, found: np.ndarray, which: range) -> np.ndarray:
    """Pixels by class and cluster, one mask over all labelled pixels for each pair."""
    return np.array([[np.sum((truth == c) & (found == k)) for k in which] for c in range(CLASSES)])


def _check(labels: np.ndarray, clusters: np.ndarray) -> None:
    """Both count the same."""
    confusion = Confusion(CLASSES, CLUSTERS)
    confusion.update(labels, clusters)
    counted = labels != 255
    assert (confusion.matrix == _pairwise(labels[counted], clusters[counted], range(CLUSTERS))).all()

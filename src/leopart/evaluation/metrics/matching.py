"""From a confusion matrix to scores: clusters are matched to classes and scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
NOTHING = -1
"""Class of a cluster that is matched to no class."""


@dataclass(frozen=True)
class Matching:
    """The class of each cluster, and the scores of the resulting segmentation."""

    assignment: npt.NDArray[np.int64]
    """Class of each cluster, [K]; -1 = none."""
    iou: Floats
    """Intersection over union of each class, pixels of all photos pooled, [C] in [0, 1]; 0 if empty."""
    miou: float
    """Mean of `iou` over the classes that count (see `score`)."""
    pixel_accuracy: float
    """Share of the labelled pixels whose cluster has their class, in [0, 1]."""
    background_share: float
    """Share of the clusters, empty ones included, that were matched to background (or to nothing)."""
    true_positives: Counts
    """Pixels of each class found as such, [C]."""
    false_positives: Counts
    """Pixels found as a class that are another, [C]."""
    false_negatives: Counts
    """Pixels of each class found as another or as nothing, [C]."""


def hungarian(
    matrix: Counts, background: int | None = 0, absent: Literal["zero", "skip"] = "zero"
) -> Matching:
    """Match clusters to classes one to one, so that the sum of the IoUs is as large as possible.

    Surplus clusters are matched to `background`, or to nothing where the labels have no background class;
    then they only lower recall. With fewer clusters than classes, some classes have none and score 0. A class
    without pixels has IoU 0 with every cluster and may take any surplus one; the score of the background may
    depend on which one (the solver decides, deterministically).

    Args:
        matrix: pixels by class and cluster, [C, K] int.
        background: row of the background class; None where there is none.
        absent: see `score`.

    Source: Leopart's evaluation (linear assignment on 1 - IoU, surplus clusters to class 0).
    """
    classes, clusters = linear_sum_assignment(pairwise_iou(matrix), maximize=True)
    assignment = np.full(matrix.shape[1], _fallback(background), np.int64)
    assignment[clusters] = classes
    return score(matrix, assignment, background, absent)


def many_to_one(
    matrix: Counts,
    by: Literal["precision", "iou"] = "precision",
    background: int | None = 0,
    absent: Literal["zero", "skip"] = "zero",
) -> Matching:
    """Match each cluster to the class that it fits best; several may share one. Ties go to the lowest class.

    A cluster without pixels is matched to `background`, or to nothing where there is none; no IoU depends on
    it.

    Args:
        matrix: pixels by class and cluster, [C, K] int.
        by: "precision" = the majority vote of the cluster's pixels; "iou" = the class with the largest IoU.
        background: row of the background class; None where there is none.
        absent: see `score`.

    Source: Leopart, CVPR 2022; its overclustering uses the majority vote.
    """
    # Precision divides every column by its sum, which does not move the column's maximum.
    fit = matrix if by == "precision" else pairwise_iou(matrix)
    assignment = np.asarray(fit).argmax(axis=0).astype(np.int64)
    assignment[matrix.sum(axis=0) == 0] = _fallback(background)
    return score(matrix, assignment, background, absent)


def score(
    matrix: Counts,
    assignment: npt.NDArray[np.int64],
    background: int | None = 0,
    absent: Literal["zero", "skip"] = "zero",
) -> Matching:
    """Scores of a given assignment; of a classifier's predictions with `numpy.arange(C)`.

    Args:
        matrix: pixels by class and cluster, [C, K] int.
        assignment: class of each cluster, [K], -1 for none.
        background: row of the background class; None where there is none.
        absent: how a class without labelled pixels counts in `miou`: "zero" = as IoU 0, as in the paper;
            "skip" = not at all.

    Raises:
        ValueError: the assignment does not fit the matrix.
    """
    num_classes, num_clusters = matrix.shape
    if assignment.shape != (num_clusters,) or not np.isin(assignment, np.arange(NOTHING, num_classes)).all():
        raise ValueError(f"an assignment of {num_clusters} clusters to {num_classes} classes was expected")
    merged = np.zeros(
        (num_classes, num_classes + 1), np.int64
    )  # the last column is for clusters without a class
    np.add.at(merged.T, assignment, matrix.T)
    hits = merged.diagonal()
    found, present = merged[:, :-1].sum(axis=0), matrix.sum(axis=1)
    iou = _ratio(hits, found + present - hits)
    counting = iou[present > 0] if absent == "skip" else iou
    return Matching(
        assignment=assignment,
        iou=iou,
        miou=float(counting.mean()) if counting.size else 0.0,
        pixel_accuracy=float(_ratio(hits.sum(), present.sum())),
        background_share=float((assignment == _fallback(background)).mean()),
        true_positives=hits,
        false_positives=found - hits,
        false_negatives=present - hits,
    )


def pairwise_iou(matrix: Counts) -> Floats:
    """IoU of every class with every cluster, [C, K] float64 in [0, 1]; 0 where both are empty."""
    return _ratio(matrix, matrix.sum(axis=1, keepdims=True) + matrix.sum(axis=0, keepdims=True) - matrix)


def _fallback(background: int | None) -> int:
    return NOTHING if background is None else background


def _ratio(part: Counts, whole: Counts) -> Floats:
    return np.asarray(part / np.maximum(whole, 1), np.float64)  # part is 0 where whole is

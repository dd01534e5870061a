"""How well the outline of a foreground mask follows the outline of the labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BoundaryScore:
    """Scores of one photo; all three are NaN where there is nothing to score.

    Attributes:
        precision: share of the prediction's contour pixels that lie near the labels' contour, in [0, 1].
        recall: share of the labels' contour pixels that lie near the prediction's contour, in [0, 1].
        f1: harmonic mean of the two, 0 where both are 0.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MeanBoundary:
    """Means over photos, which all count the same; NaN where every photo was left out.

    Attributes:
        precision: mean of `BoundaryScore.precision`.
        recall: mean of `BoundaryScore.recall`.
        f1: mean of `BoundaryScore.f1`.
        images: number of photos.
        left_out: photos among them without foreground in either mask.
    """

    precision: float
    recall: float
    f1: float
    images: int
    left_out: int


_NOTHING = BoundaryScore(np.nan, np.nan, np.nan)
_ZERO = BoundaryScore(0.0, 0.0, 0.0)


def boundary_f1(labels_fg: npt.ArrayLike, prediction: npt.ArrayLike, tolerance: float = 16) -> BoundaryScore:
    """Boundary precision, recall and F1 of the foreground of one photo.

    Naive form:
        contour = the pixels listed by cv2.findContours(mask, RETR_LIST, CHAIN_APPROX_NONE)
        near(a, b) = share of the pixels of a with a pixel of b closer than `tolerance`
        precision, recall = near(found, truth), near(truth, found)

    A mask without foreground has no contour, and one that is all foreground has the photo's border:

        labels        prediction           score
        no foreground no foreground        NaN: nothing to find and nothing found
        anything      constant otherwise   0, as in the paper's evaluation
        no foreground some foreground      0, as for the Jaccard

    Args:
        labels_fg: labels != background, [H, W], bool or 0 for background. Void counts as foreground, as in
            `foreground_jaccard`.
        prediction: foreground found, [H, W], bool or 0 for background.
        tolerance: distance in pixels, Euclidean, that a hit must be closer than.

    Raises:
        ValueError: the shapes differ or are not [H, W].

    Source: Leopart, CVPR 2022, boundary F1 at 448 x 448 (Csurka et al., BMVC 2013). OpenCV lists a pixel
    twice where a contour passes twice (thin parts); it then counts twice, as in the paper. Deviations: the
    authors' script passes the labels' background as the positive class, whose contour also runs along the
    photo's border. It leaves out of the mean, as NaN, photos in which no pixel is a hit, and photos without
    labelled foreground in which something was found.
    """
    truth, found = np.asarray(labels_fg) != 0, np.asarray(prediction) != 0
    if truth.ndim != 2 or truth.shape != found.shape:
        raise ValueError(
            f"foreground of the labels {truth.shape} and prediction {found.shape} must have one shape [H, W]"
        )
    if not (truth.any() or found.any()):
        return _NOTHING
    if not truth.any() or not found.any() or found.all():
        return _ZERO
    of_truth, of_found = _contour(truth), _contour(found)
    precision = _near(of_found, of_truth, truth.shape, tolerance)
    recall = _near(of_truth, of_found, truth.shape, tolerance)
    both = precision + recall
    return BoundaryScore(precision, recall, 2 * precision * recall / both if both else 0.0)


def mean_boundary_f1(
    pairs: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]], tolerance: float = 16
) -> MeanBoundary:
    """Means of `boundary_f1` over photos, without those whose score is NaN.

    Args:
        pairs: foreground of the labels and prediction; may be a generator, one photo is held at a time.
        tolerance: see `boundary_f1`.

    Raises:
        ValueError: there are no photos, or the shapes of a pair differ.
    """
    scores = [boundary_f1(truth, found, tolerance) for truth, found in pairs]
    if not scores:
        raise ValueError("there is no photo to score")
    scored = [(score.precision, score.recall, score.f1) for score in scores if not np.isnan(score.f1)]
    precision, recall, f1 = np.mean(scored, axis=0).tolist() if scored else (np.nan,) * 3
    return MeanBoundary(precision, recall, f1, len(scores), len(scores) - len(scored))


def _contour(mask: Mask) -> npt.NDArray[np.int32]:
    """Column and row of each contour pixel of a mask with foreground, [n, 2]."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.concatenate(contours)[:, 0].astype(np.int32, copy=False)


def _near(
    pixels: npt.NDArray[np.int32], others: npt.NDArray[np.int32], shape: tuple[Any, ...], tolerance: float
) -> float:
    away = np.ones(shape, np.uint8)
    away[others[:, 1], others[:, 0]] = 0
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are whole numbers: rounding takes back the error of the root.
    squared = np.rint(np.square(distance[pixels[:, 1], pixels[:, 0]], dtype=np.float64))
    return float(np.mean(squared < tolerance**2))

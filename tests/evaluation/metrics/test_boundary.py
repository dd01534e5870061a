from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from leopart.evaluation.metrics.boundary import BoundaryScore, boundary_f1, mean_boundary_f1


def blobs(seed: int, height: int = 40, width: int = 46, smooth: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """Two masks that overlap in part."""
    rng = np.random.default_rng(seed)
    base, noise = (ndimage.gaussian_filter(rng.normal(size=(height, width)), smooth) for _ in range(2))
    return base > base.std() / 2, base + noise > base.std()


def contour(mask: np.ndarray) -> list[tuple[int, int]]:
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [tuple(pixel) for line in found for pixel in line[:, 0].tolist()]


def by_pairs(truth: np.ndarray, found: np.ndarray, tolerance: float) -> tuple[float, float, float]:
    """Every contour pixel of one side against every one of the other."""
    of_truth, of_found = np.array(contour(truth)), np.array(contour(found))
    squared = ((of_found[:, None] - of_truth[None]) ** 2).sum(-1)
    near = squared < tolerance**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0


@pytest.mark.parametrize("tolerance", [1, 2, math.sqrt(2), 3, 5, 16])
@pytest.mark.parametrize("smooth", [0, 1, 4])
def test_it_is_every_pixel_against_every_pixel(tolerance: float, smooth: float):
    for seed in range(3):
        truth, found = blobs(seed, smooth=smooth)
        score = boundary_f1(truth, found, tolerance)
        expected = by_pairs(truth, found, tolerance)
        assert (score.precision, score.recall, score.f1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("distance", "hit"), [(15, 1), (16, 0)])
def test_a_hit_is_closer_than_the_tolerance(distance: int, hit: float):
    truth, found = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth[5, 5] = found[5, 5 + distance] = True
    assert boundary_f1(truth, found) == BoundaryScore(hit, hit, hit)


def test_by_hand_a_square_and_its_half():
    """The square's contour has 12 pixels, its left half's 8; two columns of the square are 2 and 1 away."""
    truth, found = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    found[2:6, 2:4] = True
    assert len(contour(truth)) == 12
    assert len(contour(found)) == 8
    # Two of the half's pixels lie inside the square, but 1 from its contour at most: all 8 are near.
    # Of the square's, the column 5 (4 pixels) is 2 away from column 3; the rest is nearer.
    assert boundary_f1(truth, found, 2) == BoundaryScore(1, 8 / 12, 2 * (8 / 12) / (1 + 8 / 12))


def test_a_pixel_counts_as_often_as_contours_come_by():
    """A line one pixel wide of five pixels is traced there and back: its inner pixels come twice."""
    truth, found = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    truth[10, 5:10] = True
    found[10, 5] = True
    assert len(contour(truth)) == 8
    assert boundary_f1(truth, found, 1.5).recall == 3 / 8  # the end once, its neighbour twice


@given(st.integers(0, 2**32))
def test_exchanging_the_masks_exchanges_precision_and_recall(seed: int):
    one, other = blobs(seed, 20, 24, 2)
    there, back = boundary_f1(one, other, 3), boundary_f1(other, one, 3)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert boundary_f1(one, one, 3) == BoundaryScore(1, 1, 1)


def test_a_constant_prediction_scores_0():
    truth, _ = blobs(0)
    for constant in (np.zeros_like(truth), np.ones_like(truth)):
        assert boundary_f1(truth, constant) == BoundaryScore(0, 0, 0)
    assert boundary_f1(np.ones_like(truth), np.ones_like(truth)) == BoundaryScore(0, 0, 0)


def test_labels_without_foreground():
    nothing, (_, found) = np.zeros((40, 46), bool), blobs(0)
    assert boundary_f1(nothing, found) == BoundaryScore(0, 0, 0)
    assert boundary_f1(nothing, ~nothing) == BoundaryScore(0, 0, 0)
    assert math.isnan(boundary_f1(nothing, nothing).f1)


def test_no_hit_is_0_and_not_left_out():
    truth, found = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    truth[:5, :5] = found[-5:, -5:] = True
    assert boundary_f1(truth, found) == BoundaryScore(0, 0, 0)


def test_passing_the_background_for_the_foreground_is_something_else():
    """The background's contour runs along the image's border, where nothing is predicted."""
    truth = np.zeros((100, 100), bool)
    truth[40:60, 40:60] = True
    assert boundary_f1(truth, truth).f1 == 1
    assert boundary_f1(~truth, truth).recall < 0.5


def test_void_of_a_label_map_is_foreground():
    labels = np.zeros((50, 50), np.uint8)
    labels[10:20, 10:20], labels[20:25, 10:20] = 7, 255
    assert boundary_f1(labels, labels != 0) == BoundaryScore(1, 1, 1)


def test_the_mean_leaves_out_images_without_anything():
    nothing, (truth, found) = np.zeros((40, 46), bool), blobs(3)
    one = boundary_f1(truth, found, 2)
    mean = mean_boundary_f1(iter([(truth, found), (nothing, nothing), (truth, nothing)]), 2)
    assert (mean.precision, mean.recall, mean.f1) == (one.precision / 2, one.recall / 2, one.f1 / 2)
    assert (mean.images, mean.left_out) == (3, 1)

    none = mean_boundary_f1([(nothing, nothing)])
    assert math.isnan(none.f1)
    assert math.isnan(none.precision)
    assert (none.images, none.left_out) == (1, 1)


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="no photo"):
        mean_boundary_f1([])
    with pytest.raises(ValueError, match="one shape"):
        boundary_f1(np.ones((3, 4)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="one shape"):
        boundary_f1(np.ones(4), np.ones(4))

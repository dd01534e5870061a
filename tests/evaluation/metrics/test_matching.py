from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.matching import hungarian, many_to_one, pairwise_iou, score


def naive_score(matrix: np.ndarray, assignment: list[int]) -> tuple[list[float], float]:
    """IoU per class and pixel accuracy, counting pixel groups one by one."""
    classes, clusters = matrix.shape
    iou, right = [], 0
    for c in range(classes):
        tp = fp = fn = 0
        for row in range(classes):
            for k in range(clusters):
                tp += matrix[row, k] if row == c and assignment[k] == c else 0
                fp += matrix[row, k] if row != c and assignment[k] == c else 0
                fn += matrix[row, k] if row == c and assignment[k] != c else 0
        iou.append(tp / (tp + fp + fn) if tp + fp + fn else 0.0)
        right += tp
    return iou, right / matrix.sum() if matrix.sum() else 0.0


def matrices(largest: int = 6):
    def make(shape_and_seed):
        classes, clusters, seed, zeros = shape_and_seed
        rng = np.random.default_rng(seed)
        matrix = rng.integers(1, 1000, (classes, clusters))
        return np.where(rng.random(matrix.shape) < zeros, 0, matrix).astype(np.int64)

    sides = st.integers(1, largest)
    return st.tuples(sides, sides, st.integers(0, 2**32), st.sampled_from([0.0, 0.4, 0.8])).map(make)


def paired_iou(matrix: np.ndarray, c: int, k: int) -> float:
    union = matrix[c].sum() + matrix[:, k].sum() - matrix[c, k]
    return matrix[c, k] / union if union else 0.0


def best_sum_by_brute_force(matrix: np.ndarray) -> float:
    classes, clusters = matrix.shape
    if classes <= clusters:
        pairings = (
            [(c, k) for c, k in enumerate(chosen)] for chosen in permutations(range(clusters), classes)
        )
    else:
        pairings = (
            [(c, k) for k, c in enumerate(chosen)] for chosen in permutations(range(classes), clusters)
        )
    return max(sum(paired_iou(matrix, c, k) for c, k in pairing) for pairing in pairings)


@settings(max_examples=60, deadline=None)
@given(matrices())
def test_hungarian_is_the_best_of_all_pairings(matrix: np.ndarray):
    result = hungarian(matrix, background=None)
    pairs = [(c, k) for k, c in enumerate(result.assignment.tolist()) if c >= 0]

    assert len(pairs) == min(matrix.shape)
    assert len({c for c, _ in pairs}) == len(pairs)
    assert sum(paired_iou(matrix, c, k) for c, k in pairs) == pytest.approx(best_sum_by_brute_force(matrix))


@settings(max_examples=60, deadline=None)
@given(matrices(), st.sampled_from([0, None]))
def test_scores_are_the_naive_counts(matrix: np.ndarray, background: int | None):
    for result in (
        hungarian(matrix, background),
        many_to_one(matrix, "precision", background),
        many_to_one(matrix, "iou", background),
    ):
        iou, accuracy = naive_score(matrix, result.assignment.tolist())
        assert result.iou == pytest.approx(iou)
        assert result.miou == pytest.approx(np.mean(iou))
        assert result.pixel_accuracy == pytest.approx(accuracy)
        assert (result.true_positives + result.false_negatives == matrix.sum(axis=1)).all()


@settings(max_examples=60, deadline=None)
@given(matrices(), st.sampled_from(["precision", "iou"]))
def test_many_to_one_takes_the_best_class_for_each_cluster(matrix: np.ndarray, by: str):
    assignment = many_to_one(matrix, by).assignment
    for k, chosen in enumerate(assignment.tolist()):
        column = matrix[:, k]
        fits = [paired_iou(matrix, c, k) for c in range(len(column))] if by == "iou" else column.tolist()
        assert chosen == (fits.index(max(fits)) if column.any() else 0)


@settings(max_examples=40, deadline=None)
@given(matrices(), st.integers(0, 2**32))
def test_the_numbering_of_clusters_does_not_matter(matrix: np.ndarray, seed: int):
    order = np.random.default_rng(seed).permutation(matrix.shape[1])
    for match in (lambda m: many_to_one(m, "iou"), lambda m: many_to_one(m, "precision")):
        assert match(matrix[:, order]).miou == pytest.approx(match(matrix).miou)
    # Without a background a left-over cluster cannot spoil a class, so the Hungarian score is unique as well.
    assert hungarian(matrix[:, order], None).miou == pytest.approx(hungarian(matrix, None).miou)


THREE_CLUSTERS = np.array([[10, 0, 0], [0, 6, 2]])
"""Class 1 has cluster 1, and 2 pixels of the left-over cluster 2."""


def test_by_hand_a_left_over_cluster_goes_to_the_background_or_to_nothing():
    to_background = hungarian(THREE_CLUSTERS)
    assert to_background.assignment.tolist() == [0, 1, 0]
    assert to_background.iou.tolist() == [10 / 12, 6 / 8]
    assert to_background.false_positives.tolist() == [2, 0]
    assert to_background.background_share == pytest.approx(2 / 3)

    to_nothing = hungarian(THREE_CLUSTERS, background=None)
    assert to_nothing.assignment.tolist() == [0, 1, -1]
    assert to_nothing.iou.tolist() == [1.0, 6 / 8]  # only recall is lost
    assert to_nothing.false_negatives.tolist() == [0, 2]
    assert to_nothing.pixel_accuracy == 16 / 18
    assert to_nothing.background_share == pytest.approx(1 / 3)


def test_by_hand_the_background_need_not_be_the_first_class():
    result = hungarian(THREE_CLUSTERS, background=1)
    assert result.assignment.tolist() == [0, 1, 1]
    assert result.miou == 1.0


def test_by_hand_fewer_clusters_than_classes():
    result = hungarian(np.array([[4], [5], [0]]))
    assert result.assignment.tolist() == [1]
    assert result.iou.tolist() == [0, 5 / 9, 0]
    assert result.miou == pytest.approx(5 / 27)


def test_by_hand_absent_classes_in_each_policy():
    matrix = np.array([[3, 1], [0, 4], [0, 0]])
    assert many_to_one(matrix).iou.tolist() == [3 / 4, 4 / 5, 0]
    assert many_to_one(matrix).miou == pytest.approx((3 / 4 + 4 / 5) / 3)
    assert many_to_one(matrix, absent="skip").miou == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_by_hand_precision_and_iou_differ():
    # Cluster 0: 6 of its 11 pixels are the big class 0, but it covers all of the small class 1.
    matrix = np.array([[6, 94], [5, 0]])
    assert many_to_one(matrix, "precision").assignment.tolist() == [0, 0]
    assert many_to_one(matrix, "iou").assignment.tolist() == [1, 0]


def test_ties_go_to_the_lowest_class_and_empty_clusters_to_the_background():
    matrix = np.array([[2, 0], [2, 0]])
    assert many_to_one(matrix).assignment.tolist() == [0, 0]
    assert many_to_one(matrix, background=1).assignment.tolist() == [0, 1]
    assert many_to_one(matrix, background=None).assignment.tolist() == [0, -1]
    assert many_to_one(matrix).background_share == 1.0


def test_nothing_counted_scores_zero():
    empty = np.zeros((3, 2), np.int64)
    assert hungarian(empty).miou == many_to_one(empty, absent="skip").miou == 0
    assert (pairwise_iou(empty) == 0).all()


def test_a_classifier_is_scored_with_its_own_classes():
    matrix = np.array([[8, 2], [1, 9]])
    assert score(matrix, np.arange(2)).iou.tolist() == [8 / 11, 9 / 12]


@pytest.mark.parametrize("assignment", [[0], [0, 2], [0, -2]])
def test_an_assignment_that_does_not_fit_is_refused(assignment: list[int]):
    with pytest.raises(ValueError, match="2 clusters to 2 classes"):
        score(np.eye(2, dtype=np.int64), np.array(assignment))


@pytest.mark.parametrize("tag", ["", "_raw"])
def test_golden_matching(golden_folder: Path, tag: str):
    z = np.load(golden_folder / "matching.npz")
    confusion = Confusion(int(z["num_classes"]), int(z["num_clusters"]), int(z["ignore_index"]))
    confusion.update(z[f"gt{tag}"], z[f"pred{tag}"])
    assert (confusion.matrix == z["confusion"]).all()

    for by in ("iou", "precision"):
        result = many_to_one(confusion.matrix, by)
        assert (result.assignment == z[f"assign_{by}"]).all()
        assert (result.true_positives == z[f"tp_many_to_one_{by}"]).all()
        assert (result.false_positives == z[f"fp_many_to_one_{by}"]).all()
        assert (result.false_negatives == z[f"fn_many_to_one_{by}"]).all()
        assert result.miou == pytest.approx(float(z[f"miou_many_to_one_{by}"]), abs=float(z["atol"]))
        assert result.background_share == pytest.approx(float(z[f"background_share_{by}"]), abs=1e-6)
    assert z["hungarian_lo"] - 1e-6 <= hungarian(confusion.matrix).miou <= z["hungarian_hi"] + 1e-6

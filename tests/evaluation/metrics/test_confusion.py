from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leopart.evaluation.metrics.confusion import Confusion


def naive(gt: np.ndarray, pred: np.ndarray, classes: int, clusters: int, ignore: int) -> list[list[int]]:
    matrix = [[0] * clusters for _ in range(classes)]
    for c, k in zip(gt.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if c != ignore:
            matrix[c][k] += 1
    return matrix


def images(seed: int = 0, count: int = 5, classes: int = 4, clusters: int = 7):
    rng = np.random.default_rng(seed)
    gt = rng.integers(0, classes, (count, 9, 8)).astype(np.uint8)
    gt[rng.random(gt.shape) < 0.2] = 255
    return gt, rng.integers(0, clusters, gt.shape).astype(np.int16)


@pytest.mark.parametrize("dtypes", [(np.uint8, np.int16), (np.int64, np.uint8), (np.int32, np.uint64)])
def test_the_count_is_the_naive_loop(dtypes):
    gt, pred = images()
    confusion = Confusion(4, 7)
    confusion.update(gt.astype(dtypes[0]), pred.astype(dtypes[1]))
    assert confusion.matrix.tolist() == naive(gt, pred, 4, 7, 255)
    assert confusion.matrix.dtype == np.int64


@pytest.mark.parametrize("ignore", [-1, 4, 9, 255, 1000])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_any_id_outside_the_classes_can_be_the_ignored_one(ignore: int, dtype: type):
    gt, pred = images()
    if ignore > np.iinfo(dtype).max:
        gt[gt == 255] = 0  # nothing is ignored then
    gt = np.where(gt == 255, ignore, gt.astype(int)).astype(dtype)
    confusion = Confusion(4, 7, ignore)
    confusion.update(gt, pred)
    assert confusion.matrix.tolist() == naive(gt, pred, 4, 7, ignore)


@pytest.mark.parametrize(("classes", "clusters"), [(3, 20), (20, 3000), (200, 400)])
def test_many_classes_and_clusters(classes: int, clusters: int):
    """Cell numbers of 8, 16 and 32 bits."""
    gt, pred = images(1, 2, classes, clusters)
    confusion = Confusion(classes, clusters)
    confusion.update(gt, pred)
    assert confusion.matrix.tolist() == naive(gt, pred, classes, clusters, 255)


@given(st.integers(0, 2**32), st.integers(0, 5))
def test_batches_and_parts_equal_the_whole(seed: int, cut: int):
    gt, pred = images(seed)
    whole, batches, part = Confusion(4, 7), Confusion(4, 7), Confusion(4, 7)
    whole.update(gt, pred)
    for one_gt, one_pred in zip(gt[:cut], pred[:cut], strict=True):
        batches.update(one_gt, one_pred)
    part.update(gt[cut:], pred[cut:])

    assert (whole.matrix == batches.matrix + pickle.loads(pickle.dumps(part)).matrix).all()


def test_more_pixels_than_a_block():
    rng = np.random.default_rng(0)
    gt, pred = rng.integers(0, 3, 200_001), rng.integers(0, 2, 200_001)
    gt[gt == 2] = 9
    confusion = Confusion(2, 2, ignore_index=9)
    confusion.update(gt, pred)
    expected = [[int(((gt == c) & (pred == k)).sum()) for k in range(2)] for c in range(2)]
    assert confusion.matrix.tolist() == expected


def test_tensors_bools_and_empty_batches_count():
    confusion = Confusion(2, 2)
    confusion.update(torch.tensor([0, 1, 1]), torch.tensor([True, False, True]))
    confusion.update(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8))
    assert confusion.matrix.tolist() == [[0, 1], [1, 1]]


def test_what_is_predicted_on_ignored_pixels_does_not_matter():
    confusion = Confusion(2, 3)
    confusion.update(np.array([0, 255, 255]), np.array([2, -1, 999]))
    assert confusion.matrix.tolist() == [[0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        ([0, 2], [0, 0], r"class id 2 is out of range: there are 2, 0 to 1"),
        ([0, -1], [0, 0], "class id -1"),
        ([0, 1], [3, 0], r"cluster id 3 is out of range: there are 3, 0 to 2"),
        ([0, 1], [-1, 0], "cluster id -1"),
        ([0, 1], [0], "differ in shape"),
        ([0.0, 1.0], [0, 1], "classes must be integers, not float64"),
    ],
)
def test_out_of_range_is_an_error_and_counts_nothing(gt, pred, message: str):
    confusion = Confusion(2, 3)
    with pytest.raises(ValueError, match=message):
        confusion.update(np.array(gt), np.array(pred))
    assert confusion.matrix.sum() == 0


def test_an_error_in_a_late_block_counts_nothing():
    gt = np.zeros(100_000, np.uint8)
    gt[-1] = 7
    confusion = Confusion(2, 2)
    with pytest.raises(ValueError, match="class id 7"):
        confusion.update(gt, np.zeros_like(gt))
    assert confusion.matrix.sum() == 0


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_sums_are_the_pixels_of_classes_and_clusters(classes: int, clusters: int, seed: int):
    gt, pred = images(seed, 2, classes, clusters)
    confusion = Confusion(classes, clusters)
    confusion.update(gt, pred)
    assert confusion.matrix.sum(axis=1).tolist() == [(gt == c).sum() for c in range(classes)]
    assert confusion.matrix.sum(axis=0).tolist() == [
        ((pred == k) & (gt != 255)).sum() for k in range(clusters)
    ]

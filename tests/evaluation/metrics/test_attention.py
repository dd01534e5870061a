from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leopart.evaluation.metrics.attention import AttentionScores, best_heads, head_masks, merged_mask

HEADS = 3


def photo(seed: int, grid: tuple[int, int] = (6, 8), size: tuple[int, int] = (50, 61)):
    """Attention, and labels of three objects with void along their edges, at a size that is no multiple."""
    rng = np.random.default_rng(seed)
    attention = rng.random((HEADS, *grid)).astype(np.float32) ** 3
    labels = rng.choice([0, 2, 5, 9, 255], size=(5, 6), p=[0.5, 0.15, 0.15, 0.1, 0.1]).astype(np.uint8)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, labels.shape, strict=True))
    return attention, labels[np.ix_(rows, columns)]


def naive_threshold(attention: np.ndarray, keep: float) -> np.ndarray:
    """Token by token, from the lightest: on once the mass passes 1 - keep."""
    mask, mass = np.zeros(attention.size, bool), 0.0
    flat = attention.astype(np.float64).ravel() / attention.sum(dtype=np.float64)
    for token in np.argsort(flat, kind="stable"):
        mass += flat[token]
        mask[token] = mass > 1 - keep
    return mask.reshape(attention.shape)


def enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return F.interpolate(torch.from_numpy(mask)[None, None].float(), size, mode="nearest")[0, 0].numpy() > 0


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def naive_best(attention: np.ndarray, labels: np.ndarray, keep: float) -> list[list[float]]:
    """IoU of each object (rows) with each head."""
    masks = [enlarged(naive_threshold(head, keep), labels.shape) for head in attention]
    objects = sorted(set(labels.ravel().tolist()) - {0, 255})
    return [[iou(labels == found, mask) for mask in masks] for found in objects]


@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_scores_are_the_naive_loops(keep: float):
    photos = [photo(seed) for seed in range(8)]
    scores = AttentionScores(keep)
    for attention, labels in photos:
        scores.add(attention, labels)

    merged = [iou(lab != 0, enlarged(merged_mask(att, keep), lab.shape)) for att, lab in photos]
    tables = [naive_best(att, lab, keep) for att, lab in photos]
    assert scores.merged == pytest.approx(np.mean(merged))
    assert scores.best_head == pytest.approx(np.mean([np.mean([max(row) for row in t]) for t in tables]))
    wins = np.bincount([int(np.argmax(row)) for t in tables for row in t if max(row)], minlength=HEADS)
    assert scores.head_wins.tolist() == wins.tolist()
    assert (scores.photos, scores.photos_with_objects) == (8, 8)


def test_by_hand():
    """Two heads on a 2 x 2 grid; each keeps the cell with 0.7 of its mass, and the object fills one."""
    attention = np.array([[[0.7, 0.1], [0.1, 0.1]], [[0.1, 0.1], [0.1, 0.7]]])
    labels = np.zeros((4, 4), np.uint8)
    labels[:2, :2] = 3  # all of the first head's cell
    labels[2:, 3] = 4  # half of the second head's cell
    best, winners = best_heads(head_masks(attention), labels, {0, 255})
    assert best.tolist() == [1, 0.5]
    assert winners.tolist() == [0, 1]
    scores = AttentionScores()
    scores.add(attention, labels)
    assert scores.best_head == 0.75
    assert scores.head_wins.tolist() == [1, 1]


def test_heads_are_neither_blurred_nor_cleaned_and_the_merged_mask_is_both():
    attention = np.zeros((2, 5, 5))
    attention[:, 2, 2] = 1
    assert head_masks(attention).sum() == 2
    assert merged_mask(attention, keep=0.6).sum() == 3  # the blur leaves 0.44 of the mass in the middle
    assert merged_mask(attention, keep=0.4).sum() == 0  # the middle alone is a speck


def test_golden_merged_mask(golden_folder: Path):
    z = np.load(golden_folder / "attention_mask.npz")
    for keep, masks in zip(z["keep"].tolist(), z["mask"], strict=True):
        for attention, mask in zip(z["attn"], masks, strict=True):
            np.testing.assert_array_equal(merged_mask(attention, keep), mask[0] > 0)


def test_void_is_foreground_but_no_object():
    attention, labels = photo(0)
    void = AttentionScores()
    void.add(attention, np.where(labels == 0, 0, 255))
    assert math.isnan(void.best_head)
    assert void.photos_with_objects == 0
    objects = AttentionScores()
    objects.add(attention, labels)
    assert void.merged == objects.merged


def test_a_photo_without_void_or_background_keeps_all_its_objects():
    """The first and the last id are objects like any other."""
    attention = np.ones((1, 2, 2))
    labels = np.array([[1, 1, 2, 2], [3, 3, 4, 4]])
    best, _ = best_heads(head_masks(attention, keep=1), labels, {0, 255})
    assert best.tolist() == [0.25] * 4
    assert best_heads(head_masks(attention, keep=1), labels, set())[0].size == 4


def test_photos_without_objects_are_left_out_of_the_best_head():
    attention, labels = photo(1)
    alone, both = AttentionScores(), AttentionScores()
    alone.add(attention, labels)
    both.add(attention, labels)
    both.add(attention, labels * 0)
    assert both.best_head == alone.best_head
    assert both.merged == alone.merged / 2
    assert (both.photos, both.photos_with_objects) == (2, 1)


def test_tensors_and_arrays_of_any_scale_give_the_same():
    attention, labels = photo(2)
    scores = []
    for given in (attention, torch.from_numpy(attention), attention.astype(np.float64) * 8):
        found = AttentionScores()
        found.add(given, labels.astype(int))
        scores.append((found.merged, found.best_head, *found.head_wins))
    assert all(one == other for one, other in pairwise(scores))


def test_a_label_set_whose_background_is_void():
    attention, labels = photo(3)
    scores = AttentionScores(background=255)
    scores.add(attention, labels)
    expected = iou(labels != 255, enlarged(merged_mask(attention), labels.shape))
    assert scores.merged == pytest.approx(expected)
    assert len(best_heads(head_masks(attention), labels, {255})[0]) == len(np.unique(labels)) - 1


def test_a_head_wins_no_object_that_all_heads_miss():
    attention = np.zeros((2, 4, 4))
    attention[:, 0, 0] = 1
    labels = np.zeros((4, 4), int)
    labels[3, 3] = 1
    scores = AttentionScores()
    scores.add(attention, labels)
    assert (scores.best_head, scores.head_wins.tolist()) == (0, [0, 0])


def test_what_cannot_be_scored():
    attention, labels = photo(0)
    scores = AttentionScores()
    assert math.isnan(scores.merged)
    assert math.isnan(scores.best_head)
    with pytest.raises(ValueError, match="were expected"):
        scores.add(attention[0], labels)
    scores.add(attention, labels)
    with pytest.raises(ValueError, match="3 heads, then of 2"):
        scores.add(attention[:2], labels)
    with pytest.raises(ValueError, match="there are 256"):
        scores.add(attention, labels.astype(int) + 200)
    assert scores.photos == 1

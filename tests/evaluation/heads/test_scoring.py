from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leopart.evaluation.heads import scoring as module
from leopart.evaluation.heads.networks import FCNHead, LinearHead, SegmentationHead
from leopart.evaluation.heads.scoring import predict, score_head

DIM, CLASSES = 6, 4
SIZES = [(13, 20), (9, 9), (30, 7)]


def head_of(kind: str) -> SegmentationHead:
    generator = torch.Generator().manual_seed(0)
    return LinearHead(DIM, CLASSES, generator) if kind == "linear" else FCNHead(DIM, CLASSES, 5, generator)


def drawn() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Tokens of three photos of different grids, and label maps of different sizes."""
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=(*grid, DIM)).astype(np.float16) for grid in ((5, 6), (4, 4), (8, 3))]
    labels = [rng.integers(0, CLASSES, size).astype(np.uint8) for size in SIZES]
    for ids in labels:
        ids[rng.random(ids.shape) < 0.2] = 255
    return tokens, labels


@torch.no_grad()
def expected_rows(head: SegmentationHead, tokens: np.ndarray, size: tuple[int, int], grid) -> np.ndarray:
    """Tokens enlarged first (for a linear head to the size), then the head, then its logits to the size."""
    maps = torch.from_numpy(tokens).float().permute(2, 0, 1)[None]
    first = size if grid == "reference" or head.kind == "linear" else (grid, grid)
    enlarged = F.interpolate(maps, first, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    logits = head.coarse(enlarged)
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()


@pytest.mark.parametrize(("kind", "grid"), [("linear", 100), ("fcn", 11), ("fcn", "reference")])
def test_scores_are_those_of_pixels_counted_one_by_one(kind: str, grid):
    head, (tokens, labels) = head_of(kind), drawn()
    confusion = score_head(head, tokens, labels, eval_grid=grid)
    expected = np.zeros((CLASSES, CLASSES), int)
    for photo, ids in zip(tokens, labels, strict=True):
        rows = expected_rows(head, photo, ids.shape, grid)
        for truth, found in zip(ids.ravel(), rows.ravel(), strict=True):
            if truth != 255:
                expected[truth, found] += 1
    assert np.array_equal(confusion.matrix, expected)


@pytest.mark.parametrize("kind", ["linear", "fcn"])
def test_large_photos_are_looked_at_in_strips(kind: str, monkeypatch: pytest.MonkeyPatch):
    head, (tokens, _) = head_of(kind), drawn()
    whole = predict(head, torch.from_numpy(tokens[0]), (41, 30), 7)
    monkeypatch.setattr(module, "_STRIP", 4 * 30 * CLASSES)
    assert np.array_equal(predict(head, torch.from_numpy(tokens[0]), (41, 30), 7), whole)
    assert whole.dtype == np.uint8
    assert np.array_equal(whole, expected_rows(head, tokens[0], (41, 30), 7))
    assert len(np.unique(whole)) > 1


def test_what_was_found_is_handed_over_at_the_size_that_is_asked_for():
    head, (tokens, labels) = head_of("linear"), drawn()
    saved: dict[int, np.ndarray] = {}
    score_head(head, tokens, labels, photos=[2, 0], save=saved.__setitem__)
    assert {index: rows.shape for index, rows in saved.items()} == {2: SIZES[2], 0: SIZES[0]}
    score_head(head, tokens, labels, save=saved.__setitem__, size_of=lambda index: (50 + index, 40))
    for index, rows in saved.items():
        assert np.array_equal(rows, expected_rows(head, tokens[index], (50 + index, 40), 100))


def test_an_fcn_scored_at_the_labels_size_hands_over_what_it_found_there():
    """Convolutions at a large photo's own size would take all memory, and find something else."""
    head, (tokens, labels) = head_of("fcn"), drawn()
    saved: dict[int, np.ndarray] = {}
    ask = {"eval_grid": "reference", "size_of": lambda _: (50, 40)}
    score_head(head, tokens, labels, save=saved.__setitem__, **ask)
    for index, rows in saved.items():
        maps = torch.from_numpy(tokens[index]).float().permute(2, 0, 1)[None]
        enlarged = F.interpolate(maps, SIZES[index], mode="bilinear", align_corners=False)
        with torch.no_grad():
            logits = head.coarse(enlarged.permute(0, 2, 3, 1))
        expected = F.interpolate(logits, (50, 40), mode="bilinear", align_corners=False)[0].argmax(0)
        assert np.array_equal(rows, expected.numpy())
        assert (rows != expected_rows(head, tokens[index], (50, 40), "reference")).any()


def test_photos_that_are_not_asked_for_do_not_count():
    head, (tokens, labels) = head_of("linear"), drawn()
    parts = [score_head(head, tokens, labels, photos=[index]) for index in range(3)]
    both = score_head(head, tokens, labels, photos=[0, 2])
    assert np.array_equal(parts[0].matrix + parts[2].matrix, both.matrix)
    assert both.matrix.sum() == sum((labels[index] != 255).sum() for index in (0, 2))


def test_labels_are_read_one_photo_at_a_time():
    tokens, labels = drawn()

    asked = []

    class Lazy(list):
        def __getitem__(self, index: int) -> np.ndarray:
            asked.append(index)
            return super().__getitem__(index)

    score_head(head_of("linear"), tokens, Lazy(labels))
    assert sorted(asked) == [0, 1, 2]


def test_what_does_not_fit_is_refused():
    head, (tokens, labels) = head_of("linear"), drawn()
    with pytest.raises(ValueError, match="tokens of 3 photos and 2 label maps"):
        score_head(head, tokens, labels[:2])
    labels[1][0, 0] = CLASSES
    with pytest.raises(ValueError, match="class id 4 is out of range"):
        score_head(head, tokens, labels)

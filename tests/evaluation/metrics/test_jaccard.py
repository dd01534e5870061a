from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.evaluation.metrics.jaccard import foreground_jaccard

LABELS = np.array([[0, 0, 5], [0, 255, 5]])
FOUND = np.array([[0, 1, 1], [0, 0, 1]])


def test_by_hand_void_is_foreground():
    assert foreground_jaccard(LABELS, FOUND) == 2 / 4


def test_by_hand_sets_without_a_background_class():
    # Class 0 is an object here; what has no label is background.
    assert foreground_jaccard(LABELS, FOUND, background=255) == 3 / 5


def test_nothing_found_where_there_is_nothing_is_perfect():
    nothing = np.zeros((4, 4), np.uint8)
    assert foreground_jaccard(nothing, nothing) == 1
    assert foreground_jaccard(nothing, nothing + 1) == 0


@given(st.integers(0, 2**32))
def test_it_is_the_naive_loop(seed: int):
    rng = np.random.default_rng(seed)
    labels, found = rng.integers(0, 3, (5, 6)), rng.random((5, 6)) < 0.5
    both = either = 0
    for truth, hit in zip(labels.ravel() != 0, found.ravel(), strict=True):
        both += truth and hit
        either += truth or hit
    assert foreground_jaccard(labels, found) == (both / either if either else 1)


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="differ in shape"):
        foreground_jaccard(LABELS, FOUND[:1])


def test_golden_jaccard(golden_folder: Path):
    z = np.load(golden_folder / "jaccard.npz")
    scores = [foreground_jaccard(*pair) for pair in zip(z["labels"], z["pred"], strict=True)]
    assert np.mean(scores) == pytest.approx(float(z["jaccard"]), abs=float(z["atol"]))

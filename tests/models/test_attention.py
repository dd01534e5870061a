from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from leopart.errors import LeopartError
from leopart.models.attention import _without_specks, attention_mask


def naive_blur(image: np.ndarray) -> np.ndarray:
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 0.6) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        image = ndimage.correlate1d(image, taps, axis=axis, mode="mirror")  # SciPy's word for reflect padding
    return image


def naive_mask(image: np.ndarray, keep: float) -> tuple[np.ndarray, float]:
    """The docstring's loop in double precision, and how near the closest decision was."""
    mass = naive_blur(image.astype(np.float64)).ravel()
    mass /= mass.sum()
    order = np.argsort(mass, kind="stable")
    cumulative = np.cumsum(mass[order])
    mask = np.zeros(mass.size, bool)
    mask[order] = cumulative > 1 - keep
    mask = mask.reshape(image.shape)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    for label in range(1, count + 1):
        if (labels == label).sum() < 3:
            mask[labels == label] = False
    gap = min(np.abs(cumulative - (1 - keep)).min(), np.diff(np.sort(mass)).min(initial=1.0))
    return mask, gap


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    keep=st.floats(0.05, 0.95),
    sharpness=st.sampled_from([0.5, 2.0, 6.0]),
    seed=st.integers(0, 2**31),
)
def test_it_is_the_naive_loop_on_any_grid(height: int, width: int, keep: float, sharpness: float, seed: int):
    maps = np.random.default_rng(seed).random((3, height, width)) ** sharpness

    masks = attention_mask(torch.from_numpy(maps), keep)

    for image, mask in zip(maps, masks, strict=True):
        expected, gap = naive_mask(image, keep)
        if gap > 1e-6:  # nearer than that, rounding may decide
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("seed", range(20))
def test_small_groups_go_and_groups_of_three_stay(seed: int):
    mask = np.random.default_rng(seed).random((8, 11, 9)) < 0.05 + 0.015 * seed
    expected = np.zeros_like(mask)
    for index, image in enumerate(mask):
        labels, _ = ndimage.label(image, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        expected[index] = image & (sizes[labels] >= 3)

    np.testing.assert_array_equal(_without_specks(torch.from_numpy(mask)), expected)


def test_a_map_is_the_same_alone_and_in_a_batch():
    maps = torch.rand(5, 1, 14, 14, generator=torch.Generator().manual_seed(0))

    together = attention_mask(maps)

    assert together.shape == maps.shape
    assert together.dtype == torch.bool
    assert torch.equal(together, torch.cat([attention_mask(one[None]) for one in maps]))
    assert torch.equal(together, attention_mask(maps * 1000))


def test_keeping_everything_keeps_every_token_and_nothing_is_kept_of_nothing():
    maps = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0))

    assert bool(attention_mask(maps, keep=1.0).all())
    assert not bool(attention_mask(torch.zeros(2, 6, 7)).any())


@pytest.mark.parametrize("keep", [0, -0.5, 1.5, float("nan")])
def test_an_impossible_share_is_refused(keep: float):
    with pytest.raises(LeopartError, match=r"must be in \(0, 1\]"):
        attention_mask(torch.rand(1, 4, 4), keep)


@pytest.mark.parametrize("shape", [(4, 4), (2, 6, 4, 4), (1, 1, 1, 4, 4)])
def test_attention_that_still_has_heads_is_refused(shape: tuple[int, ...]):
    with pytest.raises(LeopartError, match="averaged over heads"):
        attention_mask(torch.rand(shape))


def test_golden(golden_folder: Path, adapter: ModuleType):
    case = np.load(golden_folder / "attention_mask.npz")
    for keep, expected in zip(case["keep"], case["mask"], strict=True):
        np.testing.assert_array_equal(adapter.attention_mask(case["attn"], float(keep)), expected)

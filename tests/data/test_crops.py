from __future__ import annotations

import itertools
import math
import random
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from leopart.data.crops import CropSettings, pair_boxes, sample_crops
from leopart.errors import LeopartError


def naive_pair(a: np.ndarray, b: np.ndarray, size: float) -> list[float]:
    """The region a and b share, in pixels of the resized a."""
    x1, y1 = max(a[0], b[0]), max(a[1], b[1])
    x2, y2 = min(a[2], b[2]), min(a[3], b[3])
    across, down = size / (a[2] - a[0]), size / (a[3] - a[1])
    return [(x1 - a[0]) * across, (y1 - a[1]) * down, (x2 - a[0]) * across, (y2 - a[1]) * down]


def shared_area(a: np.ndarray, b: np.ndarray) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def torchvision_crop(height: int, width: int, scale: tuple[float, float]) -> list[int]:
    """x1, y1, x2, y2 of a crop from torchvision, which takes torch's global generator."""
    photo = torch.zeros(1, height, width)
    y, x, h, w = RandomResizedCrop.get_params(photo, list(scale), [3 / 4, 4 / 3])
    return [x, y, x + w, y + h]


# Pair boxes


def test_golden(golden, adapter: ModuleType):
    case = golden("boxes")
    for crops, gc, all_ in zip(case["crops"], case["gc"], case["all"], strict=True):
        ours = adapter.boxes(crops, int(case["n_gc"]), case["sizes"])
        for found, expected in zip(ours, (gc, all_), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-6)


@given(n_global=st.integers(1, 3), n_local=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_pair_boxes_are_the_naive_loop_for_any_number_of_views(n_global: int, n_local: int, seed: int):
    settings = CropSettings(n_global, n_local)
    crops = sample_crops(300, 400, settings, np.random.default_rng(seed))

    gc, all_ = pair_boxes(crops, n_global, settings.sizes)

    expected = [
        [naive_pair(a, b, size) for b in crops] for a, size in zip(crops, settings.sizes, strict=True)
    ]
    np.testing.assert_allclose(gc, np.array(expected)[:n_global], atol=1e-4)
    np.testing.assert_allclose(all_, np.array(expected)[:, :n_global], atol=1e-4)


def test_both_views_of_a_pair_mean_the_same_place_of_the_photo():
    settings = CropSettings()
    crops = sample_crops(375, 500, settings, np.random.default_rng(0))
    gc, all_ = pair_boxes(crops, 2, settings.sizes)

    def in_photo(box: np.ndarray, view: int) -> np.ndarray:
        low, high = crops[view, :2], crops[view, 2:]
        corners = low + box.reshape(2, 2) / settings.sizes[view] * (high - low)
        return corners.ravel()

    for g, v in itertools.product(range(2), range(6)):
        np.testing.assert_allclose(in_photo(gc[g, v], g), in_photo(all_[v, g], v), atol=1e-3)


def test_a_view_shares_all_of_itself_with_itself_and_nothing_with_a_disjoint_one():
    crops = np.array([[0, 0, 10, 20], [30, 40, 50, 60]])
    gc, all_ = pair_boxes(crops, 1, [224, 96])
    assert gc[0, 0].tolist() == [0, 0, 224, 224]
    assert all_[1, 0].tolist()[2:] == all_[1, 0].tolist()[:2]  # empty


def test_photos_can_be_stacked():
    settings = CropSettings()
    crops = np.stack([sample_crops(375, 500, settings, np.random.default_rng(i)) for i in range(3)])
    together = pair_boxes(crops, 2, settings.sizes)
    for one in range(3):
        alone = pair_boxes(crops[one], 2, settings.sizes)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[one], b)


# Sampling


def test_crops_are_distributed_as_those_of_an_unbounded_loop_around_torchvision():
    """The paper's rule, written naively: redraw a crop until it overlaps all global crops before it."""
    height, width, photos = 240, 320, 800
    settings = CropSettings(local_crops=1)
    generator = np.random.default_rng(0)
    ours = np.stack([sample_crops(height, width, settings, generator) for _ in range(photos)])
    least, expected = int(height * width * 0.01), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(photos):
            crops: list[list[int]] = []
            for scale, overlap in (((0.25, 1.0), 0), ((0.25, 1.0), 2 * least), ((0.05, 0.25), least)):
                crop = torchvision_crop(height, width, scale)
                while any(shared_area(crop, other) <= overlap for other in crops):
                    crop = torchvision_crop(height, width, scale)
                crops.append(crop)
            expected.append(crops)
    for view in range(3):
        for name, of in {
            "area": lambda c: (c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]),
            "ratio": lambda c: (c[:, 2] - c[:, 0]) / (c[:, 3] - c[:, 1]),
            "left": lambda c: c[:, 0],
            "top": lambda c: c[:, 1],
            "bottom": lambda c: c[:, 3],
        }.items():
            p = stats.ks_2samp(of(ours[:, view]), of(np.array(expected)[:, view])).pvalue
            assert p > 1e-3, f"{name} of view {view}"


@pytest.mark.parametrize(
    ("height", "width"), [(1, 500), (500, 1), (3, 20000), (20000, 3), (7, 200), (10, 10**6)]
)
def test_a_strip_gets_the_central_crop_of_torchvision(height: int, width: int):
    crops = sample_crops(height, width, CropSettings(1, 0), np.random.default_rng(0))
    assert crops[0].tolist() == torchvision_crop(height, width, (0.25, 1.0))


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    n_global=st.integers(1, 4),
    n_local=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_views_of_any_photo_lie_inside_it_and_share_a_part_with_every_global_view(
    height: int, width: int, n_global: int, n_local: int, seed: int
):
    settings = CropSettings(n_global, n_local, retries=5)

    crops = sample_crops(height, width, settings, np.random.default_rng(seed))

    assert crops.shape == (n_global + n_local, 4)
    assert crops.dtype == np.int64
    assert (crops[:, :2] >= 0).all()
    assert (crops[:, 2:] <= [width, height]).all()
    for view, other in itertools.product(crops, crops[:n_global]):
        assert shared_area(view, other) >= 1
    for boxes in pair_boxes(crops, n_global, settings.sizes):
        assert (boxes[..., 2:] > boxes[..., :2]).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (3, 20000), (2, 2)])
def test_the_smallest_and_longest_photos_have_views(height: int, width: int):
    crops = sample_crops(height, width, CropSettings(), np.random.default_rng(0))
    for view, other in itertools.product(crops, crops[:2]):
        assert shared_area(view, other) >= 1


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(60, 500),
    width=st.integers(60, 500),
    overlap=st.sampled_from([0.0, 0.01, 0.03]),
    factor=st.sampled_from([1.0, 2.0]),
    seed=st.integers(0, 2**31),
)
def test_overlaps_are_greater_than_the_least_and_that_of_global_pairs_greater_still(
    height: int, width: int, overlap: float, factor: float, seed: int
):
    settings = CropSettings(min_overlap=overlap, global_pair_factor=factor, retries=10_000)

    crops = sample_crops(height, width, settings, np.random.default_rng(seed))

    least = int(width * height * overlap)
    if max(height, width) < 3 * min(height, width):  # beyond, some sizes never overlap enough
        assert shared_area(crops[0], crops[1]) > factor * least
        for local, other in itertools.product(crops[2:], crops[:2]):
            assert shared_area(local, other) > least


def test_a_crop_that_cannot_overlap_enough_ends_centred_on_what_the_global_crops_share():
    class Counting(np.random.Generator):
        drawn = 0

        def random(self, *args, **kwargs):
            self.drawn += 1
            return super().random(*args, **kwargs)

    settings = CropSettings(local_crops=2, min_overlap=0.4, global_pair_factor=0, retries=7)
    generator = Counting(np.random.PCG64(0))

    crops = sample_crops(300, 300, settings, generator)

    low, high = crops[:2, :2].max(0), crops[:2, 2:].min(0)
    for local in crops[2:]:
        np.testing.assert_allclose((local[:2] + local[2:]) / 2, (low + high) / 2, atol=0.5)
    assert generator.drawn <= 4 * 7 * 10


def test_the_generator_is_the_only_source_of_randomness():
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    one, same, other = (sample_crops(375, 500, CropSettings(), np.random.default_rng(i)) for i in (1, 1, 2))

    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.get_rng_state().tolist(),
    )


def test_sizes_name_the_side_of_each_view_global_ones_first():
    assert CropSettings(1, 3, global_size=64, local_size=32).sizes == (64, 32, 32, 32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"global_crops": 0}, "global_crops >= 1"),
        ({"local_crops": -1}, "local_crops >= 0"),
        ({"local_size": 0}, "at least 1 pixel"),
        ({"global_scale": (0.5, 0.25)}, "global_scale must be two rising numbers above 0 and at most 1"),
        ({"local_scale": (0.0, 0.25)}, "local_scale must be"),
        ({"global_scale": (0.25, 1.5)}, "at most 1"),
        ({"ratio": (0.75, math.inf)}, "ratio must be"),
        ({"ratio": (math.nan, 1.0)}, "ratio must be"),
        ({"min_overlap": 1.0}, r"min_overlap must be in \[0, 1\)"),
        ({"global_pair_factor": -1.0}, "global_pair_factor >= 0"),
        ({"retries": 0}, "retries must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], message: str):
    with pytest.raises(LeopartError, match=message):
        CropSettings(**values)


def test_a_photo_without_pixels_is_refused():
    with pytest.raises(LeopartError, match="0x5 pixels has no views"):
        sample_crops(5, 0, CropSettings(), np.random.default_rng(0))

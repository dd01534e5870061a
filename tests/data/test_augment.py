"""How views are coloured and blurred: what is drawn, and OpenCV and torch against torchvision and Pillow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image, ImageFilter
from scipy import ndimage

from leopart.data.augment import augment
from leopart.data.augment_torch import augment_batch
from leopart.data.photometry import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    AugmentSettings,
    Photometry,
    blur_radius,
    draw_photometry,
)
from leopart.errors import LeopartError

OPERATIONS = {
    BRIGHTNESS: TF.adjust_brightness,
    CONTRAST: TF.adjust_contrast,
    SATURATION: TF.adjust_saturation,
    HUE: TF.adjust_hue,
}
Applier = Callable[[np.ndarray, Photometry], np.ndarray]


def photo(seed: int = 0, size: int = 64, count: int = 1) -> np.ndarray:
    """Smooth coloured noise with all levels and some flat grey, [count, size, size, 3] uint8."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size, 3))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 0))
    levels = np.clip(128 + 110 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    levels[:, : size // 8] = levels[:, : size // 8, :, :1]
    return levels


def nothing(count: int = 1) -> Photometry:
    """A draw that changes nothing."""
    return Photometry(
        jitter=np.zeros(count, bool),
        order=np.tile(np.arange(4), (count, 1)),
        factors=np.tile([1.0, 1.0, 1.0, 0.0], (count, 1)),
        grey=np.zeros(count, bool),
        sigma=np.zeros(count),
    )


def only(operation: int, factor: float) -> Photometry:
    """A draw of one step; all four would take every pixel through Pillow's 8-bit HSV and back."""
    jitter, order = np.ones(1, bool), np.array([[operation]])
    return replace(nothing(), jitter=jitter, order=order, factors=np.full((1, 4), factor))


def by_opencv(images: np.ndarray, photometry: Photometry) -> np.ndarray:
    return np.stack([augment(image, photometry, view) for view, image in enumerate(images)])


def by_torch(images: np.ndarray, photometry: Photometry) -> np.ndarray:
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    return augment_batch(tensor, photometry).permute(0, 2, 3, 1).numpy()


def by_pillow(images: np.ndarray, photometry: Photometry) -> np.ndarray:
    """The paper's way: torchvision's functions on Pillow images."""
    result = []
    for view, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        if photometry.jitter[view]:
            for operation in photometry.order[view]:
                image = OPERATIONS[operation](image, float(photometry.factors[view, operation]))
        if photometry.grey[view]:
            image = TF.rgb_to_grayscale(image, 3)
        if photometry.sigma[view]:
            image = image.filter(ImageFilter.GaussianBlur(float(photometry.sigma[view])))
        result.append(np.array(image))
    return np.stack(result)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a.astype(int) - b.astype(int))


both = pytest.mark.parametrize("apply", [by_opencv, by_torch])


# One operation at a time


@both
@pytest.mark.parametrize("factor", [0.2, 0.6, 1.0, 1.3, 1.8])
@pytest.mark.parametrize("operation", [BRIGHTNESS, CONTRAST, SATURATION])
def test_brightness_contrast_and_saturation_are_torchvisions_to_a_level(
    apply: Applier, operation: int, factor: float
):
    found = difference(apply(photo(), only(operation, factor)), by_pillow(photo(), only(operation, factor)))
    assert found.max() <= 1
    assert found.mean() < 0.02


@both
@pytest.mark.parametrize("turn", [-0.2, -0.07, 0.1, 0.2, 0.5])
def test_the_hue_is_torchvisions_to_a_few_levels(apply: Applier, turn: float):
    """Pillow and OpenCV keep hue and saturation in 8 bits each, with 255 and 256 steps a circle."""
    found = difference(apply(photo(), only(HUE, turn)), by_pillow(photo(), only(HUE, turn)))
    assert found.mean() < 1.5
    assert np.quantile(found, 0.99) <= 10


def test_turning_red_by_a_third_gives_green():
    red = np.full((1, 4, 4, 3), (200, 20, 20), np.uint8)
    for apply in (by_opencv, by_torch):
        turned = apply(red, only(HUE, 1 / 3))
        assert difference(turned, np.full_like(red, (20, 200, 20))).max() <= 5


@both
def test_grey_is_pillows_to_a_level(apply: Applier):
    grey = replace(nothing(), grey=np.ones(1, bool))
    found = apply(photo(), grey)
    assert (found == found[..., :1]).all()
    assert difference(found, by_pillow(photo(), grey)).max() <= 1


@both
@pytest.mark.parametrize("sigma", [0.1, 0.45, 1.0, 1.5, 2.0])
def test_blur_is_a_gaussian_and_pillows_boxes_come_near(apply: Applier, sigma: float):
    blur = replace(nothing(), sigma=np.array([sigma]))
    images = photo(size=48)
    exact = [
        ndimage.gaussian_filter(channel, sigma, mode="nearest", radius=blur_radius(sigma), output=np.float64)
        for channel in images[0].transpose(2, 0, 1)
    ]
    found = apply(images, blur)
    assert np.abs(found[0] - np.stack(exact, -1)).max() < 1.01
    assert difference(found, by_pillow(images, blur)).mean() < 0.8


@both
@pytest.mark.parametrize("operation", [BRIGHTNESS, CONTRAST, SATURATION])
def test_a_factor_of_one_keeps_every_value(apply: Applier, operation: int):
    np.testing.assert_array_equal(apply(photo(), only(operation, 1.0)), photo())


@both
@pytest.mark.parametrize(("operation", "factor"), [(SATURATION, 0.3), (SATURATION, 1.7), (HUE, 0.15)])
def test_grey_pixels_have_no_colour_to_change(apply: Applier, operation: int, factor: float):
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(apply(grey, only(operation, factor)), grey)


# All of them


def test_the_two_appliers_agree_and_both_are_near_pillow():
    """Mean differences in levels of 255. Hue and blur make nearly all of it."""
    images = photo(count=64)
    photometry = draw_photometry(64, AugmentSettings(), np.random.default_rng(0))

    opencv, batch, pillow = (apply(images, photometry) for apply in (by_opencv, by_torch, by_pillow))

    assert difference(opencv, batch).mean() < 0.8
    assert difference(opencv, batch).mean((1, 2, 3)).max() < 3
    for ours in (opencv, batch):
        assert difference(ours, pillow).mean() < 1.5
        assert difference(ours, pillow).mean((1, 2, 3)).max() < 5
        assert abs(ours.mean() - pillow.mean()) < 0.2  # no drift towards dark or bright


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_the_steps_is_kept(order: tuple[int, ...]):
    strong = Photometry(
        jitter=np.ones(1, bool),
        order=np.array([order]),
        factors=np.array([[1.7, 0.4, 1.6, 0.15]]),
        grey=np.zeros(1, bool),
        sigma=np.zeros(1),
    )
    expected = by_pillow(photo(size=32), strong)
    for apply in (by_opencv, by_torch):
        assert difference(apply(photo(size=32), strong), expected).mean() < 2


def test_a_view_is_the_same_alone_and_in_a_batch():
    images = photo(count=12, size=32)
    photometry = draw_photometry(12, AugmentSettings(), np.random.default_rng(1))

    together = by_torch(images, photometry)

    for view in range(12):
        alone = by_torch(images[[view]], photometry[view : view + 1])
        assert difference(together[view], alone[0]).max() <= 1  # a longer kernel of zeros may round otherwise
    joined = Photometry.join([photometry[:5], photometry[5:]])
    np.testing.assert_array_equal(by_torch(images, joined), together)


@both
def test_the_given_pixels_are_left_alone(apply: Applier):
    images, untouched = photo(count=8, size=32), photo(count=8, size=32)
    apply(images, draw_photometry(8, AugmentSettings(1, 1, 1, 0, 0), np.random.default_rng(0)))
    np.testing.assert_array_equal(images, untouched)


def test_float_and_8_bit_images_give_the_same():
    images = torch.from_numpy(photo(count=6)).permute(0, 3, 1, 2)
    photometry = draw_photometry(6, AugmentSettings(), np.random.default_rng(3))
    assert torch.equal(augment_batch(images, photometry), augment_batch(images.float(), photometry))


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives():
    images = torch.from_numpy(photo(count=64)).permute(0, 3, 1, 2).contiguous()
    photometry = draw_photometry(64, AugmentSettings(), np.random.default_rng(0))

    found = augment_batch(images.cuda(), photometry)

    assert found.device.type == "cuda"
    gaps = (found.cpu().int() - augment_batch(images, photometry).int()).abs()
    assert gaps.float().mean() < 0.05


def test_opencv_starts_no_threads_of_its_own():
    assert cv2.getNumThreads() <= 1


# What is drawn


def test_draws_are_uniform_in_their_ranges_and_as_frequent_as_asked():
    count = 20_000
    drawn = draw_photometry(count, AugmentSettings(), np.random.default_rng(0))
    for share, expected in ((drawn.jitter, 0.8), (drawn.grey, 0.2), (drawn.sigma > 0, 0.5)):
        assert abs(share.mean() - expected) < 0.015
    low, high = np.array([0.2, 0.2, 0.2, -0.2]), np.array([1.8, 1.8, 1.8, 0.2])
    ranks = (drawn.factors - low) / (high - low)
    assert (ranks >= 0).all()
    assert (ranks <= 1).all()
    np.testing.assert_allclose(
        np.quantile(ranks, [0.1, 0.5, 0.9], axis=0).T, [[0.1, 0.5, 0.9]] * 4, atol=0.02
    )
    blurs = (drawn.sigma[drawn.sigma > 0] - 0.1) / 1.9
    np.testing.assert_allclose(np.quantile(blurs, [0.0, 0.5, 1.0]), [0, 0.5, 1], atol=0.02)
    _, times = np.unique(drawn.order @ [1, 4, 16, 64], return_counts=True)
    assert len(times) == 24
    assert abs(times / count - 1 / 24).max() < 0.01
    assert abs(np.corrcoef(drawn.jitter, drawn.grey)[0, 1]) < 0.03


def test_strengths_scale_the_ranges_and_no_factor_is_negative():
    drawn = draw_photometry(5000, AugmentSettings(2.0, 0.5, 1, 1, 1), np.random.default_rng(0))
    assert drawn.factors[:, :3].min() >= 0
    assert drawn.factors[:, :3].max() == pytest.approx(2.6, abs=0.02)
    assert abs(drawn.factors[:, 3]).max() == pytest.approx(0.4, abs=0.02)
    assert drawn.sigma.min() == pytest.approx(0.05, abs=0.01)
    assert drawn.sigma.max() == pytest.approx(1.0, abs=0.01)


def test_nothing_is_done_where_all_chances_are_zero():
    drawn = draw_photometry(4, AugmentSettings(1, 1, 0, 0, 0), np.random.default_rng(0))
    images = photo(count=4, size=16)
    for apply in (by_opencv, by_torch):
        np.testing.assert_array_equal(apply(images, drawn), images)


def test_settings_do_not_change_how_many_numbers_are_drawn():
    after = []
    for settings in (AugmentSettings(), AugmentSettings(0, 0, 0, 0, 0)):
        generator = np.random.default_rng(0)
        draw_photometry(6, settings, generator)
        after.append(generator.random())
    assert after[0] == after[1]


def test_the_same_seed_draws_the_same():
    one, same = (draw_photometry(6, AugmentSettings(), np.random.default_rng(4)) for _ in range(2))
    for field in fields(Photometry):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(same, field.name))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"grey_probability": 1.2}, "grey_probability must be from 0 to 1"),
        ({"jitter_probability": float("nan")}, "jitter_probability must be"),
        ({"jitter_strength": 3.0}, "from 0 to 2.5"),
        ({"blur_strength": -1.0}, "blur_strength must be 0 or more"),
        ({"blur_strength": float("inf")}, "blur_strength must be 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, float], message: str):
    with pytest.raises(LeopartError, match=message):
        AugmentSettings(**values)

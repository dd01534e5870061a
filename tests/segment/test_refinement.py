from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.segment.part_model import PartModel
from leopart.segment.refinement import _solved, guided, refine, smoothed, soft_margin

#: Background looks along the first axis, two parts along the second, a third cluster between both.
BACK, FRONT, BETWEEN = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)
MODEL = PartModel(
    reduction=Reduction(torch.zeros(2), torch.eye(2)),
    clusters=KMeans(torch.tensor([BACK, FRONT, BETWEEN]), spherical=True, objective=0.0),
    is_foreground=torch.tensor([False, True, False]),
    parts=KMeans(torch.tensor([(0.0, 1.0), (0.0, 9.0)]), spherical=False, objective=0.0),
    object_of_part=np.array([0, 1, 1]),
    margin=torch.tensor([-0.4, 0.5, -0.1]),
)


def tokens(rows: list[list[tuple[float, float]]]) -> np.ndarray:
    return np.array(rows, np.float16)


def scene(side: int = 16) -> np.ndarray:
    """A square of foreground tokens in the middle of background."""
    grid = np.tile(np.array(BACK, np.float16), (side, side, 1))
    grid[side // 4 : -side // 4, side // 4 : -side // 4] = FRONT
    return grid


def picture(side: int) -> np.ndarray:
    """What the scene looks like: a red square, a fifth of a token larger than its tokens, on blue."""
    photo = np.full((side, side, 3), (30, 40, 200), np.uint8)
    edge = side // 4 - side // 80
    photo[edge:-edge, edge:-edge] = (210, 40, 30)
    return photo


def test_votes_are_the_softmax_of_cosines():
    generator = np.random.default_rng(0)
    grid = generator.standard_normal((3, 4, 2)).astype(np.float16)
    found = soft_margin(MODEL, grid)

    for y in range(3):
        for x in range(4):
            token = grid[y, x].astype(np.float64)
            votes = []
            for centre in (BACK, FRONT, BETWEEN):
                cosine = token @ np.array(centre) / np.linalg.norm(token) / np.linalg.norm(centre)
                votes.append(np.exp(cosine / 0.1))
            expected = sum(v * m for v, m in zip(votes, (-0.4, 0.5, -0.1), strict=True)) / sum(votes)
            assert found[y, x] == pytest.approx(expected, abs=1e-5)


def test_smoothing_is_that_of_the_definition():
    generator = np.random.default_rng(1)
    grid = generator.standard_normal((3, 5, 4)).astype(np.float16)
    margin = generator.standard_normal((3, 5)).astype(np.float32)
    places = [(y, x) for y in range(3) for x in range(5)]
    weights = np.zeros((15, 15))
    for i, (a, b) in enumerate(places):
        for j, (c, d) in enumerate(places):
            one, other = grid[a, b].astype(np.float64), grid[c, d].astype(np.float64)
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            distance = (a - c) ** 2 + (b - d) ** 2
            weights[i, j] = max(cosine, 0) ** 8 * np.exp(-distance / (2 * (0.25 * 5) ** 2))
    weights /= weights.sum(1, keepdims=True)
    heard = margin.ravel().astype(np.float64)
    for _ in range(20):
        heard = 0.5 * margin.ravel() + 0.5 * weights @ heard

    np.testing.assert_allclose(smoothed(margin, grid).ravel(), heard, atol=1e-5)


def test_a_grid_of_many_tokens_is_smoothed_on_a_smaller_one():
    grid = np.repeat(np.repeat(scene(64), 2, 0), 2, 1)
    margin = np.where(grid[..., 1] > 0, 0.5, -0.4).astype(np.float32)
    small = smoothed(margin[::2, ::2], grid[::2, ::2])
    large = smoothed(margin, grid)

    assert large.shape == (128, 128)
    assert (np.abs(large[::2, ::2] - small) < 0.25).mean() > 0.99  # but for cells at the outline
    assert (np.sign(large) == np.sign(margin)).mean() > 0.99


def test_a_long_grid_is_made_smaller_in_its_own_angles():
    tall = np.zeros((64, 256, 2), np.float16)
    tall[:32], tall[32:] = BACK, FRONT
    margin = np.where(tall[..., 1] > 0, 0.5, -0.4).astype(np.float32)
    small = smoothed(margin[::4, ::4].copy(), tall[::4, ::4].copy())
    np.testing.assert_allclose(smoothed(margin, tall)[2::4, 2::4], small, atol=0.15)


def naive_guided(values: np.ndarray, photo: np.ndarray, radius: int, contrast: float) -> np.ndarray:
    """The guided filter, one window and one pixel after the other, borders reflected."""
    pad = 2 * radius
    guide = np.pad(photo / 255.0, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    padded = np.pad(values.astype(np.float64), pad, mode="symmetric")
    height, width = values.shape
    lines = {}
    for y in range(-radius, height + radius):
        for x in range(-radius, width + radius):
            rows, columns = (
                slice(y + pad - radius, y + pad + radius + 1),
                slice(x + pad - radius, x + pad + radius + 1),
            )
            colours = guide[rows, columns].reshape(-1, 3)
            inside = padded[rows, columns].ravel()
            centred = colours - colours.mean(0)
            spread = centred.T @ centred / len(colours) + contrast * np.eye(3)
            slope = np.linalg.solve(spread, centred.T @ (inside - inside.mean()) / len(colours))
            lines[y, x] = slope, inside.mean() - slope @ colours.mean(0)
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            around = [
                lines[b, a]
                for b in range(y - radius, y + radius + 1)
                for a in range(x - radius, x + radius + 1)
            ]
            slope, offset = (np.mean([line[i] for line in around], axis=0) for i in (0, 1))
            result[y, x] = slope @ guide[y + pad, x + pad] + offset
    return result


def test_the_filter_is_that_of_the_paper():
    generator = np.random.default_rng(2)
    photo = generator.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    values = generator.standard_normal((7, 9)).astype(np.float32)

    found = guided(values, photo, 2, 1e-2)
    inside = slice(2, -2)  # nearer to the border, windows outside the photo may differ
    expected = naive_guided(values, photo, 2, 1e-2)
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=2e-4)


def test_a_flat_photo_is_no_reason_to_move_and_a_constant_stays():
    flat = np.full((20, 20, 3), 90, np.uint8)
    assert guided(np.full((20, 20), 0.25, np.float32), picture(20), 3, 1e-3) == pytest.approx(0.25, abs=1e-5)
    step = np.where(np.arange(20) < 10, -1, 1).astype(np.float32) * np.ones((20, 1), np.float32)
    assert (guided(step, flat, 3, 1e-3)[:, :10] < 0).all()


def test_outlines_follow_the_photo():
    side = 320
    truth = picture(side)[..., 0] > 100
    coarse, parts = refine(MODEL, scene(), picture(side), side, side)
    plain = np.repeat(np.repeat(MODEL.label(scene()), side // 64, 0), side // 64, 1)

    assert (coarse.shape, parts.shape, parts.dtype) == ((64, 64), (side, side), np.int32)
    assert ((parts > 0) != truth).mean() < 0.5 * ((plain > 0) != truth).mean()


def test_a_token_that_looks_like_those_around_it_goes_with_them():
    grid = scene()
    grid[8, 8] = (0.75, 1.0)  # nearest to the cluster between, which is background
    assert MODEL.label(grid)[33, 33] == 0
    assert (refine(MODEL, grid, picture(160), 160, 160)[1][60:100, 60:100] > 0).all()


def test_a_photo_without_an_object_has_an_empty_mask():
    grid = np.tile(np.array(BACK, np.float16), (6, 8, 1))
    coarse, parts = refine(
        MODEL, grid, np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8), 90, 120
    )
    assert not coarse.any()
    assert not parts.any()


def test_the_size_of_the_masks_is_asked_for_and_the_photo_may_come_smaller():
    _, parts = refine(MODEL, scene(), picture(80), 1500, 1500)
    _, small = refine(MODEL, scene(), picture(80), 80, 80)
    assert parts.shape == (1500, 1500)
    assert (parts > 0).mean() == pytest.approx((small > 0).mean(), abs=0.01)


def test_everything_stays_foreground_where_everything_is():
    everything = replace(MODEL, is_foreground=torch.ones(3, dtype=torch.bool), margin=None)
    assert (refine(everything, scene(), picture(64), 64, 64)[1] > 0).all()


def test_a_token_of_zeros_spoils_no_other():
    grid = scene()
    grid[0, 0] = 0
    assert (refine(MODEL, grid, picture(160), 160, 160)[1][60:100, 60:100] > 0).all()


def test_cramers_rule_solves_what_lapack_solves_also_where_colours_are_grey():
    rng = np.random.default_rng(0)
    colours = rng.random((6, 5, 30, 3))
    colours[0] = colours[0, ..., :1]  # channels alike: a matrix of rank 1, and the regulariser
    matrices = np.einsum("hwna,hwnb->hwab", colours, colours) / 30 + 1e-3 * np.eye(3)
    right = rng.random((6, 5, 3)).astype(np.float32)
    upper = {(a, b): matrices[..., a, b] for a in range(3) for b in range(a, 3)}

    expected = np.linalg.solve(matrices, right[..., None].astype(float))[..., 0]
    found = np.stack(_solved(upper, [right[..., c] for c in range(3)]), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.drawing.palette import colours
from leopart.errors import LeopartError
from leopart.training.monitoring.contact_sheet import (
    ContactSheet,
    cluster_maps,
    draw_sheet,
    follow,
    maps_before,
)

N, SIDE, PATCH = 3, 6, 8


@pytest.fixture
def photos() -> np.ndarray:
    """Photos of two flat halves in two colours, with a little noise, [n, H, W, 3]."""
    rng = np.random.default_rng(0)
    pixels = np.full((N, SIDE * PATCH, SIDE * PATCH, 3), (200, 60, 40), np.uint8)
    for index in range(N):
        pixels[index, :, : PATCH * (index + 1)] = (40, 60, 200)
    return pixels + rng.integers(0, 9, pixels.shape, np.uint8)


def mean_colours(images: torch.Tensor) -> torch.Tensor:
    """A network whose tokens are the mean colours of the patches, [n, h, w, 3]."""
    assert images.dtype == torch.uint8
    return torch.nn.functional.avg_pool2d(images.float(), PATCH).permute(0, 2, 3, 1)


def halves() -> np.ndarray:
    """1 for the larger half, 2 for the other."""
    columns = np.arange(SIDE)[None, None, :] <= np.arange(N)[:, None, None]
    blue = np.broadcast_to(columns, (N, SIDE, SIDE))
    return np.where(blue, 2, 1) if blue.sum() < blue.size / 2 else np.where(blue, 1, 2)


def test_planted_clusters_are_found_and_numbered_by_area(photos: np.ndarray):
    tokens = mean_colours(torch.from_numpy(photos).permute(0, 3, 1, 2))
    ids = cluster_maps(tokens, 2, seed=0)
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, halves())
    assert np.array_equal(cluster_maps(tokens.bfloat16(), 2, seed=0), ids)


def test_numbers_follow_an_earlier_map(photos: np.ndarray):
    tokens = mean_colours(torch.from_numpy(photos).permute(0, 3, 1, 2))
    swapped = (3 - halves()).astype(np.uint8)
    assert np.array_equal(cluster_maps(tokens, 2, 0, previous=swapped), swapped)
    other_photos = swapped[:2]
    assert np.array_equal(cluster_maps(tokens, 2, 0, previous=other_photos), halves())


def test_following_keeps_as_many_cells_as_any_numbering_can():
    rng = np.random.default_rng(2)
    for _ in range(20):
        ids, previous = rng.integers(0, 4, (2, 5, 5)), rng.integers(1, 5, (2, 5, 5)).astype(np.uint8)
        kept = (follow(ids, previous, 4) == previous).sum()
        orders = itertools.permutations(range(1, 5))
        assert kept == max((np.array(order)[ids] == previous).sum() for order in orders)


def test_clusters_that_vanish_leave_the_numbers_of_the_others_alone():
    previous = np.array([[[1, 2, 3, 4]]], np.uint8)
    ids = np.array([[[1, 1, 0, 0]]])  # two of four are left
    found = follow(ids, previous, 4)
    assert found[0, 0, 0] == found[0, 0, 1] in (1, 2)
    assert found[0, 0, 2] == found[0, 0, 3] in (3, 4)


def test_a_run_of_sheets_does_not_flicker_whatever_k_means_calls_its_clusters(
    tmp_path: Path, photos: np.ndarray
):
    sheet = ContactSheet(tmp_path, photos, clusters=5)

    def turned(images: torch.Tensor) -> torch.Tensor:
        return mean_colours(images) * torch.tensor([-1.0, 1, -1])

    first = sheet.add(100, mean_colours)
    second = sheet.add(200, turned)
    maps = [np.load(tmp_path / f"step-000{step}.npz")["ids"] for step in (100, 200)]
    assert (maps[0] == maps[1]).mean() > 0.9
    assert first.shape == second.shape


def test_the_files_of_a_step(tmp_path: Path, photos: np.ndarray):
    pixels = ContactSheet(tmp_path / "sheets", photos, clusters=2).add(100, mean_colours)
    folder = tmp_path / "sheets"

    assert sorted(file.name for file in folder.iterdir()) == [
        "photos.npz",
        "step-000100.npz",
        "step-000100.png",
    ]
    with Image.open(folder / "step-000100.png") as picture:
        assert np.array_equal(np.asarray(picture), pixels)
    drawn, ids = np.load(folder / "photos.npz")["photos"], np.load(folder / "step-000100.npz")["ids"]
    assert np.array_equal(ids, halves())
    assert np.array_equal(draw_sheet(drawn, ids, "step 100"), pixels)


def test_the_same_tokens_give_the_same_bytes(tmp_path: Path, photos: np.ndarray):
    for name in ("a", "b"):
        ContactSheet(tmp_path / name, photos, clusters=4).add(7, mean_colours)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_the_sheet_before_a_step_is_the_latest_below_it(tmp_path: Path, photos: np.ndarray):
    """Sheets of later steps may lie there from before a run was taken up again."""
    assert maps_before(tmp_path / "none", 5) is None
    for step in (0, 50, 999_999, 1_000_000):
        np.savez(tmp_path / f"step-{step:06d}.npz", ids=np.full((1, 1, 1), 1 + step % 7, np.uint8))
    assert maps_before(tmp_path, 0) is None
    assert maps_before(tmp_path, 50)[0, 0, 0] == 1
    assert maps_before(tmp_path, 51)[0, 0, 0] == 2
    assert maps_before(tmp_path, 2_000_000)[0, 0, 0] == 1 + 1_000_000 % 7


def test_every_photo_stands_above_its_clusters():
    photos = np.random.default_rng(0).integers(0, 256, (11, 40, 50, 3), np.uint8)
    ids = np.ones((11, 2, 2), np.uint8)
    sheet = draw_sheet(photos, ids, "step 3")
    gap, caption = 6, 22

    assert sheet.shape == (caption + gap + 4 * 46, gap + 8 * 56, 3)
    for index in (0, 7, 8, 10):
        top, left = gap + caption + index // 8 * 2 * 46, gap + index % 8 * 56
        assert np.array_equal(sheet[top : top + 40, left : left + 50], photos[index])
        tinted = sheet[top + 46 : top + 86, left : left + 50].astype(float)
        assert np.abs(tinted - (photos[index] / 2 + colours(2)[1] / 2)).max() <= 1
    assert (sheet[: caption + gap] != sheet[0, 0]).any()  # the caption
    assert (sheet[-40:, 3 * 56 + gap :] == sheet[0, 0]).all()  # no photo there


def test_large_photos_are_drawn_small(tmp_path: Path):
    photos = np.zeros((2, 448, 448, 3), np.uint8)
    sheet = ContactSheet(tmp_path, photos).add(1, lambda images: images[:, :, ::14, ::14].permute(0, 2, 3, 1))
    assert sheet.shape == (22 + 6 + 2 * 166, 6 + 2 * 166, 3)


def test_a_sheet_that_cannot_be_written_is_told(tmp_path: Path, photos: np.ndarray):
    (tmp_path / "file").touch()
    with pytest.raises(LeopartError, match="cannot write"):
        ContactSheet(tmp_path / "file", photos, clusters=2).add(1, mean_colours)

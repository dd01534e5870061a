from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leopart.data.datasets.folder import open_folder
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.labels import LabelMaps, checked_labels, nearest, small_labels, squeezed


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (56, 56), (7, 31), (1, 1), (100, 100), (448, 300)])
@pytest.mark.parametrize("side", [100, 37])
def test_nearest_is_torchs(shape: tuple[int, int], side: int):
    ids = np.random.default_rng(0).integers(0, 300, shape)
    expected = F.interpolate(torch.from_numpy(ids)[None, None].double(), (side, side), mode="nearest")
    assert np.array_equal(nearest(ids, side), expected[0, 0].numpy())


def test_nearest_keeps_other_shapes_than_squares():
    ids = np.random.default_rng(0).integers(0, 9, (28, 31)).astype(np.uint8)
    expected = F.interpolate(torch.from_numpy(ids)[None, None], (50, 77), mode="nearest")
    assert np.array_equal(nearest(ids, (50, 77)), expected[0, 0].numpy())
    assert nearest(ids, (28, 31)) is ids


@pytest.mark.parametrize("shape", [(213, 320), (33, 501)])
def test_squeezed_is_pillows_nearest(shape: tuple[int, int]):
    ids = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    expected = np.array(Image.fromarray(ids).resize((448, 448), Image.Resampling.NEAREST))
    assert np.array_equal(squeezed(ids, 448), expected)


def write(folder: Path, sizes: list[tuple[int, int]]) -> LabelledPhotos:
    """Photos with masks of the ids 0, 7, 9 and 255; class 7 is the second row, 9 the third."""
    rng = np.random.default_rng(1)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height)).save(folder / "images" / f"{index}.png")
        ids = rng.choice([0, 7, 9, 255], (height, width)).astype(np.uint8)
        Image.fromarray(ids).save(folder / "masks" / f"{index}.png")
    (folder / "classes.txt").write_text("0\tbackground\n7\tcow\n9\tsky\n")
    return open_folder(folder)


@pytest.mark.parametrize(("side", "through"), [(100, 448), (20, 56), (100, 64)])
def test_small_labels_are_pillows_nearest_and_then_torchs(tmp_path: Path, side: int, through: int):
    labelled = write(tmp_path, [(213, 320), (33, 500), (through, 301)])  # no ties: Pillow adds up roundings
    found = small_labels(labelled, side, through)

    for ids, (_, mask) in zip(found, labelled.pairs, strict=True):
        square = Image.open(mask).resize((through, through), Image.Resampling.NEAREST)
        pixels = torch.from_numpy(np.array(square))[None, None]
        small = F.interpolate(pixels, (side, side), mode="nearest")[0, 0].numpy()
        rows = np.select([small == 0, small == 7, small == 9], [0, 1, 2], 255)
        assert ids.dtype == np.uint8
        assert np.array_equal(ids, rows)


def test_classes_that_are_left_out_are_without_a_label(tmp_path: Path):
    labelled = write(tmp_path, [(30, 40)])
    (all_three,), (two,) = small_labels(labelled), small_labels(labelled.without(["cow"]))
    assert np.array_equal(two, np.select([all_three == 0, all_three == 2], [0, 1], 255))


@pytest.mark.parametrize("side", [100, 300, None])
def test_labels_that_were_checked_are_those_that_are_read(tmp_path: Path, side: int | None):
    labelled = write(tmp_path, [(30, 40), (50, 20)])
    maps, found = LabelMaps(labelled, side, 448), checked_labels(labelled, side, 448)
    assert len(found) == len(maps) == 2
    for index in range(2):
        assert np.array_equal(found[index], maps[index])
    assert found[1].shape == ((side, side) if side else (50, 20))


@pytest.mark.parametrize("side", [100, 300, None])
def test_a_mask_that_does_not_fit_is_noticed_before_it_is_needed(tmp_path: Path, side: int | None):
    labelled = write(tmp_path, [(30, 40), (50, 20)])
    Image.new("L", (5, 5)).save(tmp_path / "masks" / "1.png")
    with pytest.raises(LeopartError, match=r"1\.png has 5x5 pixels, but its photo .* has 20x50"):
        checked_labels(labelled, side, 448)


@pytest.mark.parametrize("side", [100, 300, None])
def test_masks_without_any_label_are_refused(tmp_path: Path, side: int | None):
    labelled = write(tmp_path, [(30, 40)])
    Image.new("L", (40, 30), 255).save(tmp_path / "masks" / "0.png")
    with pytest.raises(LeopartError, match="no pixel of the masks has a label that counts"):
        checked_labels(labelled, side, 448)

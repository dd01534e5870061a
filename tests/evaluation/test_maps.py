from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo
from leopart.errors import LeopartError
from leopart.evaluation.maps import MapWriter


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledPhotos:
    path = tmp_path / "images" / "deep" / "a.jpg"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (31, 20)).save(path)
    classes = {0: "background", 7: "cow", 300: "sky"}
    return LabelledPhotos(tmp_path, classes, [(Photo(path, "deep/a.jpg"), tmp_path / "none.png")])


def test_maps_hold_class_ids_at_the_photos_size(labelled: LabelledPhotos, tmp_path: Path):
    labelled = LabelledPhotos(labelled.path, {0: "background", 7: "cow"}, labelled.pairs)
    rows = np.array([[0, 1, 1], [-1, 255, 0]])
    MapWriter(tmp_path / "maps", labelled).write("k8", 0, rows)

    with Image.open(tmp_path / "maps" / "k8" / "deep" / "a.png") as picture:
        assert picture.mode == "P"
        found = np.array(picture)
        assert picture.getpalette()[3 * 255 : 3 * 256] == [224, 224, 192]
    ids = torch.tensor([[0, 7, 7], [255, 255, 0]], dtype=torch.uint8)
    assert np.array_equal(found, F.interpolate(ids[None, None], (20, 31), mode="nearest")[0, 0].numpy())


def test_large_class_ids_are_kept_in_16_bits(labelled: LabelledPhotos, tmp_path: Path):
    MapWriter(tmp_path / "maps", labelled).write("x", 0, np.array([[2]]))
    with Image.open(tmp_path / "maps" / "x" / "deep" / "a.png") as picture:
        assert np.unique(np.array(picture)).tolist() == [300]


def test_foreground_is_1(labelled: LabelledPhotos, tmp_path: Path):
    MapWriter(tmp_path / "maps", labelled).write_mask("attention", 0, np.array([[True, False]]))
    with Image.open(tmp_path / "maps" / "attention" / "deep" / "a.png") as picture:
        found = np.array(picture)
    assert np.array_equal(found, np.repeat([[1] * 16 + [0] * 15], 20, 0))  # cell floor(x * 2 / 31)


def test_nothing_is_written_where_nothing_is_asked_for(labelled: LabelledPhotos, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    writer = MapWriter(None, labelled)
    writer.write("k8", 0, np.array([[0]]))
    writer.write_mask("k8", 0, np.array([[0]]))
    assert not writer.wanted
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_is_told_before_anything_is_written(labelled: LabelledPhotos, tmp_path: Path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LeopartError, match=r"cannot write .*file.*; choose another output folder"):
            MapWriter(folder, labelled)

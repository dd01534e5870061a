"""Files of one photo, from a part model made by hand.

Tokens (1, 0) are part 1, (3, 0) part 2, (0, 1) background.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.data.photos import Photo
from leopart.drawing import palette
from leopart.errors import LeopartError, PhotoError
from leopart.segment import outputs
from leopart.segment.outputs import MaskWriter, Wanted
from leopart.segment.part_model import PartModel
from leopart.segment.report.page import THUMBNAIL
from leopart.segment.survey import Patch

PART_1, PART_2, NOTHING = (1, 0), (3, 0), (0, 1)


@pytest.fixture
def model() -> PartModel:
    """Part 1 belongs to object 2, part 2 to object 1."""
    return PartModel(
        Reduction(torch.zeros(2), torch.eye(2)),
        KMeans(torch.eye(2), spherical=True, objective=0.0),
        torch.tensor([True, False]),
        KMeans(torch.tensor([PART_1, PART_2]).float(), spherical=False, objective=0.0),
        np.array([0, 2, 1]),
    )


@pytest.fixture
def tokens() -> np.ndarray:
    """Part 1 top left, part 2 top right, nothing below: [2, 2, 2]."""
    return np.array([[PART_1, PART_2], [NOTHING, NOTHING]], np.float16)


@pytest.fixture
def planted(tmp_path) -> Photo:
    """Every pixel says where it is: red = column, green = row; 120 wide, 80 high."""
    y, x = np.mgrid[:80, :120].astype(np.uint8)
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=2)).save(path)
    return Photo(path, "sub/a.png")


def read(path) -> tuple[np.ndarray, np.ndarray]:
    with Image.open(path) as mask:
        return np.asarray(mask), np.array(mask.getpalette()).reshape(-1, 3)


def test_both_masks_have_the_photos_size_the_ids_of_the_model_and_its_colours(
    tmp_path, model, tokens, planted
):
    MaskWriter(tmp_path, model, overlays=False).write(planted, "sub/a", tokens)
    parts, part_colours = read(tmp_path / "parts" / "sub" / "a.png")
    objects, object_colours = read(tmp_path / "objects" / "sub" / "a.png")

    assert parts.shape == objects.shape == (80, 120)
    assert (parts[5, 5], parts[5, 115], parts[75, 5], parts[75, 115]) == (1, 2, 0, 0)
    np.testing.assert_array_equal(objects, np.array([0, 2, 1])[parts])
    np.testing.assert_array_equal(part_colours[:3], palette.part_colours(model.object_of_part)[:3])
    np.testing.assert_array_equal(object_colours[:3], palette.colours(3))
    edge = np.flatnonzero(parts[5] == 2)[0]
    assert abs(edge - 60) <= 12, "the border lies between the centres of the tokens"


def test_without_overlays_and_wishes_the_pixels_are_never_decoded(
    tmp_path, model, tokens, planted, monkeypatch
):
    monkeypatch.setattr(outputs, "load_photo", lambda *_, **__: pytest.fail("decoded"))
    written = MaskWriter(tmp_path, model, overlays=False).write(planted, "a", tokens)

    assert not (tmp_path / "overlays").exists()
    assert (written.row.name, written.row.link, written.row.photo) == ("sub/a.png", None, None)
    assert written.objects == (1, 2)


def test_objects_that_are_not_in_the_photo_are_not_listed(tmp_path, model, tokens, planted):
    only, nothing = (np.tile(np.array(kind, np.float16), (2, 2, 1)) for kind in (PART_1, NOTHING))
    writer = MaskWriter(tmp_path, model, overlays=False)

    assert writer.write(planted, "a", only).objects == (2,)
    assert writer.write(planted, "b", nothing).objects == ()


@pytest.mark.parametrize(("beside", "expected"), [(PART_1, 1), (PART_2, 3)])
def test_the_parts_around_it_decide_on_the_object_of_a_part(tmp_path, model, planted, beside, expected):
    """Part 2 beside part 1 is object 1, by itself object 3."""
    mixture = ObjectMixture(np.array([[0.6, 0.4], [1.0, 0.0], [0.0, 1.0]]))
    writer = MaskWriter(tmp_path, replace(model, mixture=mixture), overlays=False)
    tokens = np.array([[beside, beside, PART_2], [NOTHING] * 3], np.float16)
    written = writer.write(planted, "a", tokens, Wanted(row=True))
    parts, _ = read(tmp_path / "parts" / "a.png")
    objects, colours = read(tmp_path / "objects" / "a.png")

    assert parts[5, 115] == 2
    assert set(objects[parts == 2]) == {expected}
    assert (objects[parts == 0] == 0).all()
    assert written.objects == tuple(np.unique(objects[objects > 0]))
    np.testing.assert_array_equal(colours[:4], palette.colours(4))
    shown = written.row.objects[20, 110].astype(float)
    np.testing.assert_allclose(shown, (np.array([110, 20, 0]) + palette.colours(4)[expected]) / 2, atol=4)


def test_an_overlay_tints_the_photo_by_its_parts(tmp_path, model, tokens, planted):
    written = MaskWriter(tmp_path, model, overlays=True).write(planted, "sub/a", tokens)

    assert written.row.link == "overlays/sub/a.jpg"
    assert written.row.photo is None
    with Image.open(tmp_path / "overlays" / "sub" / "a.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (120, 80))
        pixel = np.array(picture)[10, 15].astype(float)
    colour = palette.part_colours(model.object_of_part)[1]
    np.testing.assert_allclose(pixel, (np.array([15, 10, 0]) + colour) / 2, atol=12)


def test_the_row_of_the_contact_sheet_is_photo_parts_and_objects_at_one_small_size(tmp_path, model, tokens):
    path = tmp_path / "wide.png"
    Image.new("RGB", (THUMBNAIL * 3, 300)).save(path)
    wanted = Wanted(row=True)
    row = MaskWriter(tmp_path, model, overlays=False).write(Photo(path, "wide.png"), "w", tokens, wanted).row

    assert row.photo.shape == row.parts.shape == row.objects.shape == (100, THUMBNAIL, 3)
    assert row.link is None
    part, thing = row.parts[25, 60].astype(int), row.objects[25, 60].astype(int)
    np.testing.assert_allclose(part, palette.part_colours(model.object_of_part)[1] / 2, atol=2)
    np.testing.assert_allclose(thing, palette.colours(3)[2] / 2, atol=2)


@pytest.mark.parametrize(
    ("y", "x", "top", "left"),
    [(0.5, 0.5, 29, 49), (0.0, 0.0, 0, 0), (1.0, 1.0, 58, 98), (0.5, 0.0, 29, 0), (0.25, 0.75, 9, 79)],
)
def test_a_patch_is_a_square_around_its_place_moved_inside_the_photo(
    tmp_path, model, tokens, planted, y, x, top, left
):
    patch = Patch(0.0, 0, y, x)
    writer = MaskWriter(tmp_path, model, overlays=False)
    (cut,) = writer.write(planted, "a", tokens, Wanted(patches=(patch,))).patches

    assert cut.shape == (22, 22, 3), "0.28 of the shorter side"
    assert cut[0, 0].tolist() == [left, top, 0]
    assert cut[-1, -1].tolist() == [left + 21, top + 21, 0]


def test_patches_come_in_the_order_they_were_asked_for(tmp_path, model, tokens, planted):
    wanted = Wanted(patches=(Patch(0.0, 0, 1.0, 1.0), Patch(9.0, 0, 0.0, 0.0)))
    last, first = MaskWriter(tmp_path, model, overlays=False).write(planted, "a", tokens, wanted).patches

    assert (last[0, 0].tolist(), first[0, 0].tolist()) == ([98, 58, 0], [0, 0, 0])


def test_a_big_jpeg_is_decoded_small_and_its_masks_are_still_full_size(tmp_path, model, tokens, monkeypatch):
    path = tmp_path / "big.jpg"
    Image.new("RGB", (3000, 1500), (90, 90, 90)).save(path)
    decoded, real = [], outputs.load_photo

    def load(*args, **options):
        decoded.append(real(*args, **options))
        return decoded[-1]

    monkeypatch.setattr(outputs, "load_photo", load)
    wanted = Wanted(row=True, patches=(Patch(0.0, 0, 0.25, 0.25),))
    written = MaskWriter(tmp_path, model, overlays=True).write(Photo(path, "big.jpg"), "big", tokens, wanted)

    assert decoded[0].shape == (750, 1500, 3)
    assert read(tmp_path / "parts" / "big.png")[0].shape == (1500, 3000)
    assert written.row.photo.shape == (THUMBNAIL // 2, THUMBNAIL, 3)
    with Image.open(tmp_path / "overlays" / "big.jpg") as picture:
        assert picture.size == (1280, 640)
        corners = np.array(picture)[[100, 100, 600], [100, 1200, 100]].astype(float)
    colours = palette.part_colours(model.object_of_part)[1:3]
    np.testing.assert_allclose(corners[:2], (90 + colours.astype(float)) / 2, atol=12)
    assert np.ptp(corners[2]) < 3, "grey stays grey where nothing is"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2000, 3)])
def test_photos_of_extreme_shape_get_all_their_files(tmp_path, model, tokens, width, height):
    path = tmp_path / "odd.png"
    Image.new("RGB", (width, height)).save(path)
    wanted = Wanted(row=True, patches=(Patch(0.0, 0, 0.9, 0.9),))
    written = MaskWriter(tmp_path, model, overlays=True).write(Photo(path, "odd.png"), "odd", tokens, wanted)

    assert read(tmp_path / "parts" / "odd.png")[0].shape == (height, width)
    assert written.patches[0].shape == (1, 1, 3)
    assert (tmp_path / "overlays" / "odd.jpg").is_file()


def test_a_photo_that_is_gone_leaves_no_files(tmp_path, model, tokens, planted):
    planted.path.unlink()
    with pytest.raises(PhotoError, match="is not there"):
        MaskWriter(tmp_path / "out", model, overlays=True).write(planted, "a", tokens)

    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, model, tokens, planted):
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(LeopartError, match=r"cannot write .*parts/a\.png: ") as caught:
        MaskWriter(tmp_path, model, overlays=True).write(planted, "a", tokens)

    assert not isinstance(caught.value, PhotoError), "the disk's fault, not the photo's"

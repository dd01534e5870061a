from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.datasets.folder import open_folder, read_classes
from leopart.errors import LeopartError

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def labelled(path: Path) -> Path:
    """Three photos 6x4 with ids 0, 3 and 200, and a second mask folder without background."""
    for stem in ("a", "b", "more/c"):
        for folder, suffix in (("images", ".jpg"), ("masks", ".png"), ("masks_coarse", ".png")):
            file = path / folder / f"{stem}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if folder == "images":
                Image.new("RGB", (6, 4), "red").save(file)
            else:
                ids = np.full((4, 6), 255, np.uint8)
                ids[:2] = (0, 0, 3, 3, 200, 200) if folder == "masks" else 1
                Image.fromarray(ids).save(file)
    (path / "classes.txt").write_text("200\tsky\n0\tbackground\n\n3\tcow\n")
    (path / "classes_coarse.txt").write_text("0\tcow\n1\tsky\n")
    (path / "val.txt").write_text("more/c\na\n")
    return path


def test_a_complete_folder_opens(tmp_path: Path):
    folder = open_folder(labelled(tmp_path))

    assert folder.classes == {0: "background", 3: "cow", 200: "sky"}
    assert list(folder.classes) == [0, 3, 200]
    assert [photo.name for photo, _ in folder.pairs] == ["a.jpg", "b.jpg", "more/c.jpg"]
    assert folder.pairs[2][1] == tmp_path / "masks" / "more" / "c.png"
    assert folder.background == 0


def test_sparse_ids_become_rows(tmp_path: Path):
    folder = open_folder(labelled(tmp_path))
    rows = folder.rows(folder.read_mask(*folder.pairs[0]))

    assert rows.dtype == np.uint8
    assert rows.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[255] * 6] * 2


def test_classes_that_are_left_out_lose_their_rows_and_their_pixels(tmp_path: Path):
    folder = open_folder(labelled(tmp_path)).without(["Cow"])
    rows = folder.rows(folder.read_mask(*folder.pairs[0]))

    assert folder.classes == {0: "background", 200: "sky"}
    assert folder.background == 0
    assert rows.tolist() == [[0, 0, 255, 255, 1, 1]] * 2 + [[255] * 6] * 2
    more = folder.without(["background"])
    assert (more.classes, more.background) == ({200: "sky"}, None)
    assert more.rows(more.read_mask(*more.pairs[0])).tolist()[0] == [255, 255, 255, 255, 0, 0]
    assert open_folder(tmp_path).without([]) == open_folder(tmp_path)


def test_ids_that_are_neither_counted_nor_left_out_are_refused_still(tmp_path: Path):
    strange_ids(labelled(tmp_path))
    folder = open_folder(tmp_path).without(["cow"])
    with pytest.raises(LeopartError, match=r"b\.png holds the ids 7, which are no classes"):
        folder.read_mask(*folder.pairs[1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cows"], "there is no class 'cows' to ignore; did you mean cow?"),
        (["zebra"], "no class 'zebra' to ignore; the classes are: background, cow, sky"),
        (["cow", "background", "sky"], "every class is ignored"),
    ],
)
def test_a_class_that_cannot_be_left_out_is_refused(tmp_path: Path, names: list[str], message: str):
    with pytest.raises(LeopartError, match=re.escape(message)):
        open_folder(labelled(tmp_path)).without(names)


@pytest.mark.parametrize("name", ["coarse", "masks_coarse"])
def test_another_mask_folder_has_its_own_classes_and_no_background(tmp_path: Path, name: str):
    folder = open_folder(labelled(tmp_path), masks=name)
    assert folder.classes == {0: "cow", 1: "sky"}
    assert folder.background is None
    assert folder.pairs[0][1] == tmp_path / "masks_coarse" / "a.png"


def test_a_split_chooses_photos_in_its_order(tmp_path: Path):
    folder = open_folder(labelled(tmp_path), split="val")
    assert [photo.name for photo, _ in folder.pairs] == ["more/c.jpg", "a.jpg"]


def test_one_level_too_high_or_too_deep_is_said(tmp_path: Path):
    inside = labelled(tmp_path / "set")
    with pytest.raises(LeopartError, match=rf"one level too high: give {inside}"):
        open_folder(tmp_path)
    with pytest.raises(LeopartError, match=rf"one level too deep: give {inside}"):
        open_folder(inside / "images")
    with pytest.raises(LeopartError, match=rf"two levels too deep: give {inside}"):
        open_folder(inside / "masks" / "more")


def remove_mask(path: Path) -> None:
    (path / "masks" / "b.png").unlink()


def larger_mask(path: Path) -> None:
    Image.new("L", (7, 4)).save(path / "masks" / "b.png")


def strange_ids(path: Path) -> None:
    Image.new("L", (6, 4), 7).save(path / "masks" / "b.png")


def same_stem_twice(path: Path) -> None:
    Image.new("RGB", (6, 4)).save(path / "images" / "b.png")


def no_photos(path: Path) -> None:
    for photo in (path / "images").rglob("*.jpg"):
        photo.unlink()


def read_everything(path: Path) -> None:
    folder = open_folder(path)
    for pair in folder.pairs:
        folder.read_mask(*pair)


def words(name: str, text: str):
    return lambda path: (path / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_mask, r"1 of 3 photos have no mask, the first missing is .*b\.png"),
        (larger_mask, r"b\.png has 7x4 pixels, but its photo .*b\.jpg has 6x4"),
        (strange_ids, r"b\.png holds the ids 7, which are no classes"),
        (same_stem_twice, r"b\.jpg and b\.png would share the mask b\.png"),
        (no_photos, "no photos in .*images"),
        (lambda path: (path / "classes.txt").unlink(), r"there is no .*classes\.txt"),
        (words("classes.txt", "\n"), "lists 0 classes"),
        (words("classes.txt", "0 background"), "line 1 of .* is '0 background'"),
        (words("classes.txt", "0\ta\n0\tb"), "line 2 of .*: the id 0 is there already"),
        (words("classes.txt", "255\tvoid"), "the id 255 cannot be a class"),
        (words("classes.txt", "70000\tx"), "the id 70000 cannot be a class"),
        (lambda path: (path / "classes.txt").write_bytes(b"\xff\xfe"), "UTF-8"),
    ],
)
def test_an_incomplete_folder_is_refused_with_the_reason(tmp_path: Path, spoil, message: str):
    spoil(labelled(tmp_path))
    with pytest.raises(LeopartError, match=message):
        read_everything(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (words("val.txt", "\n\n"), r"val\.txt is empty"),
        (words("val.txt", "a\nb.jpg"), r"lists 1 names without a photo.* is 'b\.jpg'"),
        (words("val.txt", "a\nb\na"), r"lists 'a' twice"),
        (lambda path: (path / "val.txt").rename(path / "test.txt"), r"no list val\.txt; choose one of: test"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, spoil, message: str):
    spoil(labelled(tmp_path))
    with pytest.raises(LeopartError, match=message):
        open_folder(tmp_path, split="val")


def test_a_mask_folder_that_is_not_there_names_those_that_are(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"no folder masks_fine/; choose one of: masks, masks_coarse"):
        open_folder(labelled(tmp_path), masks="fine")


def test_a_folder_that_is_no_set_or_no_folder(tmp_path: Path):
    with pytest.raises(LeopartError, match="a labelled set has images/"):
        open_folder(tmp_path)
    with pytest.raises(LeopartError, match="there is no folder"):
        open_folder(tmp_path / "nowhere")


def test_classes_survive_windows_editors(tmp_path: Path):
    (tmp_path / "classes.txt").write_bytes("\ufeff0\tbackground\r\n1\tsea  gull\r\n".encode())
    assert read_classes(tmp_path / "classes.txt") == {0: "background", 1: "sea  gull"}


@pytest.mark.skipif(not DATA.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder")
@pytest.mark.parametrize(
    ("name", "masks", "photos", "classes", "background"),
    [
        ("msrc21", "masks", 591, 23, None),
        ("msrc21", "voclike", 591, 16, 0),
        ("coco100", "masks", 100, 133, None),
        ("coco100", "thing12", 100, 12, None),
        ("coco100", "stuff15", 100, 15, None),
        ("car_parts", "masks", 120, 19, 0),
    ],
)
def test_the_development_sets_are_complete(name: str, masks: str, photos: int, classes: int, background):
    folder = open_folder(DATA / name, masks)

    assert (len(folder.pairs), len(folder.classes), folder.background) == (photos, classes, background)
    for pair in folder.pairs[::10]:
        rows = folder.rows(folder.read_mask(*pair))
        assert set(np.unique(rows).tolist()) <= {*range(classes), 255}

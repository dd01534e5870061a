from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from leopart.data.datasets.folder import open_folder
from leopart.data.datasets.labelled import LAYOUTS, labelled_photos
from leopart.data.photos import Photo
from leopart.errors import LeopartError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "masks", "masks_two"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for stem in ("a", "b"):
            Image.new("RGB" if name == "images" else "L", (6, 4)).save(
                tmp_path / "set" / name / f"{stem}.png"
            )
    (tmp_path / "set" / "classes.txt").write_text("0\tbackground\n")
    (tmp_path / "set" / "classes_two.txt").write_text("0\tcow\n")
    (tmp_path / "set" / "val.txt").write_text("b\n")
    return tmp_path / "set"


@pytest.mark.parametrize("form", ["folder:{}", "{}"])
def test_a_folder_is_named_or_a_path_alone(folder: Path, form: str):
    found = labelled_photos(form.format(folder), "two", "val")
    assert found == open_folder(folder, "two", "val")
    assert (list(found.classes.values()), len(found.pairs)) == (["cow"], 1)


def test_a_path_may_hold_a_colon_and_a_home(folder: Path, monkeypatch: pytest.MonkeyPatch):
    odd = folder.rename(folder.with_name("voc:x"))
    assert labelled_photos(str(odd)).path == odd
    monkeypatch.setenv("HOME", str(odd.parent))
    assert labelled_photos("folder:~/voc:x").path == odd


@pytest.mark.parametrize("data", ["cityscapes:/nowhere", "nowhere"])
def test_what_is_no_labelled_set_is_refused(data: str):
    with pytest.raises(
        LeopartError, match="is no labelled set; write folder:PATH or voc:PATH or coco-stuff:PA"
    ):
        labelled_photos(data)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_path_that_is_not_there_is_told(tmp_path: Path, name: str):
    with pytest.raises(LeopartError, match=r"there is no folder .*missing; check the path"):
        labelled_photos(f"{name}:{tmp_path / 'missing'}")
    (tmp_path / "file").touch()
    with pytest.raises(LeopartError, match=r"file is no folder; check the path"):
        labelled_photos(f"{name}:{tmp_path / 'file'}")


@pytest.mark.parametrize("name", LAYOUTS[1:])
def test_other_masks_and_splits_than_there_are_are_refused(tmp_path: Path, name: str):
    with pytest.raises(LeopartError, match=f"--masks fine is for folder:PATH, and {name} has one kind"):
        labelled_photos(f"{name}:{tmp_path}", masks="fine")
    with pytest.raises(LeopartError, match=f"{name} has no split test; choose --split (val or train|street)"):
        labelled_photos(f"{name}:{tmp_path}", split="test")


def test_a_list_may_lie_anywhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.txt").write_text("b\na\n")
    found = labelled_photos(f"folder:{folder}", split=str(tmp_path / "mine.txt"))
    assert [photo.name for photo, _ in found.pairs] == ["b.png", "a.png"]
    monkeypatch.chdir(tmp_path)
    assert labelled_photos(f"folder:{folder}", split="mine.txt") == found
    with pytest.raises(
        LeopartError, match=r"there is no list other\.txt; choose one of: val, or give the path"
    ):
        labelled_photos(f"folder:{folder}", split="other.txt")


def test_a_sample_is_spread_and_always_the_same(folder: Path):
    whole = labelled_photos(f"folder:{folder}")
    many = whole.pairs * 500
    numbered = replace(whole, pairs=[(Photo(p.path, str(i)), m) for i, (p, m) in enumerate(many)])
    chosen = [int(photo.name) for photo, _ in numbered.sample(100).pairs]
    assert chosen == sorted(set(chosen)) == [int(photo.name) for photo, _ in numbered.sample(100).pairs]
    assert len(chosen) == 100
    assert min(chosen) < 100
    assert max(chosen) > 900
    assert whole.sample(2) == whole.sample(99) == whole

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from leopart.data.datasets.folder import open_folder
from leopart.data.datasets.labelled import labelled_photos
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


@pytest.mark.parametrize("data", ["voc:/nowhere", "nowhere"])
def test_what_is_no_labelled_set_is_refused(data: str):
    with pytest.raises(LeopartError, match="is no labelled set; write folder:PATH"):
        labelled_photos(data)

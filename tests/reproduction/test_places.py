"""Data sets are found below one folder by what is in them; nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

import small_sets
from leopart.errors import LeopartError
from leopart.reproduction.places import Places


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """VOC, COCO and ImageNet-100 in folders of any name, beside folders that are none."""
    small_sets.voc(tmp_path / "pascal")
    small_sets.coco(tmp_path / "ms")
    small_sets.photo(tmp_path / "net" / "train" / "n02869837" / "a.JPEG")
    (tmp_path / "net" / "imagenet100.txt").write_text("n02869837\n")
    small_sets.photo(tmp_path / "holiday" / "beach.jpg")
    return tmp_path


def test_every_set_is_found_by_what_is_in_it(root: Path):
    places = Places(root)
    found = {name: places.path(name) for name in ("voc", "coco", "coco-stuff", "coco-thing", "imagenet100")}
    ms = root / "ms"
    assert found == {
        "voc": root / "pascal",
        "coco": ms,
        "coco-stuff": ms,
        "coco-thing": ms,
        "imagenet100": root / "net",
    }
    assert places.path("ade20k-parts") is None


def test_the_release_of_ade20k_is_found_in_the_root_itself(tmp_path: Path):
    small_sets.ade20k(tmp_path)
    assert Places(tmp_path).path("ade20k-parts") == tmp_path


def test_a_folder_with_the_sets_name_wins(root: Path):
    small_sets.voc(root / "voc")
    small_sets.voc(root / "a")
    assert Places(root).path("voc") == root / "voc"


def test_a_place_that_is_given_wins(root: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    places = Places(root, [f"voc:{elsewhere}"])
    assert places.path("voc") == elsewhere
    assert places.path("coco") == root / "ms"


@pytest.mark.parametrize("words", ["PATH", "city:PATH", ":PATH"])
def test_a_place_without_a_known_name_is_refused(words: str):
    with pytest.raises(LeopartError, match=r"names no data set; write one of folder:PATH, voc:PATH"):
        Places(None, [words])


def test_a_root_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"there is no folder .*nowhere; check the path"):
        Places(tmp_path / "nowhere")

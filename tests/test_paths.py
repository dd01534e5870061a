from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.errors import LeopartError
from leopart.paths import inside, shown


@pytest.mark.parametrize("name", ["a.jpg", "a/b c/ü.jpg", "a/../b.jpg", "./a", "..a", "a..b/..c", "C:x"])
def test_a_name_below_the_folder_is_joined(tmp_path: Path, name: str):
    place = inside(tmp_path, name, "list.txt")
    assert os.path.normpath(tmp_path / name) == str(place)
    assert place.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a/..", "a\0b", "a\ud800", "a" * 2000]
)
def test_a_name_that_leads_elsewhere_is_refused_with_the_file_that_holds_it(tmp_path: Path, name: str):
    with pytest.raises(LeopartError, match=r"list\.txt names .* is no path below .*; correct the name"):
        inside(tmp_path, name, "list.txt")


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path):
    with pytest.raises(LeopartError, match="is no path below"):
        inside(tmp_path / "set", "../set2/a.jpg", "list.txt")


def test_the_working_folder_itself_can_be_the_folder():
    assert inside(Path(), "a/b.jpg", "list.txt") == Path("a/b.jpg")
    with pytest.raises(LeopartError, match="is no path below"):
        inside(Path(), "../b.jpg", "list.txt")


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b.jpg", "/", "\\", "C:"]), max_size=6).map("/".join))
def test_no_name_leads_out(name: str):
    root = Path("/data/set")
    try:
        place = inside(root, name, "list.txt")
    except LeopartError:
        return
    assert os.path.commonpath([os.path.abspath(place), root]) == str(root)  # noqa: PTH100 - the oracle
    assert place != root


def test_bytes_that_are_not_utf8_are_shown():
    assert shown(os.fsdecode(b"caf\xe9.png")) == "caf\ufffd.png"


def test_half_a_character_is_shown():
    assert shown("a\ud800.png") == "a?.png"

"""The list of a run's photos."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from leopart.data.photo_list import PHOTO_LIST, PhotoEntry, read_photo_list, write_photo_list
from leopart.errors import LeopartError


def entry(folder: Path, name: str) -> PhotoEntry:
    file = folder / name
    file.write_bytes(b"123")
    return PhotoEntry.of(name, file, "a/b", (5, 7))


def test_entries_are_read_as_they_were_written_whatever_the_file_is_called(tmp_path: Path):
    entries = [entry(tmp_path, "été.jpg"), entry(tmp_path, os.fsdecode(b"\xff.jpg"))]
    write_photo_list(tmp_path, entries)

    assert read_photo_list(tmp_path) == entries
    assert (entries[0].width, entries[0].height, entries[0].bytes) == (7, 5, 3)


def test_a_photo_that_was_changed_or_has_gone_is_known(tmp_path: Path):
    photo = entry(tmp_path, "a.jpg")
    assert not photo.changed
    os.utime(photo.path, ns=(0, 0))
    assert photo.changed
    Path(photo.path).unlink()
    assert photo.changed


def test_a_mask_outside_of_the_run_is_refused(tmp_path: Path):
    photo = entry(tmp_path, "a.jpg")
    assert photo.mask_path(tmp_path, "parts") == tmp_path / "parts" / "a" / "b.png"
    hostile = PhotoEntry(**{**vars(photo), "mask": "../../etc/passwd"})
    with pytest.raises(LeopartError, match="no path below"):
        hostile.mask_path(tmp_path, "parts")


@pytest.mark.parametrize("line", ["{", "[]", '{"name": 3}', "\xff", "[" * 100_000])
def test_a_damaged_line_is_one_sentence(tmp_path: Path, line: str):
    write_photo_list(tmp_path, [entry(tmp_path, "a.jpg")])
    with (tmp_path / PHOTO_LIST).open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    with pytest.raises(LeopartError, match=r"line 2 of .*photos\.jsonl is damaged") as error:
        read_photo_list(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_list_is_told_with_the_remedy(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"has no list of its photos.*run the same"):
        read_photo_list(tmp_path)


def test_a_list_is_plain_text_a_line_a_photo(tmp_path: Path):
    write_photo_list(tmp_path, [entry(tmp_path, "a.jpg"), entry(tmp_path, "b.jpg")])
    lines = (tmp_path / PHOTO_LIST).read_text("ascii").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a.jpg", "b.jpg"]

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from leopart.errors import LeopartError
from leopart.files import sha256, whole_file, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_with_its_whole_content(tmp_path: Path):
    path = tmp_path / "new" / "folders" / "a.bin"
    with whole_file(path) as file:
        file.write(b"one ")
        file.flush()
        assert not path.exists()
        file.write(b"two")

    assert path.read_bytes() == b"one two"
    assert names(path.parent) == ["a.bin"]


def test_an_older_file_is_replaced(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("a long old text")
    write_text(path, "né")
    assert path.read_bytes() == "né".encode()
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_is_put_away_whole_and_never_written_into(tmp_path: Path):
    path, other_name = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("old")
    other_name.hardlink_to(path)
    write_text(path, "new")
    assert (path.read_text(), other_name.read_text()) == ("new", "old")


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: BaseException):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_full_disk_is_told_in_one_sentence_and_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        LeopartError, match=r"cannot write .*a\.bin: No space left on device; free some space"
    ):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_an_unwritable_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path, mode: str = "r") -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, whom no permission stops
    with pytest.raises(LeopartError, match=r"cannot write .*a\.txt: Permission denied"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == []


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LeopartError, match=r"cannot write .*a\.txt: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_a_folder_in_the_place_of_the_file_is_kept(tmp_path: Path):
    (tmp_path / "a.txt" / "inside").mkdir(parents=True)
    with pytest.raises(LeopartError, match=r"cannot write .*a\.txt"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == ["a.txt"]
    assert names(tmp_path / "a.txt") == ["inside"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write(b"first")
        write_text(path, "second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_hash_is_that_of_the_bytes(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()

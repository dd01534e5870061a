from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from leopart.errors import LeopartError
from leopart.files import (
    append_text,
    put_back,
    remove_unfinished,
    remove_unfinished_versions,
    sha256,
    whole_file,
    write_text,
)


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


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space or choose"),
        (errno.EACCES, "check the permissions of the folder or choose"),
        (errno.EROFS, "make the disk writable or choose"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "Input/output error; choose another output folder"),
    ],
)
def test_the_advice_fits_what_the_system_says(tmp_path: Path, number: int, advice: str):
    def write() -> None:
        with whole_file(tmp_path / "a"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(LeopartError, match=advice) as error:
        write()
    assert ("free some space" in str(error.value)) is (number == errno.ENOSPC)


def test_a_disk_that_fills_up_while_torch_saves_is_told(tmp_path: Path):
    """`torch.save` raises RuntimeError as it closes an archive that it could not write."""

    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def write() -> None:
        with whole_file(tmp_path / "a"):
            torch.save({"a": torch.zeros(10_000)}, Full())

    with pytest.raises(LeopartError, match="No space left on device; free some space"):
        write()
    assert names(tmp_path) == []


def test_an_error_of_another_kind_is_left_alone(tmp_path: Path):
    def write() -> None:
        with whole_file(tmp_path / "a"):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        write()


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "log"
    append_text(path, "one\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))
    try:
        with pytest.raises(LeopartError, match="File too large; raise the limit"):
            append_text(path, "two\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert path.read_text() == "one\n"
    append_text(path, "two\n")
    assert path.read_text() == "one\ntwo\n"


def fail_after(path: Path, text: str, error: BaseException, done: bool = False) -> None:
    with put_back(path, unless=lambda: done):
        write_text(path, text)
        raise error


@pytest.mark.parametrize("before", [None, "old"])
def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path, before: str | None):
    path = tmp_path / "a"
    if before is not None:
        path.write_text(before)
    with pytest.raises(LeopartError, match="no photos"):
        fail_after(path, "new", LeopartError("no photos"))
    assert names(tmp_path) == ([] if before is None else ["a"])
    assert before is None or path.read_text() == before


@pytest.mark.parametrize(("error", "done"), [(KeyboardInterrupt(), False), (LeopartError("full"), True)])
def test_an_interruption_or_work_that_was_begun_keeps_the_file(
    tmp_path: Path, error: BaseException, done: bool
):
    with pytest.raises(type(error)):
        fail_after(tmp_path / "a", "new", error, done)
    assert (tmp_path / "a").read_text() == "new"


def test_only_what_was_being_written_is_removed(tmp_path: Path):
    def write() -> None:
        with whole_file(tmp_path / "scores.json"):
            for path in list(tmp_path.iterdir()):  # as `kill` would leave it
                other = "1" if path.name[-6] == "0" else "0"
                (tmp_path / f"{path.name[:-6]}{other}{path.name[-5:]}").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    (tmp_path / ".0123456789abcdef.part").touch()
    (tmp_path / "mine.part").touch()
    assert len(names(tmp_path)) == 3
    remove_unfinished_versions(tmp_path / "scores.json")
    assert names(tmp_path) == [".0123456789abcdef.part", "mine.part"]
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["mine.part"]

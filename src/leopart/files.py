"""Whole files only: everything is written aside and renamed into place."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from leopart.errors import LeopartError
from leopart.paths import clipped, shown

_ASIDE = re.compile(r"\.[0-9a-f]{16}\.part")
_REMEDIES = {
    errno.ENOSPC: "free some space",
    getattr(errno, "EDQUOT", errno.ENOSPC): "free some space in your quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "check the permissions of the folder",
    errno.EPERM: "check the permissions of the folder",
    errno.EROFS: "make the disk writable",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "remove the link that leads to itself",
}


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing; rename it to `path` only if the block succeeds.

    An interruption, an error or a full disk leaves the old file (or none) behind, never half a new one.

    Raises:
        LeopartError: the folder cannot be written to or the disk is full.
    """
    aside = path.with_name(f".{_mark(path)}{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            yield file
        aside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except RuntimeError as error:  # `torch.save` closes its archive, and hides what went wrong before
        if not isinstance(error.__context__, OSError):
            raise
        raise cannot_write(path, error.__context__) from error
    finally:
        with suppress(OSError):  # a folder that could not be made, or has gone, needs no tidying
            aside.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> LeopartError:
    """That a file or folder could not be written, why, and what can be done in this case."""
    return LeopartError(f"cannot write {shown(path)}: {reason_and_remedy(error)}")


def reason_and_remedy(error: OSError) -> str:
    """What the system says, and what can be done about it: the end of a message about writing."""
    remedy = _REMEDIES.get(error.errno or 0)
    advice = f"{remedy} or choose another output folder" if remedy else "choose another output folder"
    return f"{error.strerror or error}; {advice}"


def cannot_use(error: OSError) -> LeopartError:
    """That the system refuses a path somewhere, for what has no words of its own."""
    name = shown(os.fsdecode(error.filename)) if error.filename is not None else "a file"
    remedy = _REMEDIES.get(error.errno or 0, "check the path")
    return LeopartError(f"cannot use {clipped(name, 300)}: {error.strerror or error}; {remedy}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses while the block writes to `path` is told in one sentence.

    Raises:
        LeopartError: see `cannot_write`.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 text to a file that is made if need be.

    Raises:
        LeopartError: it cannot be written; what was in the file before stays as it was.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        before, rest = file.tell(), text.encode()
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(before)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as a whole file."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def put_back(path: Path, unless: Callable[[], bool]) -> Iterator[None]:
    """Give a file that the block writes its former content, or delete it, if the block fails.

    An interruption is no failure: the next run goes on.

    Args:
        path: the file.
        unless: whether the block has left something behind that the new content belongs to.
    """
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except Exception:
        if not unless():
            with suppress(LeopartError, OSError):  # what went wrong first matters more
                _restore(path, before)
        raise


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    elif path.read_bytes() != content:
        with whole_file(path) as file:
            file.write(content)


def remove_unfinished(folder: Path) -> None:
    """Delete what a run that was killed was writing in `folder` and below; nobody may be writing there."""
    for place, _, names in os.walk(folder):
        for name in names:
            if _ASIDE.fullmatch(name):
                _remove(Path(place) / name)


def remove_unfinished_versions(path: Path) -> None:
    """Delete what a run that was killed was to rename to `path`; nobody may be writing that file."""
    for aside in path.parent.glob(f".{_mark(path)}*.part"):
        if _ASIDE.fullmatch(aside.name):
            _remove(aside)


def _remove(path: Path) -> None:
    with suppress(OSError):  # left where it is, it only takes room
        path.unlink()


def _mark(path: Path) -> str:
    """Eight digits that stand for the name of a file: a longer name might not be allowed."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

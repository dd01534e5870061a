"""Whole files only: everything is written aside and renamed into place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from leopart.errors import LeopartError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing; rename it to `path` only if the block succeeds.

    An interruption, an error or a full disk leaves the old file (or none) behind, never half a new one.

    Raises:
        LeopartError: the folder cannot be written to or the disk is full.
    """
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            yield file
        aside.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot write {path}: {reason}; free some space or choose another output folder"
        raise LeopartError(message) from error
    finally:
        with suppress(OSError):  # a folder that could not be made, or has gone, needs no tidying
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as a whole file."""
    with whole_file(path) as file:
        file.write(text.encode())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

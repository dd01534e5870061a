"""Paths that files of a user's name, kept inside their folder; and paths as text."""

from __future__ import annotations

import os
from pathlib import Path

from leopart.errors import LeopartError

_LONGEST = 1000
"""Bytes of a name in a file; systems take 4,096 for the whole path."""


def shown(path: Path | str) -> str:
    """A path as text that can be printed and encoded: what is not UTF-8 becomes U+FFFD."""
    try:
        return os.fsencode(path).decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a character, which no file system gives and a damaged list may hold
        return str(path).encode("utf-8", "replace").decode()


def is_folder(path: Path) -> bool:
    """Whether there is such a folder. No, too, where the system does not say: Path's own raises then."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises there


def is_file(path: Path) -> bool:
    """Whether there is such a plain file; see `is_folder`."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises there


def expanded(text: str) -> Path:
    """A path that may begin with `~`.

    Raises:
        LeopartError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise LeopartError(f"there is no home folder for {shown(text)}; give the whole path") from error


def clipped(text: str, most: int = 120) -> str:
    """The beginning of a text that a file of a user's gave, for a message."""
    return text if len(text) <= most else f"{text[:most]}..."


def inside(folder: Path, name: str, source: Path | str) -> Path:
    """The place below `folder` that a file names. Every path that is read from a file goes through here.

    A list or an index from strangers may name `/etc/passwd` or `../../x`: joined as it is, it would be read
    or written there. Only the text is looked at: links on disk are the user's own and are followed.

    Args:
        folder: what the name counts from.
        name: relative path with `/`, as the file has it.
        source: the file that holds the name, for the message.

    Returns:
        `folder / name`, without `.` and `..`.

    Raises:
        LeopartError: the name is empty, absolute, leads out of the folder or cannot be a path.
    """
    below = Path(os.path.normpath(name)) if _can_be_path(name) else Path()
    if below.anchor or below.parts[:1] in ((), ("..",)):
        what = f"{shown(source)} names {shown(name)[:200]!r}, which is no path below {shown(folder)}"
        raise LeopartError(f"{what}; correct the name, or get the file again from its makers")
    return folder / below


def _can_be_path(name: str) -> bool:
    try:
        return not set("\0\n\r") & set(name) and len(os.fsencode(name)) <= _LONGEST
    except UnicodeEncodeError:
        return False

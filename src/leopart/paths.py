"""Paths that files of a user's name, kept inside their folder; and paths as text."""

from __future__ import annotations

import os
from pathlib import Path

from leopart.errors import LeopartError


def shown(path: Path | str) -> str:
    """A path as text that can be printed and encoded: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


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
    below = Path(os.path.normpath(name))
    if "\0" in name or below.anchor or below.parts[:1] in ((), ("..",)):
        what = f"{shown(source)} names {shown(name)!r}, which is no path below {shown(folder)}"
        raise LeopartError(f"{what}; correct the name, or get the file again from its makers")
    return folder / below

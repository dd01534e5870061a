"""Where a set of photos begins: what to say to somebody who gave the folder above or below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from leopart.data.photos import shown
from leopart.errors import LeopartError

_LEVELS = ("one level", "two levels", "three levels")


def check_folder(path: Path) -> None:
    """See that there is such a folder.

    Raises:
        LeopartError: there is none, or it is a file.
    """
    if not path.is_dir():
        what = f"{shown(path)} is no folder" if path.exists() else f"there is no folder {shown(path)}"
        raise LeopartError(f"{what}; check the path")


def not_here(path: Path, lacks: str, is_set: Callable[[Path], bool], otherwise: str) -> LeopartError:
    """The complaint that a folder is not the one that holds a set, with the one that is, if it is near.

    Args:
        path: the folder that was given.
        lacks: what it has not, as in "has no folder images/".
        is_set: whether a folder is one that could have been given.
        otherwise: the advice where neither a folder above nor one right below is.
    """
    for levels, parent in zip(_LEVELS, path.absolute().parents, strict=False):
        if is_set(parent):
            return LeopartError(f"{shown(path)} {lacks}; it is {levels} too deep: give {shown(parent)}")
    below = [child for child in _folders(path) if is_set(child)]
    if below:
        choice = " or ".join(map(shown, below[:5]))
        return LeopartError(f"{shown(path)} {lacks}; it is one level too high: give {choice}")
    return LeopartError(f"{shown(path)} {lacks}; {otherwise}")


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir())
    except OSError:  # what cannot be listed cannot give a hint
        return []

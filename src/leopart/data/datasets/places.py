"""The folder of a data set: errors for a folder that is missing, too high up or too deep down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from leopart.errors import LeopartError
from leopart.paths import is_folder, shown

_LEVELS = ("one level", "two levels", "three levels")


def check_folder(path: Path) -> None:
    """Check that the folder exists.

    Raises:
        LeopartError: there is none, it is a file, or the system does not say.
    """
    if is_folder(path):
        return
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LeopartError(f"there is no folder {shown(path)}; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = f"the folder {shown(path)[:500]} cannot be opened: {reason}"
        raise LeopartError(f"{what}; check the path and its permissions") from error
    raise LeopartError(f"{shown(path)} is no folder; check the path")


def not_here(path: Path, lacks: str, is_set: Callable[[Path], bool], otherwise: str) -> LeopartError:
    """The error for a folder that does not hold a data set. It names the right folder if that is near.

    Args:
        path: the folder that was given.
        lacks: what is missing, as in "has no folder images/".
        is_set: whether a folder holds such a data set.
        otherwise: the advice if no folder above or directly below does.
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
        return sorted(child for child in path.iterdir() if is_folder(child))
    except OSError:  # what cannot be listed cannot give a hint
        return []

"""Text files that say which photos belong to a set."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from leopart.data.photos import shown
from leopart.errors import LeopartError


def read_lines(path: Path, form: str) -> list[str]:
    """Lines of a text file.

    Args:
        path: the file.
        form: what somebody who lacks it should write into it.

    Raises:
        LeopartError: the file is missing or is no UTF-8 text.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise LeopartError(f"there is no {shown(path)}; write {form} into it") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LeopartError(f"cannot read {shown(path)} as UTF-8 text: {reason}; check the file") from error


def read_list(path: Path, form: str = "the path of one photo below images/ without suffix") -> list[str]:
    """Names of photos, one a line, in the order of the file.

    Raises:
        LeopartError: the file cannot be read, names nothing, or names a photo twice.
    """
    names = [line.strip() for line in read_lines(path, f"{form} on each line") if line.strip()]
    if not names:
        raise LeopartError(f"{shown(path)} is empty; write {form} on each line")
    require_different(names, path)
    return names


def require_different(names: Sequence[str], path: Path) -> None:
    """See that a list names no photo twice, in whatever spelling.

    Raises:
        LeopartError: it does; says which.
    """
    counts = Counter(unicodedata.normalize("NFC", name) for name in names)
    if len(counts) < len(names):
        twice = counts.most_common(1)[0][0]
        raise LeopartError(f"{shown(path)} lists {twice!r} twice, which would count twice; remove one")

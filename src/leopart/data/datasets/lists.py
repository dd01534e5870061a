"""Text files that list the photos of a data set."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from leopart.data.photos import shown
from leopart.errors import LeopartError

_LONGEST = 1000


def read_lines(path: Path, form: str) -> list[str]:
    """Lines of a text file.

    Args:
        path: the file.
        form: what the file should contain, for the error if it is missing.

    Raises:
        LeopartError: the file is missing or is not UTF-8 text.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise LeopartError(f"there is no {shown(path)}; write {form} into it") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LeopartError(f"cannot read {shown(path)} as UTF-8 text: {reason}; check the file") from error


def read_list(path: Path, form: str = "the path of one photo below images/ without suffix") -> list[str]:
    """Names of photos, one per line, in the order of the file.

    Raises:
        LeopartError: the file cannot be read, names nothing, or names a photo twice.
    """
    names = [line.strip() for line in read_lines(path, f"{form} on each line") if line.strip()]
    if (longest := max(map(len, names), default=0)) > _LONGEST:
        what = f"{shown(path)} has a line of {longest:,} characters, which is no name of a photo"
        raise LeopartError(f"{what}; write {form} on each line")
    if not names:
        raise LeopartError(f"{shown(path)} is empty; write {form} on each line")
    require_different(names, path)
    return names


def require_different(names: Sequence[str], path: Path) -> None:
    """Check that a list names no photo twice, in any Unicode composition.

    Raises:
        LeopartError: it does; the message names the photo.
    """
    counts = Counter(unicodedata.normalize("NFC", name) for name in names)
    if len(counts) < len(names):
        twice = counts.most_common(1)[0][0]
        raise LeopartError(f"{shown(path)} lists {twice[:200]!r} twice, which would count twice; remove one")

"""Folders of pictures that are no photos: what Leopart wrote, and the masks of a labelled set."""

from __future__ import annotations

from pathlib import Path

from leopart.files import write_text
from leopart.paths import is_folder

_MARK = ".leopart"
"""A file that names, one a line, the folders beside it that Leopart wrote."""
_WRITTEN = frozenset(("parts", "objects", "overlays", "segmenter", "sheets", "developed"))
"""What `segment`, `predict` and `train` leave beside their config.yaml."""
_SETTINGS = {b"out", b"device"}
"""Options that each of them has."""
_BYTES = 1 << 16


def mark_as_output(folder: Path, name: str) -> None:
    """Note in `folder` that `folder/name` holds pictures that Leopart wrote.

    Raises:
        LeopartError: the note cannot be written.
    """
    names = _marked(folder)
    if name not in names:
        write_text(folder / _MARK, "".join(f"{other}\n" for other in sorted({*names, name})))


def pictures_that_are_no_photos(folder: Path) -> set[str]:
    """Names of the folders in `folder` whose pictures were written by Leopart, or are masks.

    Args:
        folder: as `segment`, `predict` or `train` leave it, or as a labelled set in the layout `folder:`.
            Any other has none.
    """
    found = _marked(folder)
    settings = {line.partition(b":")[0] for line in _beginning(folder / "config.yaml").splitlines()}
    if settings >= _SETTINGS:
        found |= _WRITTEN
    if is_folder(folder / "images"):
        lists = (file.name for file in folder.glob("classes*.txt"))
        found |= {f"masks{name.removeprefix('classes').removesuffix('.txt')}" for name in lists}
    return found


def _marked(folder: Path) -> set[str]:
    return set(_beginning(folder / _MARK).decode("utf-8", "replace").splitlines())


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_BYTES)
    except OSError:  # not there, or not to be read: it says nothing
        return b""

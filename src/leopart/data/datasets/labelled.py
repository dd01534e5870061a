"""Labelled photos to score on, by `NAME:PATH`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from leopart.data.datasets.folder import open_folder
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import shown
from leopart.errors import LeopartError


def labelled_photos(data: str, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """The labelled set that `NAME:PATH` means; a path alone is a `folder:`.

    Args:
        data: see `LAYOUTS` for the names.
        masks: which masks, see `open_folder`.
        split: which photos, see `open_folder`.

    Raises:
        LeopartError: there is no such layout, or the folder does not have it; says what to do.
    """
    name, colon, rest = data.partition(":")
    if not colon or name not in LAYOUTS:
        if not Path(data).exists():
            known = " or ".join(f"{layout}:PATH" for layout in LAYOUTS)
            raise LeopartError(f"--data {shown(data)} is no labelled set; write {known}")
        name, rest = "folder", data
    return LAYOUTS[name](Path(rest).expanduser(), masks, split)


LAYOUTS: dict[str, Callable[[Path, str, str | None], LabelledPhotos]] = {"folder": open_folder}
"""Functions from path, masks and split to a labelled set, by the name before the colon."""

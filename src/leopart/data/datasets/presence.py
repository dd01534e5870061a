"""Whether the photos and masks that a set should have are on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import shown
from leopart.errors import LeopartError


def absent(paths: Iterable[Path]) -> list[Path]:
    """Those of the files that are not there; each folder is listed once, which is quick on any disk."""

    @cache
    def names(folder: Path) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))  # noqa: PTH208 - names, not paths
        except OSError:
            return frozenset()

    return [path for path in paths if path.name not in names(path.parent)]


def require_files(labelled: LabelledPhotos) -> LabelledPhotos:
    """The set itself, if it is not empty and all its photos and masks are there: nothing is left out.

    Raises:
        LeopartError: how many are missing, and the first of them.
    """
    total = len(labelled.pairs)
    if not total:
        raise LeopartError(f"no photos of this set are in {shown(labelled.path)}; check the path and --split")
    photos = absent(photo.path for photo, _ in labelled.pairs)
    if photos:
        count = f"{len(photos)} of the {total} photos of {shown(labelled.path)} are not there"
        raise LeopartError(f"{count}, the first missing is {shown(photos[0])}; copy the data set again")
    masks = absent(mask for _, mask in labelled.pairs)
    if masks:
        count = f"{len(masks)} of {total} photos have no mask, the first missing is {shown(masks[0])}"
        raise LeopartError(f"{count}; a score needs them all, named as the photos with the suffix .png")
    return labelled

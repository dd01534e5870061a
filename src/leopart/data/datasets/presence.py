"""Which photos and masks of a data set are on disk, and how their names are spelled there."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import shown
from leopart.errors import LeopartError
from leopart.paths import is_file


def absent(paths: Iterable[Path]) -> list[Path]:
    """The files that do not exist. Each folder is listed once, which is quick on any disk."""

    @cache
    def names(folder: Path) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))  # noqa: PTH208 - names, not paths
        except OSError:
            return frozenset()

    return [path for path in paths if path.name not in names(path.parent)]


def spelled(root: Path, names: Iterable[str]) -> list[Path]:
    """Files below a folder by their names, spelled as they are on disk.

    Some systems write `é` as one character and others as two, so the names of a photo and its mask can look
    alike and differ. A name that is not there in any spelling is kept as it is.

    Args:
        root: the folder.
        names: paths below it with `/`.
    """

    @cache
    def spellings(folder: Path) -> dict[str, str]:
        try:
            return {nfc(name): name for name in sorted(os.listdir(folder))}  # noqa: PTH208 - names
        except OSError:
            return {}

    def one(name: str) -> Path:
        if name.isascii():
            return root / name
        path = root
        for part in PurePosixPath(name).parts:
            path /= part if os.path.lexists(path / part) else spellings(path).get(nfc(part), part)
        return path

    return [one(name) for name in names]


def nfc(name: str) -> str:
    """A name in the composed spelling, in which all spellings of it are equal."""
    return unicodedata.normalize("NFC", name)


def require_files(labelled: LabelledPhotos) -> LabelledPhotos:
    """Return the set if all its photos and masks exist and it is not empty; no photo is dropped.

    Raises:
        LeopartError: the message says how many are missing, and names the first.
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
        jpegs = [masks[0].with_suffix(suffix) for suffix in (".jpg", ".jpeg", ".JPG", ".JPEG")]
        if any(map(is_file, jpegs)):
            why = "there is a JPEG, which smears ids beyond repair"
            raise LeopartError(f"{count}; {why}: export the masks as PNG from where they were made")
        raise LeopartError(f"{count}; a score needs them all, named as the photos with the suffix .png")
    return labelled

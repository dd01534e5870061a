"""Photos of a figure: drawn by a seed, or named; never chosen by the result."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from leopart.config import MosaicConfig
from leopart.data.photos import Photo
from leopart.errors import LeopartError


def chosen(photos: Sequence[Photo], config: MosaicConfig) -> list[int]:
    """Indices of the photos to show: those that `config.photos` names, in that order, or a random draw.

    Raises:
        LeopartError: a name is not that of a photo.
    """
    if config.photos:
        return [_index_of(name, photos) for name in config.photos]
    draw = np.random.default_rng(config.seed).choice(
        len(photos), min(config.number, len(photos)), replace=False
    )
    return sorted(draw.tolist())


def _index_of(name: str, photos: Sequence[Photo]) -> int:
    """Index of the photo with this name; the suffix may be left out."""
    names = [photo.name for photo in photos]
    stems = [PurePosixPath(photo).with_suffix("").as_posix() for photo in names]
    for known in (names, stems):
        if name in known:
            return known.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the first of {len(names)} is {names[0]}"
    raise LeopartError(f"--photos {name} is none of the photos; {hint}")

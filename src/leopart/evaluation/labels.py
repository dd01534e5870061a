"""Label maps at the size at which predictions are compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from leopart.data.datasets.presence import spelled
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE, IndexMask
from leopart.data.photos import Photo, output_stems, shown
from leopart.errors import LeopartError
from leopart.parallel import ordered_map, workers
from leopart.paths import is_file
from leopart.progress import Track, silent

LabelMap = npt.NDArray[np.uint8]
"""Class rows of a photo, [H, W], 255 where there is no label."""

#: Maps up to this side stay in memory: 16 KB each.
_KEPT = 128


Ids = TypeVar("Ids", bound=npt.NDArray[Any])


def nearest(ids: Ids, size: int | tuple[int, int]) -> Ids:
    """A map [h, w] of ids at another size: cell i of the result is cell floor(i * h / H).

    The same as torch's `nearest`, but with exact integers.

    Args:
        ids: any integer type.
        size: (H, W), or the side of a square.
    """
    target = (size, size) if isinstance(size, int) else size
    if ids.shape == target:
        return ids
    rows, columns = (np.arange(to) * length // to for to, length in zip(target, ids.shape, strict=True))
    return cast("Ids", ids[np.ix_(rows, columns)])


def squeezed(ids: Ids, side: int, through: int | None = None) -> Ids:
    """A map [h, w] of ids as a square: by nearest to `through`, then to `side`.

    The first step takes the pixel at the centre of a cell (as Pillow does), the second the pixel at its
    corner (as torch does), with exact integers. Without `through` there is only the first step.
    """
    middle = side if through is None else through
    corners = np.arange(side) * middle // side
    rows, columns = ((2 * corners + 1) * length // (2 * middle) for length in ids.shape)
    return cast("Ids", ids[np.ix_(rows, columns)])


@dataclass(frozen=True)
class LabelMaps(Sequence[LabelMap]):
    """Label maps of a data set, read from disk on every access.

    A mask is resized as its photo is: to the square that the network sees, then to `side`, both by nearest.
    The second step takes the corner of a cell, as for cluster ids, so that labels and clusters are aligned.

    Attributes:
        labelled: photos, masks and class names.
        side: of the maps; None = each mask's own size.
        through: side in pixels of the network's input.

    Source: Leopart, CVPR 2022, evaluation: by nearest to 448 as Pillow does it, then to 100 as torch does.
    """

    labelled: LabelledPhotos
    side: int | None = 100
    through: int = 448

    def __len__(self) -> int:
        return len(self.labelled.pairs)

    def __getitem__(self, index: int) -> LabelMap:  # type: ignore[override]  # no slices
        """The map of one photo.

        Raises:
            LeopartError: the mask cannot be read, or does not fit its photo or the classes.
        """
        return self.scaled(self.labelled.read_mask(*self.labelled.pairs[index]))

    def scaled(self, ids: IndexMask) -> LabelMap:
        """A mask [H, W] of class ids as a map of rows at the size asked for."""
        return self.labelled.rows(ids if self.side is None else squeezed(ids, self.side, self.through))


def small_labels(
    labelled: LabelledPhotos, side: int = 100, through: int = 448, *, track: Track = silent
) -> list[LabelMap]:
    """All of `LabelMaps`, in memory.

    Raises:
        LeopartError: see `LabelMaps`.
    """
    maps = LabelMaps(labelled, side, through)
    read = ordered_map(maps.__getitem__, range(len(maps)), workers=workers())
    return list(track(read, len(maps), "masks"))


def checked_labels(
    labelled: LabelledPhotos,
    side: int | None,
    through: int,
    *,
    occurring: set[int] | None = None,
    track: Track = silent,
) -> Sequence[LabelMap]:
    """Label maps that were all read once, so that errors in masks come before the long work.

    Small maps stay in memory; large ones are read again when they are needed.

    Args:
        labelled: the photos.
        side: of the maps; None = each mask's own size.
        through: side in pixels of the network's input.
        occurring: takes the rows that occur in the masks, and 255 if pixels without a label do.
        track: progress, one step a mask.

    Raises:
        LeopartError: see `LabelMaps`; or no pixel of any mask has a label that counts.
    """
    kept = side is not None and side <= _KEPT
    maps = LabelMaps(labelled, side if kept else min(side or through, _KEPT), through)

    def look(pair: tuple[Photo, Path]) -> tuple[LabelMap, LabelMap]:
        ids = labelled.read_mask(*pair)
        return maps.scaled(ids), labelled.rows(np.flatnonzero(np.bincount(ids.ravel())).astype(np.int32))

    small: list[LabelMap] = []
    labels = False
    for ids, rows in track(ordered_map(look, labelled.pairs, workers=workers()), len(maps), "masks"):
        labels = labels or bool((ids != IGNORE).any())
        if kept:
            small.append(ids)
        if occurring is not None:
            occurring.update(rows.tolist())
    if not labels:
        raise LeopartError("no pixel of the masks has a label that counts; check --masks and --ignore")
    return small if kept else LabelMaps(labelled, side, through)


def mask_files(folder: Path, photos: Sequence[Photo], option: str) -> list[Path]:
    """The mask of each photo in a folder: photo `a/1.jpg` has the mask `a/1.png`.

    Raises:
        LeopartError: a mask is missing; the message names the option that gave the folder.
    """
    files = spelled(folder, [f"{stem}.png" for stem in output_stems(photos)])
    if missing := [file for file in files if not is_file(file)]:
        count = f"{len(missing)} of {len(files)} photos have no mask"
        advice = f"the first missing is {shown(missing[0])}; masks have the photo's name and the suffix .png"
        raise LeopartError(f"{option} {shown(folder)}: {count}, {advice}")
    return files

"""Colours of classes: the same class has the same colour in every figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.photos import Photo
from leopart.drawing.page import LegendEntry
from leopart.drawing.palette import colours

Ids = NDArray[np.int32]

NO_CLASS = np.array((216, 216, 216), np.uint8)
"""Grey: matched to no class."""
WHITE = np.array((255, 255, 255), np.uint8)


class ClassColours:
    """Numbers and colours of class rows in figures.

    0 is background or nothing, and has no colour; row r of the classes is r + 1; what is matched to no class
    is C + 1, grey. The colour depends on the id of the class, as in the maps of `leopart evaluate`, so
    leaving out classes changes no colour. If id 0 is not background, colours shift by one, since colour 0 is
    black.

    Args:
        labelled: gives the classes.

    Attributes:
        table: sRGB of each number, uint8 [C + 2, 3].
    """

    def __init__(self, labelled: LabelledPhotos) -> None:
        self.names, self.background = (
            [name.replace("_", " ") for name in labelled.classes.values()],
            labelled.background,
        )
        ids = np.array(list(labelled.classes))
        shift = 0 if labelled.classes.get(0) is None or self.background == 0 else 1
        palette = colours(int(ids.max()) + 2)
        self.table = np.concatenate([np.zeros((1, 3), np.uint8), palette[ids + shift], NO_CLASS[None]])

    @property
    def unmatched(self) -> int:
        """Number of what is matched to no class."""
        return len(self.names) + 1

    def numbers(self, rows: NDArray[np.integer]) -> Ids:
        """Class rows 0 .. C-1 (255 or -1: nothing) as numbers to draw, int32 of the same shape."""
        rows = rows.astype(np.int32)
        nothing = (rows == IGNORE) | (rows < 0)
        if self.background is not None:
            nothing |= rows == self.background
        return np.where(nothing, 0, rows + 1)

    def legend(self, shown: Iterable[NDArray[np.integer[Any]]]) -> list[LegendEntry]:
        """Names of the numbers that photos show, see `legend_of`."""
        return legend_of(shown, ["", *self.names, "no class"], self.table)


def legend_of(
    shown: Iterable[NDArray[np.integer[Any]]],
    names: Sequence[str],
    table: NDArray[np.uint8],
    most: int = 40,
) -> list[LegendEntry]:
    """Names and colours of the ids in maps, ascending; of the largest only if there are many.

    Args:
        shown: ids of each photo, any shape; 0 is not named.
        names: of each id, n of them.
        table: sRGB of each id, uint8 [n, 3].
        most: number of ids to name; a last entry counts the others.
    """
    area = np.zeros(len(names), np.int64)
    for ids in shown:
        area += np.bincount(ids.ravel(), minlength=len(area))
    area[0] = 0
    present = int(np.count_nonzero(area))
    largest = sorted(np.argsort(-area, kind="stable")[: min(most, present)].tolist())
    rest = [LegendEntry(f"and {present - most} smaller", WHITE)] if present > most else []
    return [LegendEntry(names[i], table[i]) for i in largest] + rest


def labels_of(labelled: LabelledPhotos, photo: Photo) -> NDArray[np.uint8]:
    """Class rows of one photo of the set, [H, W] uint8, 255 where there is no label.

    Raises:
        LeopartError: the mask cannot be used.
    """
    masks = {other.path: mask for other, mask in labelled.pairs}
    return labelled.rows(labelled.read_mask(photo, masks[photo.path]))

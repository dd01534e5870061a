"""Masks whose stored ids are not the classes that are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leopart.data.masks import IGNORE, IndexMask, check_ids


@dataclass(frozen=True)
class Remapped:
    """Reads a mask and replaces each stored id by its class; equal to another that does the same.

    Attributes:
        read: a mask file to stored ids [H, W], not negative.
        classes: class by stored id; 255 for those without a label.
        advice: what to do about stored ids that are not in `classes`. None: they are without a label.
    """

    read: Callable[[Path], IndexMask]
    classes: dict[int, int]
    advice: str | None = None

    def __call__(self, path: Path) -> IndexMask:
        """Classes [H, W], uint8, 255 where there is no label.

        Raises:
            LeopartError: the mask cannot be read, or holds other ids where there is advice about them.
        """
        stored = self.read(path)
        if self.advice is not None:
            check_ids(stored, path, self.classes, self.advice)
        table = np.full(max(*self.classes, IGNORE, int(stored.max())) + 1, IGNORE, dtype=np.uint8)
        table[list(self.classes)] = list(self.classes.values())
        return table[stored]

    def unlisted(self, path: Path) -> dict[int, int]:
        """Pixels by stored id, of the ids that are not in `classes`.

        Raises:
            LeopartError: the mask cannot be read.
        """
        counts = np.bincount(self.read(path).ravel())
        return {int(key): int(counts[key]) for key in np.flatnonzero(counts) if key not in self.classes}

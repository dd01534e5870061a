"""What every reader gives: classes, and for each photo of a run the class of its pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from leopart.data.photo_list import PhotoEntry
from leopart.errors import LeopartError

Rows = NDArray[np.int32]
"""Row of the class of each pixel, [H, W]; -1 where nobody has said anything."""
UNKNOWN = -1
BACKGROUND = "background"
"""Name of row 0."""
LARGEST_TEXT = 2**29
"""Bytes of a document with masks as text: about 1,000 photos with many regions."""


class Annotated(ABC):
    """Masks in a file or folder of a tool.

    Attributes:
        classes: names by row; row 0 is the background.
    """

    classes: list[str]

    @abstractmethod
    def read(self, entry: PhotoEntry) -> Rows | None:
        """Classes of a photo's pixels, or None where the file does not have the photo.

        Raises:
            LeopartError: the masks of this photo cannot be used.
        """

    def wrong(self, entry: PhotoEntry, size: Sequence[int]) -> LeopartError:
        """That a photo has another size in the tool; `size` is height and width there."""
        sizes = f"{size[1]}x{size[0]} pixels there and {entry.width}x{entry.height} in this run"
        return LeopartError(f"{entry.name} has {sizes}; export the masks of the photos that were segmented")


class Rowed:
    """Gives rows to names as they come, the background first."""

    def __init__(self) -> None:
        self.names = [BACKGROUND]
        self._row = {BACKGROUND: 0}

    def __call__(self, name: str) -> int:
        """Row of a name."""
        name = BACKGROUND if name.casefold() == BACKGROUND else name
        if name not in self._row:
            self._row[name] = len(self.names)
            self.names.append(name)
        return self._row[name]


class Names:
    """Finds a photo of a run among the names that a tool gave the photos.

    Tools keep the whole name of a photo, or only its last part.

    Args:
        names: in the tool, with `/`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        last = Counter(PurePosixPath(name).name for name in self._names)
        self._last = {PurePosixPath(name).name: name for name in self._names}
        self._twice = {name for name, number in last.items() if number > 1}

    def find(self, name: str, alone: bool) -> str | None:
        """The tool's name for a photo or mask; None where it has none.

        Args:
            name: path below the folder of photos.
            alone: whether no other photo of the run has the same last part.
        """
        if name in self._names:
            return name
        last = PurePosixPath(name).name
        return self._last.get(last) if alone and last not in self._twice else None


def unique_last_parts(entries: Sequence[PhotoEntry]) -> set[str]:
    """Names of photos of which no other photo of the run has the same last part without suffix."""
    stems = Counter(PurePosixPath(entry.name).stem for entry in entries)
    return {entry.name for entry in entries if stems[PurePosixPath(entry.name).stem] == 1}

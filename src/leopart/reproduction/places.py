"""Where the data sets are: in one folder, or at places that are given one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leopart.data.datasets.catalogue import CATALOGUE
from leopart.data.datasets.labelled import LAYOUTS, listed_photos
from leopart.data.datasets.places import check_folder
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.photos import shown
from leopart.errors import LeopartError


class Places:
    """Folders of the data sets; each is searched for once.

    Args:
        root: the folder that holds the data sets, or that is one. The folders directly in it are tried.
        given: `NAME:PATH` of data sets in other places.

    Raises:
        LeopartError: there is no such folder, or a name is unknown.
    """

    def __init__(self, root: Path | None, given: Sequence[str] = ()) -> None:
        if root is not None:
            check_folder(root)
        self.root = root
        self.found: dict[str, Path | None] = {}
        for words in given:
            name, colon, path = words.partition(":")
            if not colon or name not in CATALOGUE:
                raise LeopartError(f"--data {shown(words)} names no data set; write one of {_forms()}")
            self.found[name] = Path(path).expanduser()

    def path(self, name: str) -> Path | None:
        """Folder of a data set; None where none is found."""
        if name not in self.found:
            self.found[name] = next((p for p in self._candidates(name) if _is_set(name, p)), None)
        return self.found[name]

    def _candidates(self, name: str) -> Iterator[Path]:
        """The root and the folders in it; the one with the name of the data set comes first."""
        if self.root is None:
            return
        folders = [self.root, *(child for child in self.root.iterdir() if child.is_dir())]
        yield from sorted(folders, key=lambda p: (p.name != name, p != self.root, p.name))


def _is_set(name: str, path: Path) -> bool:
    """Whether a folder has the layout of a set; photos may be missing."""
    read: Callable[[str], object] = listed_photos if name in LAYOUTS else training_photos
    try:
        read(f"{name}:{path}")
    except LeopartError:  # most folders are other things, which is no error
        return False
    return True


def _forms() -> str:
    return ", ".join(f"{name}:PATH" for name in CATALOGUE)

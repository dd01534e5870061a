"""Where the data sets lie: below one folder, or where somebody says."""

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
    """Folders of the data sets, each looked for once.

    Args:
        root: the folder that holds them, or that is one; the folders right below it are looked into.
        given: `NAME:PATH` of sets that lie elsewhere.

    Raises:
        LeopartError: the folder is not there, or a name is not known.
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
        """The root, and the folders in it; first the one that has the set's name."""
        if self.root is None:
            return
        folders = [self.root, *(child for child in self.root.iterdir() if child.is_dir())]
        yield from sorted(folders, key=lambda p: (p.name != name, p != self.root, p.name))


def _is_set(name: str, path: Path) -> bool:
    """Whether a folder has the layout of a set; photos may be missing."""
    read: Callable[[str], object] = listed_photos if name in LAYOUTS else training_photos
    try:
        read(f"{name}:{path}")
    except LeopartError:  # says why not, which is nothing to tell of every folder beside a data set
        return False
    return True


def _forms() -> str:
    return ", ".join(f"{name}:PATH" for name in CATALOGUE)

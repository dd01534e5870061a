"""VOC trees and CVAT's "Segmentation mask 1.1": a map of labels, and a PNG in the colour of each class."""

from __future__ import annotations

import io
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from PIL import Image

from leopart.data.annotations.annotated import UNKNOWN, Annotated, Rowed, Rows, unique_last_parts
from leopart.data.photo_list import PhotoEntry
from leopart.errors import LeopartError
from leopart.paths import clipped, inside, shown

_MAP = "labelmap.txt"
_ROOTS = ("", "VOCdevkit/VOC2012/")
_LARGEST_MAP, _LARGEST_MASK = 2**20, 2**28
#: Colour that VOC gives to pixels without a label.
_UNLABELLED = (224, 224, 192)

#: What zipfile raises for a damaged archive, an unknown compression (NotImplementedError) or a password.
_UNREADABLE = (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError)


class ColourMasks(Annotated):
    """Masks of a VOC tree (a folder) or of a CVAT archive (a zip).

    Args:
        path: the folder or archive.
        entries: photos of the run.

    Raises:
        LeopartError: it is neither, or its map of labels is missing or damaged.
    """

    def __init__(self, path: Path, entries: Sequence[PhotoEntry]) -> None:
        self.path, self.files = path, _Folder(path) if path.is_dir() else _Archive(path)
        self.root = next((root for root in _ROOTS if self.files.has(f"{root}{_MAP}")), None)
        if self.root is None:
            raise LeopartError(f"{shown(path)} has no {_MAP}; export it again with the names of the labels")
        rows = Rowed()
        self.row_of = _rows_of_colours(self._map(), rows, shown(path))
        self.classes, self.alone = rows.names, unique_last_parts(entries)

    def read(self, entry: PhotoEntry) -> Rows | None:
        """See `Annotated.read`."""
        whole = PurePosixPath(entry.name).with_suffix("").as_posix()
        stems = [entry.mask, whole, *([PurePosixPath(whole).name] if entry.name in self.alone else [])]
        names = [f"{self.root}SegmentationClass/{stem}.png" for stem in stems]
        name = next((name for name in names if self.files.has(name)), None)
        if name is None:
            return None
        try:
            with Image.open(io.BytesIO(self.files.read(name, _LARGEST_MASK)), formats=("PNG",)) as image:
                if image.size != (entry.width, entry.height):
                    raise self.wrong(entry, image.size[::-1])
                pixels = np.asarray(image.convert("RGB")).astype(np.int64)
        except LeopartError:
            raise
        except Exception as error:  # a damaged file can raise anything out of a decoder
            what = f"{name} in {shown(self.path)} is no PNG ({error})"
            raise LeopartError(f"{what}; export it again") from error
        return self._rows(pixels @ (65536, 256, 1), name)

    def _rows(self, codes: np.ndarray, name: str) -> Rows:
        found, inverse = np.unique(codes, return_inverse=True)
        strange = [int(code) for code in found if int(code) not in self.row_of]
        if strange:
            colour = ",".join(map(str, strange[0].to_bytes(3, "big")))
            what = f"{name} in {shown(self.path)} has the colour {colour}, which {_MAP} does not name"
            raise LeopartError(f"{what}; export it again, or add a line for it")
        rows = np.array([self.row_of[int(code)] for code in found], np.int32)
        return np.asarray(rows[inverse.reshape(codes.shape)], np.int32)

    def _map(self) -> str:
        try:
            return self.files.read(f"{self.root}{_MAP}", _LARGEST_MAP).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LeopartError(f"{_MAP} in {shown(self.path)} is not UTF-8; save it as UTF-8") from error


def _rows_of_colours(text: str, rows: Rowed, source: str) -> dict[int, int]:
    """Row of each colour (R * 65536 + G * 256 + B) in a map of labels: `name:r,g,b:parts:actions` a line."""
    found = {int.from_bytes(bytes(_UNLABELLED), "big"): UNKNOWN}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.split(":")
        numbers = [part.strip() for part in (rest[0] if rest else "").split(",")]
        good = len(numbers) == 3 and all(n.isascii() and n.isdecimal() and int(n) < 256 for n in numbers)
        if not name.strip() or not good:
            wrong = f"the line {clipped(line)!r} of {_MAP} in {source} is not NAME:R,G,B::"
            raise LeopartError(f"{wrong}; correct it")
        code = int.from_bytes(bytes(map(int, numbers)), "big")
        found[code] = rows(name.strip())
    return found


def line_name(name: str) -> str:
    """A name as a line of a map of labels can hold it: no colon, no line break, no # in front."""
    return re.sub(r"[:\x00-\x1f\x7f-\x9f\u2028\u2029]|^#", "_", name.strip())


class _Files(ABC):
    """Files of a folder or an archive by their names in it."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file that is there."""

    def read(self, name: str, limit: int) -> bytes:
        """Content of a file.

        Raises:
            LeopartError: it is larger than `limit` bytes, or cannot be read.
        """
        try:
            with self.open(name) as file:
                content = file.read(limit + 1)
        except _UNREADABLE as error:
            raise LeopartError(f"cannot read {shown(name)}: {error}; export it again") from error
        if len(content) > limit:
            raise LeopartError(f"{shown(name)} is larger than {limit >> 20} MiB; export it again")
        return content


class _Folder(_Files):
    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        return inside(self.path, name, self.path).is_file()

    def open(self, name: str) -> IO[bytes]:
        return inside(self.path, name, self.path).open("rb")


class _Archive(_Files):
    """Nothing is unpacked to the disk, so names in the archive lead nowhere."""

    def __init__(self, path: Path) -> None:
        try:
            self.archive = zipfile.ZipFile(path)
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or str(error)
            what = f"{shown(path)} is neither a folder nor a zip archive ({reason})"
            raise LeopartError(f"{what}; give what the tool has exported") from error
        self.names = set(self.archive.namelist())

    def has(self, name: str) -> bool:
        return name in self.names

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)

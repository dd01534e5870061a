"""`photos.jsonl`: the photos of a run, one JSON object a line, and where their masks are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import InstanceOf

from leopart.documents import checked
from leopart.errors import LeopartError
from leopart.files import whole_file
from leopart.paths import inside, shown

PHOTO_LIST = "photos.jsonl"
_REMEDY = "run the same `leopart segment` or `leopart predict` command again"


@dataclass(frozen=True)
class PhotoEntry:
    """One photo of a run."""

    name: str
    """Path below the folder of photos, with `/` and suffix; see `Photo.name`."""
    path: InstanceOf[str]  # may hold bytes that are not UTF-8
    """Where the file was, absolute."""
    mask: str
    """Path of its masks below `parts/`, `objects/` and `labels/`, without suffix."""
    width: int
    """Pixels of the upright photo, and of its masks."""
    height: int
    """Likewise."""
    bytes: int
    """Size of the file when its masks were made."""
    modified: int
    """Time of its last change then, in nanoseconds since 1970."""

    @classmethod
    def of(cls, name: str, path: Path, mask: str, shape: tuple[int, ...]) -> PhotoEntry:
        """A photo on disk whose masks are [H, W].

        Raises:
            OSError: the file has gone.
        """
        state = path.stat()
        return cls(name, str(path), mask, shape[1], shape[0], state.st_size, state.st_mtime_ns)

    @property
    def changed(self) -> bool:
        """Whether the photo has gone, or is not the file that its masks were made from."""
        try:
            state = Path(self.path).stat()
        except OSError:
            return True
        return (state.st_size, state.st_mtime_ns) != (self.bytes, self.modified)

    def mask_path(self, out: Path, kind: str) -> Path:
        """Its mask in a folder of a run.

        Args:
            out: the run's folder.
            kind: `parts`, `objects` or `labels`.

        Raises:
            LeopartError: the entry names a path outside of that folder.
        """
        return inside(out / kind, f"{self.mask}.png", out / PHOTO_LIST)


def write_photo_list(out: Path, entries: Iterable[PhotoEntry]) -> None:
    """Write the list as a whole file, in the order given.

    Raises:
        LeopartError: the folder cannot be written.
    """
    with whole_file(out / PHOTO_LIST) as file:
        for entry in entries:  # ASCII: a path may hold bytes that are not UTF-8
            file.write(json.dumps(asdict(entry)).encode("ascii") + b"\n")


def read_photo_list(out: Path) -> list[PhotoEntry]:
    """Read the list of a run's photos.

    Raises:
        LeopartError: there is none, or a line of it is damaged.
    """
    path = out / PHOTO_LIST
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        wrong = f"{shown(out)} has no list of its photos ({PHOTO_LIST}: {error.strerror})"
        raise LeopartError(f"{wrong}; {_REMEDY}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(checked(json.loads(line), PhotoEntry))
        except (ValueError, RecursionError) as error:
            wrong = f"line {number} of {shown(path)} is damaged ({' '.join(str(error).split())})"
            raise LeopartError(f"{wrong}; {_REMEDY}") from error
    return entries

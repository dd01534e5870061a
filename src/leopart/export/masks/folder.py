"""The folder of an export: only what an export wrote is ever replaced or removed."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from leopart.config.export import PhotoFiles
from leopart.data.photo_list import PHOTO_LIST, PhotoEntry
from leopart.documents import read_json
from leopart.errors import LeopartError, PhotoError
from leopart.files import whole_file, write_text
from leopart.locks import LOCK
from leopart.paths import inside, is_file, shown

MARKER = "leopart-export.json"
"""Says that a folder is an export, of which format, and which files it consists of."""


@dataclass(frozen=True)
class _Marker:
    format: str
    files: list[str] = field(default_factory=list)


class ExportFolder:
    """Where an export is written.

    Args:
        path: the folder, made if need be.
        form: name of the format.

    Raises:
        LeopartError: the folder holds something else, or an export in another format.
    """

    def __init__(self, path: Path, form: str) -> None:
        self.path, self.form = path, form
        self.files: dict[str, None] = {}
        """What belongs to the export, in the order of writing."""
        self._earlier = self._read_marker()

    def place(self, name: str) -> Path:
        """Where a file of the export goes; it belongs to the export from now on.

        Args:
            name: path below the folder, with `/`.

        Raises:
            LeopartError: it leads out of the folder.
        """
        if not self.files:  # from here on, what lies there is known to be an export
            self._write_marker(self._earlier)
        self.files[name] = None
        return inside(self.path, name, PHOTO_LIST)

    def write(self, name: str, content: bytes | str) -> None:
        """Write a whole file of the export; text as UTF-8."""
        with whole_file(self.place(name)) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def put_photo(self, name: str, entry: PhotoEntry, how: PhotoFiles) -> None:
        """Link or copy a photo.

        Raises:
            PhotoError: the photo cannot be read.
            LeopartError: the folder cannot be written, or its disk has no links.
        """
        if how == "link":
            _link(Path(entry.path), self.place(name))
        elif how == "copy":
            try:
                content = Path(entry.path).read_bytes()
            except OSError as error:
                message = f"{shown(entry.path)} cannot be read: {error.strerror}; check its permissions"
                raise PhotoError(message) from error
            self.write(name, content)

    def finish(self) -> int:
        """Remove what an earlier export of this folder wrote and this one did not.

        Returns:
            How many files.
        """
        gone = [name for name in self._earlier if name not in self.files]
        for name in gone:
            inside(self.path, name, MARKER).unlink(missing_ok=True)
        self._write_marker(list(self.files))
        return len(gone)

    def _read_marker(self) -> list[str]:
        path = self.path / MARKER
        files = (other for other in self.path.rglob("*") if other.is_symlink() or not other.is_dir())
        if all(other in (path, self.path / LOCK) for other in files):
            return []
        if not is_file(path):
            raise LeopartError(f"--out {self.path} holds other files: give an empty or new folder")
        marker = read_json(path, _Marker, "give another --out")
        if marker.format != self.form:
            raise LeopartError(f"--out {self.path} holds an export as {marker.format}: give another folder")
        return marker.files

    def _write_marker(self, files: list[str]) -> None:
        content = {"format": self.form, "files": files}
        write_text(self.path / MARKER, json.dumps(content, indent=0) + "\n")


def files_of_export(folder: Path) -> list[str]:
    """Names of an export's files below its folder, the one that says so included.

    Raises:
        LeopartError: there is no complete export.
    """
    path = folder / MARKER
    if not is_file(path):
        raise LeopartError(f"{shown(folder)} holds no export; export again")
    return [*read_json(path, _Marker, "export again").files, MARKER]


def _link(photo: Path, place: Path) -> None:
    """Make a symbolic link, in place of an earlier one."""
    aside = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.symlink_to(photo)
        aside.replace(place)
    except OSError as error:
        message = f"cannot link {place}: {error.strerror or error}; copy the photos with --photos copy"
        raise LeopartError(message) from error

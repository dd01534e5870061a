"""What a format is: a class that takes one photo after the other."""

from __future__ import annotations

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar, Literal

from leopart.config.export import ExportConfig, PhotoFiles
from leopart.errors import PhotoError
from leopart.export.masks.classes import MaskClass, What, default_what
from leopart.export.masks.folder import ExportFolder
from leopart.export.masks.photos import MaskedPhoto


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How masks are exported."""

    what: What
    """Which masks."""
    min_area: int = 1
    """Components of fewer pixels become background."""
    by_class: bool = False
    """Whether a region is all of a class, or one connected component."""
    photos: PhotoFiles = "link"
    """How photos come into the folder, where the format has them."""
    areas: bool = False
    """Whether `areas.csv` and `means.csv` are written too."""
    semantic: bool = False
    """YOLO: index masks, not polygons."""
    prefix: str = ""
    """Label Studio: path of the photos below the folder that it serves."""

    @classmethod
    def of(cls, config: ExportConfig) -> MaskOptions:
        """What a command asks for; labels where the run has any, unless it says which masks."""
        return cls(
            what=config.what or default_what(config.model),
            min_area=config.min_area,
            by_class=config.stuff or config.instances == "classes",
            photos=config.photo_files,
            areas=config.areas,
            semantic=config.semantic,
            prefix=config.prefix or "",
        )


@dataclass(frozen=True)
class ExportJob:
    """What a format works with."""

    folder: ExportFolder
    classes: Sequence[MaskClass]
    options: MaskOptions
    opened: ExitStack
    """Closes files at the end: complete ones only if all went well."""
    notes: list[str] = field(default_factory=list)
    """Sentences for what somebody may not expect."""


class MaskFormat(ABC):
    """Writes masks in one format, photo by photo, so that memory does not grow with their number."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "named"
    """Whether photos are only named, put into the folder, or read."""
    ABOUT: ClassVar[str] = ""
    """Which files there are, and how a tool imports them; Markdown for the folder's README."""

    def __init__(self, job: ExportJob) -> None:
        self.job, self.folder, self.classes = job, job.folder, job.classes

    @abstractmethod
    def add(self, photo: MaskedPhoto) -> None:
        """Write what there is about a photo.

        Raises:
            PhotoError: the format cannot hold this photo; nothing of it has been written.
            LeopartError: the folder cannot be written.
        """

    @abstractmethod
    def finish(self) -> None:
        """Write what can be written only after the last photo."""

    def place_photo(self, name: str, photo: MaskedPhoto) -> None:
        """Put the photo into the folder as the options say."""
        self.folder.put_photo(name, photo.entry, self.job.options.photos)


class Records:
    """A JSON list that grows on disk, not in memory."""

    def __init__(self, opened: ExitStack) -> None:
        self._file = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack does
        self.count = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Append an object."""
        separator = ",\n" if self.count else "\n"
        self._file.write((separator + json.dumps(record, separators=(",", ":"))).encode())
        self.count += 1

    def copy_to(self, file: IO[bytes]) -> None:
        """Write the list."""
        file.write(b"[")
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)
        file.write(b"\n]")


def write_document(file: IO[bytes], content: Mapping[str, Any]) -> None:
    """Write a JSON object, some of whose values are `Records`."""
    for number, (key, value) in enumerate(content.items()):
        file.write((",\n" if number else "{").encode() + json.dumps(key).encode() + b": ")
        if isinstance(value, Records):
            value.copy_to(file)
        else:
            file.write(json.dumps(value).encode())
    file.write(b"}\n")


def require_one_line(photo: MaskedPhoto) -> None:
    """Refuse a photo whose name cannot stand on a line of a list.

    Raises:
        PhotoError: it holds a line break, starts with `#`, or has white space at an end.
    """
    name = photo.stem
    if len(name.splitlines()) != 1 or name != name.strip() or name.startswith("#"):
        what = (
            f"{name!r} has a line break, a # in front or a space at an end, which no list of photos can hold"
        )
        raise PhotoError(f"{what}; rename the photo and run the same segment command again")

"""`OUT/photos.jsonl`: the photos of a run, one JSON object a line: where each photo and its masks are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from leopart.documents import checked
from leopart.errors import LeopartError
from leopart.paths import shown

PHOTO_LIST = "photos.jsonl"
_REMEDY = "run the same segment command again"


@dataclass(frozen=True)
class PhotoEntry:
    """A photo of a run.

    Attributes:
        name: path below the input folder, with `/` and suffix.
        path: where the photo was found, absolute.
        mask: path of its masks below `parts/`, `objects/` and `labels/`, without `.png`.
        width: of the upright photo and its masks, pixels.
        height: of the same.
        bytes: size of the photo's file.
        modified: when the file was changed last, nanoseconds since 1970.
    """

    name: str
    path: Path
    mask: str
    width: int
    height: int
    bytes: int
    modified: int


def read_photo_list(out: Path) -> list[PhotoEntry]:
    """The photos of a run, in its order. Their names have not been checked: open masks with `paths.inside`.

    Args:
        out: folder that `leopart segment` or `predict` wrote.

    Raises:
        LeopartError: there is no list, as before version 0.2, or a line of it is damaged.
    """
    path = out / PHOTO_LIST
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError as error:
        raise LeopartError(f"{shown(out)} has no {PHOTO_LIST}; {_REMEDY}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LeopartError(f"{shown(out)} has no readable {PHOTO_LIST}; {_REMEDY}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        if line:
            try:
                entry = checked(json.loads(line), PhotoEntry)
            except ValueError as error:
                message = f"line {number} of {shown(path)} cannot be used: {error}; {_REMEDY}"
                raise LeopartError(message) from error
            entries.append(entry)
    return entries

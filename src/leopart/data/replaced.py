"""Whether a photo's file is still the one that was looked at."""

from __future__ import annotations

from leopart.data.photos import Photo
from leopart.errors import PhotoError
from leopart.paths import shown


def file_mark(photo: Photo) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds of a photo's file; None where it cannot be seen."""
    try:
        status = photo.path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_unchanged(photo: Photo, size: int, modified: int) -> None:
    """See that a photo's file is the one that was looked at: a mask of another photo must not get its name.

    Args:
        photo: the photo.
        size: of its file, bytes, when the work began.
        modified: its time of change then, nanoseconds since the epoch.

    Raises:
        PhotoError: it has been replaced.
    """
    if file_mark(photo) not in ((size, modified), None):  # a reader says what is wrong with one that has gone
        what = f"{shown(photo.path)} was changed while the run was at work"
        raise PhotoError(f"{what}; run again to segment it")

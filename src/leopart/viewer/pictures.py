"""Pictures for the page: photos at the size of the screen, thumbnails, ids of their masks, patches of parts.

What takes time is kept in the run's cache folder, as whole files, and is made anew when the photo is newer.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leopart.data.images import load_photo, resize
from leopart.data.photo_list import PhotoEntry
from leopart.drawing.masks import jpeg
from leopart.files import whole_file
from leopart.viewer.run import Run

SIZES = {"thumb": 192, "screen": 1280}
"""Longest side in pixels of a picture in the grid, and of the large one."""
_PATCH = 72


def picture(run: Run, index: int, size: str) -> bytes:
    """A photo as JPEG, upright.

    Args:
        run: the run.
        index: place of the photo.
        size: one of `SIZES`.

    Raises:
        LeopartError: the photo cannot be read, or the folder cannot be written.
    """
    entry = run.entries[index]
    place = run.cache / size / f"{_key(entry)}.jpg"
    if _is_newer(place, Path(entry.path)):
        return place.read_bytes()
    height, width = _fit(entry.height, entry.width, SIZES[size])
    content = jpeg(resize(load_photo(Path(entry.path), smallest=(height, width)), height, width))
    _keep(place, content)
    return content


def mask(run: Run, index: int, size: str) -> bytes:
    """Ids of a photo, gzip-compressed: width and height, then all part ids, then all object ids.

    Numbers are uint16, little-endian, row by row; both sizes fit, since no side is above that of `size`.

    Raises:
        LeopartError: see `Run.masks`; the folder cannot be written.
    """
    entry = run.entries[index]
    place = run.cache / size / f"{_key(entry)}.{run.ids.fingerprint[:12]}.gz"
    if all(_is_newer(place, entry.mask_path(run.out, kind)) for kind in ("parts", "objects")):
        return place.read_bytes()
    parts, objects = run.masks(entry)
    height, width = _fit(parts.shape[0], parts.shape[1], SIZES[size])
    rows, columns = _nearest(parts.shape[0], height), _nearest(parts.shape[1], width)
    numbers = [np.array([width, height]), *(ids[np.ix_(rows, columns)].ravel() for ids in (parts, objects))]
    content = gzip.compress(np.concatenate(numbers).astype("<u2").tobytes(), compresslevel=3, mtime=0)
    _keep(place, content)
    return content


def patch(run: Run, part: int, index: int) -> bytes:
    """The place of a part in a photo: the box round it, as a square JPEG.

    Raises:
        LeopartError: the photo or its masks cannot be read.
    """
    entry = run.entries[index]
    rows, columns = np.nonzero(run.masks(entry)[0] == part)
    photo = load_photo(Path(entry.path))
    if not len(rows) or photo.shape[:2] != (entry.height, entry.width):
        return jpeg(resize(photo, _PATCH, _PATCH))
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    middle = (int(rows.min() + rows.max()) // 2, int(columns.min() + columns.max()) // 2)
    top, left = (max(0, at - side // 2) for at in middle)
    box = photo[top : top + side, left : left + side]
    return jpeg(resize(np.ascontiguousarray(box), *_fit(box.shape[0], box.shape[1], _PATCH)))


def _fit(height: int, width: int, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _nearest(source: int, target: int) -> NDArray[np.int64]:
    return (2 * np.arange(target, dtype=np.int64) + 1) * source // (2 * target)


def _key(entry: PhotoEntry) -> str:
    """Name of a photo's pictures: another photo in its place has another."""
    return hashlib.sha256(repr(entry).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _is_newer(place: Path, source: Path) -> bool:
    try:
        return place.stat().st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:
        return False


def _keep(place: Path, content: bytes) -> None:
    with whole_file(place) as file:
        file.write(content)

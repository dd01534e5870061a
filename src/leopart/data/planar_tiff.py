"""TIFF photos of 16 bits whose channels lie one after the other, which decoders garble or cut to 8 bits.

Each channel alone is a grey photo, which OpenCV reads rightly whatever its compression and byte order. So the
file gets another directory (TIFF 6.0, section 2), which describes one channel and points to the data that are
there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import TiffImagePlugin as Tiff

from leopart.errors import PhotoError
from leopart.paths import shown

_LARGEST = 2**32 - 2**20
#: Tags that hold for one channel as for all, and those that list the data of all channels in their order.
_SHARED = (
    *(Tiff.IMAGEWIDTH, Tiff.IMAGELENGTH, Tiff.COMPRESSION, Tiff.ROWSPERSTRIP, Tiff.PREDICTOR, Tiff.FILLORDER),
    *(Tiff.TILEWIDTH, Tiff.TILELENGTH),
)
_DATA = (Tiff.STRIPOFFSETS, Tiff.STRIPBYTECOUNTS, Tiff.TILEOFFSETS, Tiff.TILEBYTECOUNTS)
_GREY = {Tiff.BITSPERSAMPLE: (16,), Tiff.SAMPLESPERPIXEL: (1,), Tiff.PHOTOMETRIC_INTERPRETATION: (1,)}


def read_planes(path: Path, tags: Mapping[int, Any], channels: int) -> npt.NDArray[Any] | None:
    """Read all channels of a page.

    Args:
        path: the file.
        tags: directory of the page, as Pillow gives it (`tag_v2`).
        channels: how many there are.

    Returns:
        [H, W, channels], as stored; None where OpenCV cannot read one.

    Raises:
        PhotoError: the file is larger than a TIFF of one channel may be.
    """
    content = path.read_bytes()
    if len(content) > _LARGEST:
        advice = "save it with its channels interleaved, or make it smaller"
        raise PhotoError(f"{shown(path)} has its channels one after the other in over 4 GB; {advice}")
    order = "<" if content.startswith(b"II") else ">"
    planes: list[npt.NDArray[Any]] = []
    for channel in range(channels):
        grey = _with_directory(content, order, _one_channel(tags, channel, channels))
        plane = cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED)
        if plane is None or (planes and plane.shape != planes[0].shape):
            return None
        planes.append(plane)
    return np.stack(planes, axis=-1)


def _one_channel(tags: Mapping[int, Any], channel: int, channels: int) -> dict[int, Sequence[int]]:
    found: dict[int, Sequence[int]] = {tag: (int(tags[tag]),) for tag in _SHARED if tag in tags}
    for tag in _DATA:
        if tag in tags:
            count = len(tags[tag]) // channels
            found[tag] = tags[tag][channel * count : (channel + 1) * count]
    return found | _GREY


def _with_directory(content: bytes, order: str, tags: Mapping[int, Sequence[int]]) -> bytes:
    """The file with this directory at its end, instead of its own."""
    padded = content + bytes(len(content) % 2)
    beyond = len(padded) + 2 + 12 * len(tags) + 4
    entries, lists = struct.pack(f"{order}H", len(tags)), b""
    for tag in sorted(tags):
        numbers = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        place = numbers if len(numbers) == 4 else struct.pack(f"{order}I", beyond + len(lists))
        lists += b"" if len(numbers) == 4 else numbers
        entries += struct.pack(f"{order}HHI", tag, 4, len(tags[tag])) + place
    header = content[:2] + struct.pack(f"{order}HI", 42, len(padded))
    return header + padded[8:] + entries + bytes(4) + lists

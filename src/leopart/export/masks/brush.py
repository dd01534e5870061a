"""Label Studio's brush: the pixels of an RGBA image, run-length coded in bits.

Source: the format `rle-pack` (https://github.com/thi-ng/umbrella, package rle-pack). A header has the number
of values (32 bits), bits a value - 1 (5) and four sizes of run lengths, each - 1 (4 bits). Chunks follow: 1
for a run or 0 for single values, index of the size (2 bits), length - 1, and the value. We write runs only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leopart.export.masks.regions import Region
from leopart.export.masks.runs import Positions, runs_by_row

_CHANNELS = 4
_VALUE_BITS = 8
_SIZES = np.array([3, 4, 8, 16])
"""Bits of a run length."""
_LONGEST = 2 ** int(_SIZES[-1])


def brush_rle(region: Region, height: int, width: int) -> list[int]:
    """Bytes of a region's brush: 255 in all four channels of its pixels, 0 everywhere else.

    Args:
        region: pixels of a photo.
        height: of the photo, pixels.
        width: of the same.

    Returns:
        Bytes, 0 to 255.
    """
    lengths, values = _chunks(_CHANNELS * runs_by_row(region, width), _CHANNELS * height * width)
    size = np.searchsorted(2**_SIZES, lengths)
    bits = _SIZES[size]
    # One number a chunk: 1, index of the size, length - 1, value.
    codes = ((0b100 + size) << bits | (lengths - 1)) << _VALUE_BITS | values
    header = _bits(np.array([_CHANNELS * height * width, _VALUE_BITS - 1]), np.array([32, 5]))
    sizes = _bits(_SIZES - 1, np.full(len(_SIZES), 4))
    chunks = _bits(codes, 3 + bits + _VALUE_BITS)
    packed: list[int] = np.packbits(np.concatenate([header, sizes, chunks])).tolist()
    return packed


def _chunks(runs: Positions, total: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths of runs, none longer than a chunk can say, and the value of each."""
    edges = np.concatenate([[0], runs.ravel(), [total]])
    lengths = np.diff(edges)
    values = np.where(np.arange(len(lengths)) % 2, 255, 0)
    pieces = -(-lengths // _LONGEST)  # 0 for an empty run
    split = np.repeat(np.full(len(lengths), _LONGEST), pieces)
    split[np.cumsum(pieces)[pieces > 0] - 1] = ((lengths - 1) % _LONGEST + 1)[pieces > 0]
    return split, np.repeat(values, pieces)


def _bits(numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers as bits, the highest first, each in as many bits as its width."""
    total = int(widths.sum())
    below = np.repeat(np.cumsum(widths), widths) - np.arange(total) - 1
    bits: NDArray[np.uint8] = (np.repeat(numbers, widths) >> below & 1).astype(np.uint8)
    return bits

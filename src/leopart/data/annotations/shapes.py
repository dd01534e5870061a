"""Regions that tools write as text: run lengths and polygons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leopart.errors import LeopartError

Bools = NDArray[np.bool_]


def polygon(points: NDArray[np.float64], height: int, width: int) -> Bools:
    """Pixels whose centre lies inside of a polygon (even-odd rule), [height, width].

    Args:
        points: x and y in pixels from the photo's upper left corner, [n, 2]; those outside move to its edge.
        height: of the photo.
        width: of the photo.

    Raises:
        LeopartError: there are fewer than three points, or one is no number.
    """
    if len(points) < 3 or not np.isfinite(points).all():
        raise LeopartError("a polygon has fewer than three points, or one that is no number; draw it again")
    found = np.zeros((height, width), np.bool_)
    x, y = np.clip(points, 0, (width, height)).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    for row in range(int(y.min()), min(height, int(np.ceil(y.max())))):
        centre = row + 0.5
        crossed = (y <= centre) != (next_y <= centre)
        slope = (next_x - x)[crossed] / (next_y - y)[crossed]
        edges = np.sort(x[crossed] + (centre - y[crossed]) * slope)
        starts = np.ceil(edges - 0.5).astype(np.int64)  # pixels whose centre is right of the edge
        for first, after in zip(starts[::2], starts[1::2], strict=True):
            found[row, first:after] = True
    return found


def coco_runs(counts: Sequence[int] | str, height: int, width: int) -> Bools:
    """Pixels of COCO's run lengths, column by column, [height, width].

    Args:
        counts: lengths of runs of 0 and 1 in turn, or these compressed as text.
        height: of the photo.
        width: of the photo.

    Raises:
        LeopartError: they do not add up to the photo.

    Source: the code of the COCO API: five bits a character, the sixth says that more follow, and from the
    third number on they are differences from the number two before.
    """
    lengths = np.array(_decompressed(counts) if isinstance(counts, str) else counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise LeopartError("the run lengths of a region do not add up to its photo; export it again")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise LeopartError("a region has run lengths that cannot be read; export it again")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    return numbers


def brush(packed: Sequence[int], height: int, width: int) -> Bools:
    """Pixels of Label Studio's brush, [height, width]: where the opacity is not 0.

    Args:
        packed: bytes in the format `rle-pack`, see `leopart.export.masks.brush`: an RGBA image.
        height: of the photo.
        width: of the photo.

    Raises:
        LeopartError: they end too early, or are not as many pixels as the photo has.
    """
    try:
        bits = _Bits(np.array(packed, np.uint8))
        count, word = bits.take(32), bits.take(5) + 1
        sizes = [bits.take(4) + 1 for _ in range(4)]
        values = np.zeros(4 * height * width, np.uint8)
        if count != len(values) or word != 8:
            raise LeopartError("a brush is not as large as its photo; export it again")
        at = 0
        while at < count:
            repeated, size = bits.take(1), sizes[bits.take(2)]
            length = bits.take(size) + 1
            if at + length > count:
                raise ValueError
            values[at : at + length] = bits.take(8) if repeated else bits.several(length)
            at += length
    except (ValueError, OverflowError, IndexError) as error:
        raise LeopartError("a brush cannot be read; export it again") from error
    return values.reshape(height, width, 4)[..., 3] > 0


class _Bits:
    """Reads numbers of some bits each, the highest bit first."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.bits, self.at = np.unpackbits(data), 0

    def take(self, width: int) -> int:
        """The next number."""
        return int.from_bytes(np.packbits(self._next(width)).tobytes(), "big") >> (-width % 8)

    def several(self, count: int) -> NDArray[np.uint8]:
        """The next bytes."""
        return np.packbits(self._next(8 * count))

    def _next(self, width: int) -> NDArray[np.uint8]:
        found = self.bits[self.at : self.at + width]
        if len(found) < width:
            raise ValueError("it ends too early")
        self.at += width
        return found

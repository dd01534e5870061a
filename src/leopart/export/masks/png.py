"""PNG files as bytes: index masks with or without colours, and masks whose colours encode ids."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colours = NDArray[np.uint8]


def index_png(index: NDArray[np.integer[Any]], colours: Colours) -> bytes:
    """A palette PNG: pixel value = index.

    Args:
        index: [H, W], each below the number of colours.
        colours: sRGB of each index, uint8 [n, 3], n <= 256.
    """
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(colours.tobytes())
    return _bytes(image)


def grey_png(ids: NDArray[np.integer[Any]], largest: int) -> bytes:
    """A grey PNG: pixel value = id. It has 8 bits if `largest`, the largest id of any photo, is below 256.

    Args:
        ids: [H, W], 0 to 65535.
        largest: decides about the number of bits, so that all masks of a set have the same.
    """
    return _bytes(Image.fromarray(ids.astype(np.uint8 if largest < 256 else np.uint16)))


def colour_png(ids: NDArray[np.integer[Any]]) -> bytes:
    """An RGB PNG whose colours encode ids below 2^24 as R + 256 G + 65536 B.

    Args:
        ids: [H, W].
    """
    channels = [ids >> shift & 255 for shift in (0, 8, 16)]
    return _bytes(Image.fromarray(np.stack(channels, axis=2).astype(np.uint8)))


def _bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()

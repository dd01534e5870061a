"""Photos with 16 bits a channel: read whole, and scaled by the bits that they really use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

Deep = npt.NDArray[np.uint16]

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give; files of 16 bits hold all of them."""


def used_bits(values: npt.NDArray[Any]) -> int:
    """How many bits a photo of 16 bits uses: the least of 8, 10, 12, 14 and 16 that hold its largest value.

    A camera of 12 bits writes 0 to 4095 into a file of 16, which would be 6 % of the range: nearly black.
    """
    top = int(values.max())
    return next(bits for bits in _DEPTHS if top < 2**bits or bits == 16)


def levels(values: npt.NDArray[Any], top: float) -> npt.NDArray[np.uint8]:
    """Values from 0 to `top` as 0 to 255, rounded."""
    scaled = values.astype(np.float32) * np.float32(255 / top)
    found: npt.NDArray[np.uint8] = np.floor(scaled + np.float32(0.5)).astype(np.uint8)
    return found


def stretched(values: npt.NDArray[Any], percentiles: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Values as 0 to 255, so that the lower percentile is black and the upper one white; all channels alike.

    Values that are no numbers are black. Where the two percentiles are equal, what lies above them is white.
    """
    numbers = values[np.isfinite(values)].astype(np.float64)
    if not len(numbers):
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(numbers, percentiles)
    span = high - low or np.spacing(max(abs(low), 1e-30))
    with np.errstate(over="ignore"):  # beyond white is white
        shares = np.nan_to_num((values.astype(np.float64) - low) / span, nan=0.0)
    return levels(shares.clip(0, 1), 1.0)


def deep_pixels(image: ImageFile.ImageFile, path: Path, page: int = 0) -> Deep | None:
    """All 16 bits of a photo in colours, of which Pillow keeps 8.

    OpenCV reads them whole. TIFFs whose channels lie one after the other need `read_planes`.

    Args:
        image: opened, its pixels not yet loaded.
        path: its file.
        page: of a TIFF, the one that `image` is at.

    Returns:
        [H, W, 3], or [H, W, 4] with opacity last, as stored (not upright); None for other kinds of photos.
    """
    if image.format == "TIFF":
        return _tiff(image, path, page) if _is_deep_tiff(image) else None
    stored = str(image.tile[0][3]) if image.tile else ""
    deep = image.format == "PNG" and stored in ("RGB;16B", "RGBA;16B", "LA;16B")
    return _by_opencv(path, image, page) if deep and "transparency" not in image.info else None


def _is_deep_tiff(image: ImageFile.ImageFile) -> bool:
    tags: Any = image.tag_v2  # type: ignore[attr-defined]  # of TIFF images alone
    bits, extra = tags.get(TiffImagePlugin.BITSPERSAMPLE, ()), tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    rgb = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 2
    unsigned = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) == {1}
    return rgb and unsigned and set(bits) == {16} and len(bits) in (3, 4) and extra in ((), (0,), (2,))


def _tiff(image: ImageFile.ImageFile, path: Path, page: int) -> Deep | None:
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 1:
        return _by_opencv(path, image, page)
    from leopart.data.planar_tiff import read_planes

    found = read_planes(path, tags, len(tags[TiffImagePlugin.BITSPERSAMPLE]))
    return None if found is None else _checked(found, image)


def _by_opencv(path: Path, image: ImageFile.ImageFile, page: int) -> Deep | None:
    import cv2

    data = np.fromfile(path, np.uint8)
    if page:
        _, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        found = pages[0] if pages else None
    else:
        found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3:
        return None
    order = [2, 1, 0, 3][: found.shape[2]]
    return _checked(found[..., order], image)


def _checked(values: npt.NDArray[Any], image: Image.Image) -> Deep | None:
    """The values, if they are what the file's header says; Pillow tells what is wrong with other files."""
    right = values.dtype == np.uint16 and values.shape in ((image.height, image.width, n) for n in (3, 4))
    return values if right else None

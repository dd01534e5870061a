"""Photos to pixels on the device that will look at them."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from leopart.data.images import load_photo
from leopart.errors import LeopartError

_ORIENTATION_TAG = 0x0112
#: Axes of [3, H, W] to flip for each EXIF orientation; from 5 on height and width are exchanged before.
_FLIPS = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}

Pixels = npt.NDArray[np.uint8]


def checked(photo: Pixels) -> Pixels:
    """Pixels as they must be: [H, W, 3] uint8, contiguous and writable; a copy only where they are not.

    Raises:
        LeopartError: another shape or dtype.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        found = f"{photo.dtype} {list(photo.shape)}"
        raise LeopartError(f"a photo's pixels must be RGB, uint8 [height, width, 3], not {found}")
    return np.require(photo, requirements=["C", "W"])


def decode_photos(photos: Sequence[Path | bytes | Pixels], device: torch.device) -> list[Tensor]:
    """Decode photos, upright and at full size.

    On CUDA, ordinary JPEGs are decoded there. All else is read by `load_photo` and copied to the device:
    other devices and formats, CMYK, and JPEGs that the device's decoder refuses or that end too early.

    Args:
        photos: files, the bytes of files, or RGB pixels [H, W, 3] uint8.
        device: where the pixels are wanted.

    Returns:
        [3, H, W] uint8 on the device, one a photo.

    Raises:
        PhotoError: as from `load_photo`; encoded bytes are named after a temporary file.
    """
    decoded: dict[int, Tensor] = {}
    if device.type == "cuda":
        found = {place: _plain_jpeg(photo) for place, photo in enumerate(photos)}
        jpegs = {place: jpeg for place, jpeg in found.items() if jpeg is not None}
        decoded = dict(zip(jpegs, _decode_jpegs(list(jpegs.values()), device), strict=False))
    return [
        decoded[place] if place in decoded else _loaded(photo, device) for place, photo in enumerate(photos)
    ]


def _plain_jpeg(photo: Path | bytes | Pixels) -> tuple[bytes, int] | None:
    """Bytes and EXIF orientation of a whole 8-bit grey or YCbCr JPEG; None for anything else."""
    try:
        data = photo.read_bytes() if isinstance(photo, Path) else photo
        if not isinstance(data, bytes) or not data.startswith(b"\xff\xd8") or not data.endswith(b"\xff\xd9"):
            return None
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            # Adobe's transform 0 stands for RGB that was never turned into YCbCr.
            plain = image.mode in ("RGB", "L") and image.info.get("adobe_transform", 1) == 1
    except Exception:  # noqa: BLE001 - a damaged file can raise anything; load_photo will say what is wrong
        return None
    return (data, orientation if orientation in _FLIPS or orientation == 5 else 1) if plain else None


def _decode_jpegs(jpegs: list[tuple[bytes, int]], device: torch.device) -> list[Tensor]:
    """Decode all on the device, or none: the decoder does not say which one it could not take.

    torchvision means to hand its decoders over to another package some day; from then on this returns none.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg  # type: ignore[import-untyped]  # ships none
    except ImportError:
        return []
    encoded = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data, _ in jpegs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # see above
            decoded = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device) if encoded else []
    except RuntimeError:
        return []
    return [_upright(pixels, turn) for pixels, (_, turn) in zip(decoded, jpegs, strict=True)]


def _upright(pixels: Tensor, orientation: int) -> Tensor:
    if orientation >= 5:
        pixels = pixels.transpose(1, 2)
    return pixels.flip(_FLIPS[orientation]) if orientation in _FLIPS else pixels


def _loaded(photo: Path | bytes | Pixels, device: torch.device) -> Tensor:
    if isinstance(photo, Path):
        pixels = load_photo(photo)
    elif isinstance(photo, bytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo"
            path.write_bytes(photo)
            pixels = load_photo(path)
    else:
        pixels = checked(photo)
    return torch.from_numpy(pixels).to(device, non_blocking=True).permute(2, 0, 1)

"""Photos as arrays: 8-bit RGB whatever the file holds, upright, at the size a network takes."""

from __future__ import annotations

import math
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from leopart.data.deep_photos import deep_pixels, levels, stretched, used_bits
from leopart.data.photos import HEIF_SUFFIXES, Photo, find_photos, output_stems, shown
from leopart.errors import LeopartError, PhotoError

__all__ = [
    "Photo",
    "find_photos",
    "load_photo",
    "output_stems",
    "page_count",
    "photo_size",
    "resize",
    "stored_orientation",
    "target_size",
    "upright_rgb",
]

MAX_PIXELS = 10**9
"""Photos with more pixels are refused: 3 GB once decoded."""
MAX_ELONGATION = 16
"""With the aspect kept, a photo longer than this many times its width is squeezed to this ratio."""
_ORIENTATION_TAG = 0x0112
_TIFF_SIDES = (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _formats() -> tuple[str, ...]:
    """Pillow's formats for photos, named one by one: it knows others that start programs (EPS)."""
    plugins = {"JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp"}
    plugins |= {"GIF": "Gif", "PPM": "Ppm", "JPEG2000": "Jpeg2K", "AVIF": "Avif"}
    for name in plugins.values():
        with suppress(ImportError):  # AVIF came with Pillow 11.3
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in plugins if name in Image.OPEN)


_FORMATS = _formats()


def photo_size(path: Path) -> tuple[int, int]:
    """Height and width of a photo seen upright (EXIF orientation applied), from the header alone.

    Raises:
        PhotoError: the file cannot be opened as a photo.
    """
    with opened(path) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # some versions of Pillow have swapped its sides
            width, height = (int(image.tag_v2[tag]) for tag in _TIFF_SIDES)
        return (width, height) if _orientation(image) >= 5 else (height, width)


def page_count(path: Path) -> int:
    """Pages of a TIFF, as far as its headers can be read; 1 for every other kind of file.

    Raises:
        PhotoError: the file cannot be opened as a photo.
    """
    with opened(path) as image:
        return _pages(image)


def _pages(image: ImageFile.ImageFile) -> int:
    """Looking for pages moves the file on, and damage behind the first page is no matter."""
    found = 1
    if image.format == "TIFF":
        with suppress(Exception):
            found = getattr(image, "n_frames", 1)
    return found


def _unheard(_: str) -> None:
    """Take a remark that nobody asked for."""


def stored_orientation(path: Path) -> int:
    """EXIF orientation of a photo: 1 where it is stored upright, 5 to 8 where it is stored on its side.

    Raises:
        PhotoError: the file cannot be opened as a photo.
    """
    with opened(path) as image:
        return _orientation(image)


def load_photo(
    path: Path,
    smallest: int | tuple[int, int] | None = None,
    *,
    page: int = 0,
    stretch: tuple[float, float] | None = None,
    remark: Callable[[str], object] = _unheard,
) -> npt.NDArray[np.uint8]:
    """Read a photo as 8-bit RGB, upright.

    Orientation comes from EXIF. Transparent parts lie on white, as photo viewers show them. Of an animation
    the first picture is taken. Values of 16 bits are scaled by the bits that the photo uses (see
    `used_bits`), never clipped; floating-point grey is read as 0..1. Colour profiles are not applied.

    Args:
        path: the file; its suffix does not matter.
        page: which one of a TIFF, from 0.
        stretch: percentiles of the photo that become black and white, see `stretched`; then numbers without
            an agreed brightness range are read too.
        remark: takes what is odd about the photo, though it can be read: `10 bits`, `3 pages`.
        smallest: a big JPEG may be decoded at 1/2, 1/4 or 1/8 (many times faster) as long as height and
            width stay at least this (one number, or height and width of the upright photo). None: full size.

    Returns:
        [H, W, 3] uint8, writable.

    Raises:
        PhotoError: the file is missing, unreadable, empty, not a photo, damaged, over `MAX_PIXELS`, or holds
            numbers without an agreed brightness range; the message says which and what to do.
    """
    with opened(path) as image:
        if page:
            image.seek(page)
        orientation = _orientation(image)
        if smallest is not None:
            height, width = (smallest, smallest) if isinstance(smallest, int) else smallest
            image.draft(None, (height, width) if orientation >= 5 else (width, height))
        deep = deep_pixels(image, path, page)
        if deep is not None:
            upright: Image.Image = _shallow(deep, stretch, remark)
        else:
            image.load()
            if image.format == "TIFF":  # Pillow has turned it while loading and dropped the tag
                orientation = _orientation(image)
            upright = _to_rgb(image, path, stretch, remark)
        if orientation in _TURNS:
            upright = upright.transpose(_TURNS[orientation])
        pixels = np.array(upright)
        if (pages := _pages(image)) > 1:
            remark(f"{pages} pages")
        return pixels


def upright_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A PIL image as 8-bit RGB [H, W, 3], upright; transparent parts lie on white.

    Raises:
        PhotoError: it holds numbers without an agreed brightness range.
    """
    orientation = _orientation(image)
    upright = _to_rgb(image, Path(getattr(image, "filename", "") or "a PIL image"), None, _unheard)
    return np.array(upright.transpose(_TURNS[orientation]) if orientation in _TURNS else upright)


def resize(photo: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize [H, W, 3] uint8 to [height, width, 3] by Pillow's antialiased bilinear, the paper's protocol.

    A photo that has this size already is returned as it is, not copied.
    """
    if photo.shape[:2] == (height, width):
        return photo
    return np.array(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))


def target_size(height: int, width: int, size: int, patch: int, keep_aspect: bool) -> tuple[int, int]:
    """Height and width at which a photo enters the network: multiples of `patch`, at least one patch.

    Square: `size` rounded to the nearest multiple of `patch` (n patches). With the aspect kept: about n * n
    patches in the photo's own aspect ratio, so that every photo costs the same; beyond `MAX_ELONGATION` : 1
    the photo is squeezed to that ratio, so no side exceeds 4 * n patches and a strip of 20000x40 neither
    explodes nor vanishes.
    """
    side = max(1, math.floor(size / patch + 0.5))
    if not keep_aspect:
        return side * patch, side * patch
    ratio = min(max(height / width, 1 / MAX_ELONGATION), MAX_ELONGATION) ** 0.5
    rows, columns = max(1, math.floor(side * ratio + 0.5)), max(1, math.floor(side / ratio + 0.5))
    return rows * patch, columns * patch


class _Undisturbed:
    """While any thread is inside, Pillow gives no warnings and sets no size limit: ours is checked instead.

    Both are global to the process. They are changed by the first to enter and restored by the last to leave,
    because `warnings.catch_warnings` from several threads would restore them in the wrong order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: int | None = None
        self._added: list[object] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                before = list(warnings.filters)
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._added = [rule for rule in warnings.filters if rule not in before]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._limit
                for rule in self._added:
                    with suppress(ValueError):  # someone else has restored older filters meanwhile
                        warnings.filters.remove(rule)  # type: ignore[attr-defined]  # a list, whatever its stub says


_undisturbed = _Undisturbed()


@contextmanager
def opened(
    path: Path, kind: str = "photo", formats: tuple[str, ...] = _FORMATS
) -> Iterator[ImageFile.ImageFile]:
    """Open an image lazily, for use in a `with` block.

    Args:
        path: the file.
        kind: what the file should be, as error messages say it.
        formats: Pillow's names of the formats that may be opened.

    Raises:
        PhotoError: the file cannot be used, or anything but a LeopartError was raised in the block.
    """
    try:
        _check_file(path)
        with _undisturbed, Image.open(path, formats=formats) as image:
            width, height = image.size
            if not 0 < width * height <= MAX_PIXELS:
                extent = f"{width}x{height} pixels, and only 1 to {MAX_PIXELS:,} can be read"
                raise PhotoError(f"{shown(path)} has {extent}; make it smaller or leave it out")
            yield image
    except LeopartError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(f"{shown(path)} is {_stranger(path, kind, formats)}") from error
    except Exception as error:  # a damaged file can raise anything out of a decoder
        raise PhotoError(_complaint(path, error)) from error


def _stranger(path: Path, kind: str, formats: tuple[str, ...]) -> str:
    """What a file of another format is, and what to do."""
    if "JPEG" not in formats and _begins(path, b"\xff\xd8\xff"):
        return "a JPEG, which smears ids beyond repair; export the mask as PNG from where it was made"
    if path.suffix.lower() in HEIF_SUFFIXES:
        return f"a HEIF {kind}, which cannot be read; convert it to PNG, or leave it out"
    if "TIFF" in formats and any(_begins(path, magic) for magic in (b"II*\0", b"MM\0*")):
        return "a TIFF in a layout that is not read; save it as 8-bit or 16-bit grey or RGB, or leave it out"
    known = f"not a {kind} in a format that is read ({' '.join(formats)})"
    return f"{known}; convert it to PNG, or leave it out"


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _check_file(path: Path) -> None:
    """Refuse what would hang (a pipe) or be misunderstood by the decoder."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise PhotoError(f"{shown(path)} is a folder, or one that cannot be listed; check its permissions")
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(f"{shown(path)} is not a plain file; leave it out")
    if status.st_size == 0:
        raise PhotoError(f"{shown(path)} is empty (0 bytes); copy it again from its source or remove it")


def _complaint(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{shown(path)} is not there (any more); put it back or leave it out"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{shown(path)} cannot be read: {error.strerror}; check the file's permissions and the disk"
    if isinstance(error, MemoryError):
        return f"{shown(path)} does not fit into memory; make it smaller"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{shown(path)} is damaged ({reason}); copy it again from its source or remove it"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where there is none or the EXIF block is damaged, which harms no pixel."""
    try:
        # Not the method of the PNG class: it decodes the pixels to look for EXIF behind them.
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF raises nearly anything, and harms no pixel
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _shallow(
    deep: npt.NDArray[np.uint16], stretch: tuple[float, float] | None, remark: Callable[[str], object]
) -> Image.Image:
    """A photo of 16 bits, [H, W, 3 or 4], as RGB."""
    if stretch is not None:
        colours = stretched(deep[..., :3], stretch)
    else:
        bits = used_bits(deep[..., :3])
        if bits < 16:
            remark(f"{bits} bits")
        colours = levels(deep[..., :3], 2.0**bits - 1)
    if deep.shape[2] == 3:
        return Image.fromarray(colours)
    return _on_white(Image.fromarray(np.dstack([colours, levels(deep[..., 3], 65535.0)])))


def _to_rgb(
    image: Image.Image, path: Path, stretch: tuple[float, float] | None, remark: Callable[[str], object]
) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey_levels(image, path, stretch, remark))
    elif stretch is not None:
        image = _stretched_colours(image, stretch)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    return _on_white(image)


def _stretched_colours(image: Image.Image, stretch: tuple[float, float]) -> Image.Image:
    """The same photo with 8 bits a channel, RGB or RGBA; its opacity stays."""
    stored = np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    stored[..., :3] = stretched(stored[..., :3], stretch)
    return Image.fromarray(stored)


def _on_white(image: Image.Image) -> Image.Image:
    see_through = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(see_through, mask=see_through.getchannel("A"))
    return white


def _grey_levels(
    image: Image.Image, path: Path, stretch: tuple[float, float] | None, remark: Callable[[str], object]
) -> npt.NDArray[np.uint8]:
    """Scale 16-bit or floating-point grey to [H, W] uint8."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    is_negative = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0  # white is zero
    if stretch is not None:
        found = stretched(np.asarray(image), stretch)
        return np.uint8(255) - found if is_negative else found
    if image.mode == "F":
        top, kind = 1.0, "floating-point numbers outside 0..1"
    elif image.mode == "I" and image.format == "TIFF":
        top, kind = 0.0, "signed or 32-bit numbers"
    else:  # PNG, PGM and JPEG 2000 arrive at 16 bits; a TIFF says how many of them it uses
        (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))
        top, kind = 2.0**bits - 1, "numbers beyond its bit depth"
    values = np.asarray(image)
    if not (top > 0 and values.min() >= 0 and values.max() <= top):  # so for NaN as well
        no_range = f"{kind}, which have no agreed brightness"
        remedy = "give --stretch 1 99, or save it as 8-bit or 16-bit grey, or as RGB"
        raise PhotoError(f"{shown(path)} holds {no_range}; {remedy}")
    if top == 65535 and (bits := used_bits(values)) < 16:
        remark(f"{bits} bits")
        top = 2.0**bits - 1
    return np.uint8(255) - levels(values, top) if is_negative else levels(values, top)

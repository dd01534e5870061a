"""Pictures of one run: an animation, and a strip of three for print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from leopart.errors import LeopartError
from leopart.files import whole_file

_CARD = (247, 246, 242)
_LAST = 3  # the last picture stays this many times as long


def save_animation(pictures: Sequence[Path], path: Path, milliseconds: int) -> None:
    """Write pictures as an animated GIF that loops forever.

    All frames share one palette, taken from the first, middle and last picture, without dithering, so that
    unchanged areas do not flicker.

    Args:
        pictures: image files, at least one; smaller ones are padded.
        path: of the GIF.
        milliseconds: how long each is shown.

    Raises:
        LeopartError: a picture cannot be read, or the GIF cannot be written.
    """
    palette = strip(pictures).quantize(256, method=Image.Quantize.MEDIANCUT)
    size = _largest([_size(picture) for picture in pictures])
    frames = (
        _filled(_opened(picture), size).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    )
    first, *rest = frames
    durations = [milliseconds] * len(rest) + [_LAST * milliseconds]
    with whole_file(path) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def strip(pictures: Sequence[Path]) -> Image.Image:
    """The first, middle and last picture, one below the other, RGB; fewer if there are fewer.

    Raises:
        LeopartError: a picture cannot be read.
    """
    last = len(pictures) - 1
    shown = [_opened(pictures[index]) for index in sorted({0, last // 2, last})]
    width, _ = _largest([picture.size for picture in shown])
    card = Image.new("RGB", (width, sum(picture.height for picture in shown)), _CARD)
    top = 0
    for picture in shown:
        card.paste(picture, (0, top))
        top += picture.height
    return card


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise LeopartError(f"cannot read the picture {path}: {error}; delete it and run again") from error


def _size(path: Path) -> tuple[int, int]:
    return _opened(path).size


def _largest(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _filled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size:
        return picture
    card = Image.new("RGB", size, _CARD)
    card.paste(picture, (0, 0))
    return card

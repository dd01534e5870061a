"""Masks at the size of the photo: smooth upsampling of label maps, palette PNGs, and overlays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leopart.files import whole_file

Label = TypeVar("Label", bound=np.integer[Any])
Labels = NDArray[np.integer[Any]]
Pixels = NDArray[np.uint8]

_STRIP_PIXELS = 1 << 18  # working memory beside the result stays at tens of MB, whatever the photo
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def upsample_labels(ids: NDArray[Label], height: int, width: int) -> NDArray[Label]:
    """Enlarge a label map so that region boundaries are smooth instead of blocky.

    Naive form:
        for each label: score[label] = bilinear(ids == label, (height, width))   # half-pixel centres
        result = argmax over labels, ties to the lower id

    A bilinear value depends on four cells only, so at most four labels compete at any pixel. That makes
    the cost independent of the number of labels, and pixels among four equal cells need no arithmetic.
    Weights are exact integers: the result is the same on every machine. An axis that shrinks takes the
    nearest cell instead.

    Args:
        ids: label of each cell, integer [h, w].
        height: rows of the result, >= 1.
        width: columns of the result, >= 1.

    Returns:
        Labels, the dtype of `ids`, [height, width].

    Raises:
        ValueError: `ids` is not a non-empty integer map, or the size is not positive.
    """
    if ids.ndim != 2 or ids.size == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"expected a non-empty integer map [h, w], got {ids.dtype} {ids.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"expected a positive size, got {height} x {width}")
    if ids.shape == (height, width):
        return ids.copy()
    top, bottom, down = _axis(ids.shape[0], height)
    left, right, across = _axis(ids.shape[1], width)
    mixed = _mixed_cells(ids)
    result = np.empty((height, width), ids.dtype)
    strip = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, strip):
        rows = slice(start, start + strip)
        result[rows] = ids[top[rows]][:, left]
        y, x = np.nonzero(mixed[top[rows]][:, left])
        y += start
        corners = [ids[r[y], c[x]] for r in (top, bottom) for c in (left, right)]
        result[y, x] = _heaviest(corners, down[y], across[x], 2 * height, 2 * width)
    return result


def _axis(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Lower cell, upper cell and the upper cell's weight (out of 2 * target) of every target position."""
    centre = (2 * np.arange(target, dtype=np.int64) + 1) * source
    if target <= source:
        nearest = centre // (2 * target)
        return nearest, nearest, np.zeros_like(nearest)
    position = np.clip(centre - target, 0, (source - 1) * 2 * target)
    lower, weight = np.divmod(position, 2 * target)
    return lower, np.minimum(lower + 1, source - 1), weight


def _mixed_cells(ids: Labels) -> NDArray[np.bool_]:
    """Whether the cell, its right, its lower and its lower right neighbour differ, bool [h, w]."""
    padded = np.pad(ids, ((0, 1), (0, 1)), mode="edge")
    first = padded[:-1, :-1]
    mixed: NDArray[np.bool_] = (
        (padded[:-1, 1:] != first) | (padded[1:, :-1] != first) | (padded[1:, 1:] != first)
    )
    return mixed


def _heaviest(
    corners: list[NDArray[Label]],
    down: NDArray[np.int64],
    across: NDArray[np.int64],
    height: int,
    width: int,
) -> NDArray[Label]:
    """Label with the largest summed weight among four corners [m], ties to the lower label."""
    weights = [(height - down) * (width - across), (height - down) * across]
    weights += [down * (width - across), down * across]
    best, best_score = corners[0], np.full(len(down), -1, dtype=np.int64)
    for mine in corners:
        score = np.zeros(len(down), dtype=np.int64)
        for other, weight in zip(corners, weights, strict=True):
            score += np.where(other == mine, weight, 0)
        better = (score > best_score) | ((score == best_score) & (mine < best))
        best, best_score = np.where(better, mine, best), np.where(better, score, best_score)
    return best


def save_mask(path: Path, ids: Labels, palette: Pixels) -> None:
    """Write a label map as PNG: pixel value = id.

    Up to id 255 the file has a palette, so that every viewer shows colours; above, it is 16-bit grey. The
    same ids give the same bytes, and an interruption leaves no incomplete file.

    Args:
        path: file to write; its folder is made.
        ids: labels in 0 .. 65535, integer [H, W].
        palette: sRGB colour of each id, uint8 [n, 3], n > the largest id unless that is above 255.

    Raises:
        LeopartError: the file cannot be written.
        ValueError: ids out of range, or an id without a colour.
    """
    largest = int(ids.max())
    if ids.min() < 0 or largest > 65535:
        raise ValueError(f"ids must lie in 0 .. 65535, got {ids.min()} .. {largest}")
    if largest <= 255:
        if largest >= len(palette):
            raise ValueError(f"id {largest} has no colour: the palette has {len(palette)}")
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(np.ascontiguousarray(palette[:256]).tobytes())
    else:
        image = Image.fromarray(ids.astype(np.uint16))
    with whole_file(path) as file:
        image.save(file, format="PNG")


def shrink(photo: Pixels, ids: Labels, longest: int) -> tuple[Pixels, Labels]:
    """Photo [H, W, 3] and its label map [H, W], both reduced so that the longest side fits.

    The photo is averaged, labels take the nearest pixel; a side never falls below one pixel.
    """
    height, width = ids.shape
    scale = longest / max(height, width)
    if scale >= 1.0:
        return photo, ids
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    small = Image.fromarray(photo).resize((columns, rows), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(small), upsample_labels(ids, rows, columns)


def overlay(photo: Pixels, ids: Labels, colours: Pixels, alpha: float = 0.5) -> Pixels:
    """Photo with every region tinted and outlined; the background (id 0) is dimmed and loses some colour.

    Outlines are drawn inside a region in a strong shade of its own colour, with a dark hairline where two
    regions meet; their width grows with the photo.

    Args:
        photo: sRGB, uint8 [H, W, 3].
        ids: labels, integer [H, W].
        colours: sRGB of each id, uint8 [n, 3], n > the largest id.
        alpha: weight of the tint, 0 (photo only) .. 1 (colour only).

    Returns:
        sRGB, uint8 [H, W, 3].

    Raises:
        ValueError: photo and labels differ in size, or an id has no colour.
    """
    if photo.shape != (*ids.shape, 3):
        raise ValueError(f"photo {photo.shape} and labels {ids.shape} differ in size")
    if ids.min() < 0 or ids.max() >= len(colours):
        raise ValueError(f"ids {ids.min()} .. {ids.max()} need as many colours, got {len(colours)}")
    tint = colours[ids].astype(np.float32)
    base = photo.astype(np.float32)
    grey = base.mean(axis=2, keepdims=True)
    foreground = (ids > 0)[..., None]
    result = np.where(foreground, base + np.float32(alpha) * (tint - base), 0.78 * (0.6 * base + 0.4 * grey))
    line = max(1, round(max(ids.shape) / 480))
    edge = _edges(ids, line)[..., None] & foreground
    hair = _edges(ids, max(1, line // 2))[..., None] & foreground if line > 1 else np.zeros_like(edge)
    result = np.where(edge, 0.35 * base + 0.65 * np.minimum(tint * 1.15 + 40, 255), result)
    result = np.where(hair, 0.45 * tint, result)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def _edges(ids: Labels, reach: int) -> NDArray[np.bool_]:
    """Whether another label lies within `reach` pixels (along rows, columns or diagonals), bool [H, W]."""
    near = np.zeros(ids.shape, dtype=bool)
    height, width = ids.shape
    for dy, dx in _SHIFTS:
        for step in range(1, min(reach, max(height, width)) + 1):
            y, x = dy * step, dx * step
            if y >= height or abs(x) >= width:
                break
            here = (slice(0, height - y), slice(max(0, -x), width - max(0, x)))
            there = (slice(y, height), slice(max(0, x), width + min(0, x)))
            differs = ids[here] != ids[there]
            near[here] |= differs
            near[there] |= differs
    return near


def save_overlay(
    path: Path,
    photo: Pixels,
    ids: Labels,
    colours: Pixels,
    alpha: float = 0.5,
    longest: int = 1280,
) -> None:
    """Write `overlay` as JPEG, reduced first so that no side is longer than `longest` pixels.

    Raises:
        LeopartError: the file cannot be written.
        ValueError: as `overlay`.
    """
    small, labels = shrink(photo, ids, longest)
    with whole_file(path) as file:
        file.write(jpeg(overlay(small, labels, colours, alpha), quality=88))


def jpeg(pixels: Pixels, quality: int = 82) -> bytes:
    """Bytes of a JPEG file of sRGB pixels, uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()

"""One palette everywhere: the same id has the same colour in masks, overlays and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Colours = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

# The golden angle: however many ids there are, successive hues fall into the widest gap left on the wheel.
_GOLDEN_ANGLE = 180.0 * (3.0 - 5.0**0.5)
_FIRST_HUE = 32.0
# Cycled with the id. Lengths 3 and 2 have no common factor, so six levels pass before a pair comes back.
_LIGHTNESS = np.array([0.70, 0.56, 0.82])
_CHROMA = np.array([0.17, 0.12])
# 21 golden angles are nearly whole turns: lightness separates the next round of hues.
_ROUND = 21
_ROUND_LIGHTNESS = np.array([0.0, -0.10, 0.08])

CONTRASTING: Colours = np.array(
    [
        [254, 228, 176],
        [98, 20, 254],
        [176, 46, 72],
        [150, 176, 254],
        [98, 254, 254],
        [228, 20, 20],
        [124, 72, 124],
        [254, 150, 176],
        [72, 150, 124],
        [176, 176, 98],
        [202, 228, 20],
        [150, 124, 176],
    ],
    np.uint8,
)
"""Twelve colours that people with any colour vision tell apart, sRGB [12, 3].

Any two are at least 14 apart in CIEDE2000, also as seen with protanopia, deuteranopia or tritanopia. Found by
exchange on a grid of sRGB."""


def colours(n: int) -> Colours:
    """Colours of the ids 0 .. n - 1: black for the background, then distinct and pleasant ones.

    Hues walk round the OKLCH wheel by the golden angle while lightness and chroma alternate, so that
    neighbouring ids are far apart. The colour of an id does not depend on n.

    Args:
        n: number of ids, >= 0.

    Returns:
        sRGB, uint8 [n, 3].
    """
    index = np.arange(max(n - 1, 0))
    rgb = _from_oklch(*_shade(index))
    return np.concatenate([np.zeros((1, 3), np.uint8), rgb])[:n]


def part_colours(object_of_part: ArrayLike, splits: Sequence[Sequence[int]] = ()) -> Colours:
    """Colours of parts: shades of the colour of their object, which shows what belongs together.

    The parts of an object spread over lightness, and a little over hue, round the colour that
    `colours` gives the object; an object's only part has exactly that colour. Where there is one object only,
    its shades would be all there is to see, so its parts get the colours of objects. Parts without an object
    are greys. A piece of a part that was split is a lighter or darker shade of that part; no other colour
    changes by a split.

    Args:
        object_of_part: object id of every part id, integer [K + 1]; 0 = no object. Entry 0 is background.
        splits: ids of the pieces of every split part, the part itself first; the others stand at the end of
            `object_of_part`.

    Returns:
        sRGB, uint8 [K + 1, 3]; row 0 is black.

    Raises:
        ValueError: an object id is negative.
    """
    objects = np.asarray(object_of_part, dtype=np.int64)
    if objects.size and objects.min() < 0:
        raise ValueError("object ids start at 0")
    result = np.zeros((len(objects), 3), np.uint8)
    unsplit = objects[: len(objects) - sum(len(ids) - 1 for ids in splits)]
    several = len(np.unique(unsplit[unsplit > 0])) > 1
    for obj in np.unique(unsplit[1:]):
        members = 1 + np.flatnonzero(unsplit[1:] == obj)
        if obj == 0:
            result[members] = _greys(len(members))
        elif several or len(members) == 1:
            result[members] = _relatives(int(obj), len(members))
        else:
            result[members] = colours(len(members) + 1)[1:]
    for part, *pieces in splits:
        result[pieces] = _tints(result[part], len(pieces))
    return result


def _tints(colour: Colours, count: int) -> Colours:
    """Shades [count, 3] of a colour [3]: lighter ones of a dark colour, darker ones of a light one."""
    goal = 255.0 if colour.mean() < 128 else 0.0
    weight = 0.55 * np.arange(1, count + 1)[:, None] / count
    return np.rint(colour + weight * (goal - colour)).astype(np.uint8)


def _shade(index: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """OKLCH lightness, chroma and hue (degrees) of the index-th object, counted from 0."""
    hue: Floats = (_FIRST_HUE + index * _GOLDEN_ANGLE) % 360.0
    lightness: Floats = _LIGHTNESS[index % 3] + _ROUND_LIGHTNESS[index // _ROUND % 3]
    chroma: Floats = _CHROMA[index % 2]
    return lightness, chroma, hue


def _relatives(obj: int, count: int) -> Colours:
    """Shades [count, 3] round the colour of object `obj` (>= 1)."""
    if count == 1:
        return colours(obj + 1)[obj:]
    _, chroma, hue = _shade(np.array([obj - 1]))
    # Out of order on purpose: parts with neighbouring ids should not be neighbouring shades.
    step = np.argsort((np.arange(count) * _GOLDEN_ANGLE) % 360.0, kind="stable").argsort() / (count - 1)
    lightness = 0.46 + 0.42 * step
    return _from_oklch(lightness, np.full(count, chroma[0]), hue + 28.0 * (step - 0.5))


def _greys(count: int) -> Colours:
    step = np.arange(count) / max(count - 1, 1)
    return _from_oklch(0.45 + 0.35 * step, np.zeros(count), np.zeros(count))


def _from_oklch(lightness: Floats, chroma: Floats, hue: Floats) -> Colours:
    """OKLCH (hue in degrees) to sRGB; chroma is lowered where sRGB cannot show it, hue and lightness stay.

    Source: B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    low, high = np.zeros_like(chroma), chroma.copy()
    for _ in range(20):  # bisection: 2^-20 of the chroma is far below one step of uint8
        middle = np.where(_in_gamut(_linear_rgb(lightness, high, hue)), high, (low + high) / 2)
        fits = _in_gamut(_linear_rgb(lightness, middle, hue))
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    linear = np.clip(_linear_rgb(lightness, low, hue), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * encoded).astype(np.uint8)


def _in_gamut(linear: Floats) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.logical_and.reduce((linear >= -1e-6) & (linear <= 1.0 + 1e-6), axis=-1)
    return inside


_LMS_OF_LAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB_OF_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def _linear_rgb(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """OKLCH to linear sRGB [n, 3], which may leave [0, 1]."""
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    rgb: Floats = (lab @ _LMS_OF_LAB.T) ** 3 @ _RGB_OF_LMS.T
    return rgb

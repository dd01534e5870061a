"""Where the views of a photo lie, and which region each pair of them shares. Geometry only, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leopart.errors import LeopartError

_TRIES = 10
"""Shapes drawn for one crop before the central one is taken, as torchvision's RandomResizedCrop does."""


@dataclass(frozen=True)
class CropSettings:
    """How many views a photo has, how large they are and how much they overlap.

    Raises:
        LeopartError: a value makes no sense; the message says which.
    """

    global_crops: int = 2
    """Large views, at least 1. They come first in every array."""
    local_crops: int = 4
    """Small views, 0 or more."""
    global_size: int = 224
    """Side in pixels to which a global view is resized."""
    local_size: int = 96
    """Side in pixels to which a local view is resized."""
    global_scale: tuple[float, float] = (0.25, 1.0)
    """Least and greatest share of the photo's area that a global view covers."""
    local_scale: tuple[float, float] = (0.05, 0.25)
    """Least and greatest share of the photo's area that a local view covers."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and greatest width : height of a view, before it is resized to a square."""
    min_overlap: float = 0.01
    """A view shares more than this part of the photo's area with every global view."""
    global_pair_factor: float = 2.0
    """Two global views share this many times more."""
    retries: int = 100
    """Draws of one view before it is centred on what the global views share."""

    def __post_init__(self) -> None:
        if self.global_crops < 1 or self.local_crops < 0:
            counts = f"{self.global_crops} and {self.local_crops}"
            raise LeopartError(f"views need global_crops >= 1 and local_crops >= 0, not {counts}")
        if min(self.global_size, self.local_size) < 1:
            sizes = f"{self.global_size} and {self.local_size}"
            raise LeopartError(f"global_size and local_size must be at least 1 pixel, not {sizes}")
        for name, (low, high), most in (
            ("global_scale", self.global_scale, 1.0),
            ("local_scale", self.local_scale, 1.0),
            ("ratio", self.ratio, math.inf),
        ):
            if not 0 < low <= high <= most or math.isinf(high):
                limit = "" if math.isinf(most) else " and at most 1"
                raise LeopartError(f"{name} must be two rising numbers above 0{limit}, not ({low}, {high})")
        if not 0 <= self.min_overlap < 1 or not 0 <= self.global_pair_factor < math.inf:
            values = f"{self.min_overlap} and {self.global_pair_factor}"
            raise LeopartError(f"min_overlap must be in [0, 1) and global_pair_factor >= 0, not {values}")
        if self.retries < 1:
            raise LeopartError(f"retries must be at least 1, not {self.retries}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of every view after resizing, global views first, length N."""
        return (self.global_size,) * self.global_crops + (self.local_size,) * self.local_crops


def sample_crops(
    height: int, width: int, settings: CropSettings, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw the N views of one photo, global views first.

    Naive form:
        for each view i:
            draw a crop (area uniform in its scale, ratio log-uniform, place uniform)
            until its intersection with every global crop drawn before has an area
            > int(height * width * min_overlap), times global_pair_factor where i is global too

    After `retries` draws the last one is moved: its centre becomes that of the region all earlier global
    crops share. No place gives a crop of that size a greater overlap with the region, so every pair shares at
    least a pixel, in a photo of any size. (The reference draws without end.) Local crops are not constrained
    among themselves.

    Args:
        height: of the photo in pixels, at least 1.
        width: of the photo in pixels, at least 1.
        settings: number of views, their scales and overlap.
        generator: the only source of randomness.

    Returns:
        x1, y1, x2, y2 of each view in pixels of the photo, [N, 4]; x2 and y2 are exclusive.

    Raises:
        LeopartError: the photo has no pixels.

    Source: Leopart, `LeopartTransforms`.
    """
    if height < 1 or width < 1:
        raise LeopartError(f"a photo of {width}x{height} pixels has no views; leave it out")
    least = int(height * width * settings.min_overlap)
    shared = (0, 0, width, height)  # by all global crops so far; axis-parallel, so pairwise overlap suffices
    boxes: list[tuple[int, int, int, int]] = []
    for index in range(settings.global_crops + settings.local_crops):
        is_global = index < settings.global_crops
        box = _overlapping(
            (height, width),
            settings.global_scale if is_global else settings.local_scale,
            settings,
            boxes[: settings.global_crops],
            least * settings.global_pair_factor if is_global else least,
            shared,
            generator,
        )
        if is_global:
            shared = _intersection(shared, box)
        boxes.append(box)
    return np.array(boxes, np.int64)


def pair_boxes(
    crops: npt.NDArray[np.generic], n_global: int, sizes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The region each pair of views shares, in pixels of one of the two resized views.

    Naive form, s_i the side of the resized view i and c_i its crop:
        I_ij = intersection(c_i, c_j)
        P_ij = (I_ij - top left of c_i) / (width, height of c_i) * s_i
        gc[g, j] = P_gj;  all[v, g] = P_vg

    Args:
        crops: x1, y1, x2, y2 of each view in pixels of the photo, [..., N, 4], global views first; any
            number of leading axes, for instance photos.
        n_global: number of global views, T.
        sizes: side of each resized view, [N].

    Returns:
        gc [..., T, N, 4]: region of global view g that it shares with view j; and
        all [..., N, T, 4]: region of view v that it shares with global view g. Both x1, y1, x2, y2 as float32
        in [0, s]; the pair (i, i) is the full view. Where two crops are disjoint, the box is empty.

    Source: Leopart, `calculate_bboxes`.
    """
    boxes = np.asarray(crops, np.float64)
    low, high = boxes[..., :2], boxes[..., 2:]
    own_low, own_extent = low[..., :, None, :], (high - low)[..., :, None, :]
    shared_low = np.maximum(own_low, low[..., None, :, :])
    shared_high = np.maximum(np.minimum(high[..., :, None, :], high[..., None, :, :]), shared_low)
    scale = np.asarray(sizes, np.float64)[:, None, None] / own_extent
    corners = [(corner - own_low) * scale for corner in (shared_low, shared_high)]
    pairs = np.concatenate(corners, -1).astype(np.float32)
    return np.ascontiguousarray(pairs[..., :n_global, :, :]), np.ascontiguousarray(pairs[..., :n_global, :])


def _overlapping(
    photo: tuple[int, int],
    scale: tuple[float, float],
    settings: CropSettings,
    others: list[tuple[int, int, int, int]],
    least: float,
    shared: tuple[int, int, int, int],
    generator: np.random.Generator,
) -> tuple[int, int, int, int]:
    """A crop whose overlap with each of `others` has more than `least` pixels, or the nearest to it."""
    for _ in range(settings.retries):
        box = _draw(photo, scale, settings.ratio, generator)
        if all(_area(_intersection(box, other)) > least for other in others):
            return box
    return _centred(box, shared, photo)


def _draw(
    photo: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[int, int, int, int]:
    """One crop, by the rule of torchvision's RandomResizedCrop.

    One number at a time in plain Python: it takes a few microseconds, since most first tries are good; NumPy
    over blocks of tries took longer.
    """
    height, width = photo
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(_TRIES):
        share, shape, across, down = generator.random(4).tolist()
        area = height * width * (scale[0] + share * (scale[1] - scale[0]))
        aspect = math.exp(log_low + shape * (log_high - log_low))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(across * (width - w + 1)), int(down * (height - h + 1))
            return x, y, x + w, y + h
    w, h = width, height
    if width < ratio[0] * height:
        h = max(1, round(width / ratio[0]))
    elif width > ratio[1] * height:
        w = max(1, round(height * ratio[1]))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def _centred(
    box: tuple[int, int, int, int], on: tuple[int, int, int, int], photo: tuple[int, int]
) -> tuple[int, int, int, int]:
    """`box` moved to the centre of `on`, as far as the photo allows."""
    height, width = photo
    w, h = box[2] - box[0], box[3] - box[1]
    x = min(max((on[0] + on[2] - w) // 2, 0), width - w)
    y = min(max((on[1] + on[3] - h) // 2, 0), height - h)
    return x, y, x + w, y + h


def _intersection(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _area(box: tuple[int, int, int, int]) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])

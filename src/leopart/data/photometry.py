"""How views are coloured and blurred: the random numbers, drawn before any pixel is touched.

The same numbers can then be applied by OpenCV (`leopart.data.augment`) or by torch on any device
(`leopart.data.augment_torch`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from leopart.errors import LeopartError

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""The sub-operations of colour jitter, as numbered in `Photometry.order`."""
_STRENGTHS = (0.8, 0.8, 0.8, 0.2)
_SIGMA = (0.1, 2.0)
LUMA = np.array([19595, 38470, 7471]) / 65536
"""Shares of red, green and blue in a pixel's luma, Pillow's: ITU-R 601-2."""


@dataclass(frozen=True)
class AugmentSettings:
    """How strongly and how often views are changed. The same for global and local views.

    Raises:
        LeopartError: a value makes no sense; the message says which.
    """

    jitter_strength: float = 1.0
    """Brightness, contrast and saturation change by up to 0.8 times this, hue by up to 0.2 turns times this.
    From 0 to 2.5."""
    blur_strength: float = 1.0
    """The blur's standard deviation is up to 2 pixels times this."""
    jitter_probability: float = 0.8
    """Share of the views whose colours are changed."""
    grey_probability: float = 0.2
    """Share of the views that lose their colour."""
    blur_probability: float = 0.5
    """Share of the views that are blurred."""
    untouched: int = 0
    """Number of views, the first ones, that stay as they are."""

    def __post_init__(self) -> None:
        for name in ("jitter_probability", "grey_probability", "blur_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise LeopartError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if not 0 <= self.jitter_strength <= 2.5:  # hue turns by at most half a circle
            raise LeopartError(f"jitter_strength must be from 0 to 2.5, not {self.jitter_strength}")
        if not 0 <= self.blur_strength < math.inf:
            raise LeopartError(f"blur_strength must be 0 or more, not {self.blur_strength}")


@dataclass(frozen=True)
class Photometry:
    """What is done to each of n views, in this order: jitter, grey, blur."""

    jitter: npt.NDArray[np.bool_]
    """Whether the colours are changed, [n]."""
    order: npt.NDArray[np.int64]
    """The order of the four sub-operations, a permutation of 0..3 in each row, [n, 4]."""
    factors: npt.NDArray[np.float64]
    """Brightness, contrast, saturation (1 changes nothing) and turns of the hue (0 does), [n, 4]."""
    grey: npt.NDArray[np.bool_]
    """Whether colour is taken away, [n]."""
    sigma: npt.NDArray[np.float64]
    """Standard deviation of the blur in pixels of the resized view; 0: no blur, [n]."""

    def __len__(self) -> int:
        return len(self.jitter)

    def __getitem__(self, views: slice | npt.NDArray[np.int64]) -> Photometry:
        return Photometry(*(getattr(self, field.name)[views] for field in fields(self)))

    @staticmethod
    def join(parts: Sequence[Photometry]) -> Photometry:
        """The views of all parts, one after another."""
        names = [field.name for field in fields(Photometry)]
        return Photometry(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def draw_photometry(count: int, settings: AugmentSettings, generator: np.random.Generator) -> Photometry:
    """Draw what is done to `count` views, each independently.

    Brightness, contrast and saturation are uniform in [max(0, 1 - 0.8 s), 1 + 0.8 s], the hue in
    [-0.2 s, 0.2 s], s the jitter strength; the standard deviation of the blur is uniform in [0.1 b, 2 b].
    The same number of random numbers is drawn whatever the settings are.

    Source: Leopart, `LeopartTransforms`; torchvision, `ColorJitter`.
    """
    chances = generator.random((3, count))
    order = generator.random((count, 4)).argsort(1)
    change = np.array(_STRENGTHS) * settings.jitter_strength
    high = np.array([1.0, 1.0, 1.0, 0.0]) + change
    low = np.maximum(np.array([1.0, 1.0, 1.0, 0.0]) - change, [0.0, 0.0, 0.0, -np.inf])
    factors = low + generator.random((count, 4)) * (high - low)
    sigma = settings.blur_strength * (_SIGMA[0] + generator.random(count) * (_SIGMA[1] - _SIGMA[0]))
    changed = np.arange(count) >= settings.untouched
    return Photometry(
        jitter=changed & (chances[0] < settings.jitter_probability),
        order=order,
        factors=factors,
        grey=changed & (chances[1] < settings.grey_probability),
        sigma=np.where(changed & (chances[2] < settings.blur_probability), sigma, 0.0),
    )


def blur_radius(sigma: float) -> int:
    """Pixels to each side that a Gaussian blur of this standard deviation looks at: three times as far."""
    return max(1, round(3 * sigma))

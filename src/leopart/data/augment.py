"""Colour, grey and blur of single views on the CPU, by OpenCV on 8-bit pixels.

The operations are those of Pillow, which the paper used: 8 bits after every step, values cut off rather than
rounded, hue in an 8-bit HSV. They agree to a level, the hue to about ten, since both round it. One differs on
purpose: the blur is the true Gaussian, of which Pillow computes an approximation by three box filters; both
have the same standard deviation.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from leopart.data.photometry import BRIGHTNESS, CONTRAST, HUE, LUMA, Photometry, blur_radius

#: A view is too small to share among threads, and several loading processes would fight for the cores.
cv2.setNumThreads(0)

#: OpenCV rounds where Pillow cuts off. Not 0.5: whole numbers, as of grey pixels, must stay what they are.
_CUT = -0.498

Pixels = npt.NDArray[np.uint8]


def augment(image: Pixels, photometry: Photometry, view: int) -> Pixels:
    """Do to one view what was drawn for it.

    Args:
        image: RGB, [H, W, 3] uint8, contiguous. It is not changed.
        photometry: what was drawn.
        view: which entry of it.

    Returns:
        [H, W, 3] uint8, contiguous; `image` itself where nothing is to be done.
    """
    if photometry.jitter[view]:
        factors = photometry.factors[view].tolist()
        for operation in photometry.order[view].tolist():
            image = jittered(image, operation, factors[operation])
    if photometry.grey[view]:
        image = _grey(image)
    sigma = float(photometry.sigma[view])
    return blurred(image, sigma) if sigma > 0 else image


def jittered(image: Pixels, operation: int, factor: float) -> Pixels:
    """One sub-operation of colour jitter on [H, W, 3] uint8.

    Brightness, contrast and saturation move every value away from a level (0, the mean luma, the pixel's own
    luma) or towards it: value -> level + factor * (value - level).
    """
    if operation == BRIGHTNESS:
        return _scaled(image, factor, 0)
    if operation == CONTRAST:
        red, green, blue, _ = cv2.mean(image)
        mean = int(red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 0.5)  # whole, as Pillow has it
        return _scaled(image, factor, (1 - factor) * mean)
    if operation == HUE:
        return _turned(image, factor)
    return _pixels(cv2.addWeighted(image, factor, _grey(image), 1 - factor, _CUT))


def blurred(image: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of [H, W, 3] uint8 with repeated edge pixels, as Pillow's.

    OpenCV's general separable filter is twice as fast as its GaussianBlur, and differs from it by a level at
    most.
    """
    taps = cv2.getGaussianKernel(2 * blur_radius(sigma) + 1, sigma)
    return _pixels(cv2.sepFilter2D(image, -1, taps, taps, borderType=cv2.BORDER_REPLICATE))


def _scaled(image: Pixels, factor: float, offset: float) -> Pixels:
    """All values times `factor` plus `offset`; of OpenCV's ways the one that is fast and never takes |x|."""
    offset += _CUT
    matrix = np.array([[factor, 0, 0, offset], [0, factor, 0, offset], [0, 0, factor, offset]])
    return _pixels(cv2.transform(image, matrix))


def _grey(image: Pixels) -> Pixels:
    """The luma of every pixel in all three channels."""
    return _pixels(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def _turned(image: Pixels, turns: float) -> Pixels:
    """The hue of every pixel turned: the 8-bit circle has 256 steps and closes by overflow."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    rows = hsv.reshape(len(hsv), -1)
    step = np.zeros(rows.shape[1], np.uint8)
    step[::3] = int(turns * 255) & 255
    np.add(rows, step, out=rows)  # whole rows: many times faster than every third value
    return _pixels(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _pixels(image: npt.NDArray[np.generic]) -> Pixels:
    return image  # type: ignore[return-value]  # OpenCV keeps 8-bit pixels 8-bit; its annotations do not say so

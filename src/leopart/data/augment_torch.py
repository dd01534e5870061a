"""Colour, grey and blur of many views at once, as torch operations on any device.

Does what `leopart.data.augment` does from the same numbers: equal to a level wherever that rounds in a
different place, and to a few levels in the hue, which is turned without the detour over 8 bits. The host only
launches kernels: it knows who is concerned from the numbers it drew, and never waits for the device.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.photometry import BRIGHTNESS, CONTRAST, HUE, LUMA, SATURATION, Photometry, blur_radius

#: Values are cut off, not rounded; what is a whole number but for float32's rounding must stay one.
_CUT = 0.002
#: Where on the six sides of the hue circle red, green and blue stand.
_SIDES = (5.0, 3.0, 1.0)


@torch.no_grad()
def augment_batch(images: Tensor, photometry: Photometry) -> Tensor:
    """Do to each view what was drawn for it.

    Args:
        images: RGB, [n, 3, H, W], whole numbers from 0 to 255, uint8 or float32.
        photometry: what was drawn for n views.

    Returns:
        [n, 3, H, W] uint8 on the same device.
    """
    pixels = _jittered(images.float(), photometry)
    grey = _to(photometry.grey, images)[:, None, None, None]
    pixels = torch.where(grey, _luma(pixels).round(), pixels)
    chosen = np.flatnonzero(photometry.sigma)
    if len(chosen):
        rows = _to(chosen, images)
        pixels = pixels.index_copy(0, rows, _blurred(pixels[rows], photometry.sigma[chosen]))
    return pixels.to(torch.uint8)


def _jittered(pixels: Tensor, photometry: Photometry) -> Tensor:
    """The four steps of colour jitter; in each, different views undergo different sub-operations.

    Brightness, contrast and saturation are value -> level + factor * (value - level), so one formula does
    them all in one pass: level is 0, the mean luma or the pixel's own luma. A view that turns its hue in this
    step, or has no jitter, takes part with factor 1.
    """
    order = np.where(photometry.jitter[:, None], photometry.order, -1)  # [n, step]
    factors = np.ones(order.shape)
    for operation in (BRIGHTNESS, CONTRAST, SATURATION):
        factors = np.where(order == operation, photometry.factors[:, [operation]], factors)
    plan = _to(np.stack([factors, order == CONTRAST, order == SATURATION]).astype(np.float32), pixels)
    turns = [np.flatnonzero(order[:, step] == HUE) for step in range(order.shape[1])]
    turned = torch.split(_to(np.concatenate(turns), pixels), [len(rows) for rows in turns])
    steps = np.trunc(photometry.factors[:, HUE] * 255) / 256  # whole steps of Pillow's 8-bit circle
    angles = _to(steps.astype(np.float32), pixels)
    for step in range(order.shape[1]):
        factor, by_mean, by_luma = plan[:, :, step, None, None, None]
        luma = _luma(pixels)
        mean = (luma.mean((2, 3), keepdim=True) + 0.5).floor()
        pixels = pixels * factor + (by_mean * mean + by_luma * luma.round()) * (1 - factor)
        pixels = (pixels + _CUT).floor().clamp(0, 255)
        if len(turns[step]):
            rows = turned[step]
            pixels = pixels.index_copy(0, rows, _turned(pixels[rows], angles[rows]))
    return pixels


def _turned(pixels: Tensor, turns: Tensor) -> Tensor:
    """The hue of [m, 3, H, W] turned by [m] circles; greatest and least channel of a pixel stay.

    In HSV with the hue h in sixths of the circle, a channel is value - chroma * clamp(min(k, 4 - k), 0, 1)
    with k = (side + h) mod 6, so nothing but h needs a case for each channel.
    """
    value, chroma = pixels.amax(1), pixels.amax(1) - pixels.amin(1)
    red, green, blue = pixels.unbind(1)
    span = chroma.clamp(min=1)  # whole levels: only a grey pixel has less, and any hue will do for it
    from_blue = torch.where(value == green, 2 + (blue - red) / span, 4 + (red - green) / span)
    hue = torch.where(value == red, (green - blue) / span, from_blue) + 6 * turns[:, None, None]
    channels = []
    for side in _SIDES:
        place = (hue + side).remainder(6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1).round()


def _blurred(pixels: Tensor, sigma: npt.NDArray[np.float64]) -> Tensor:
    """Gaussian blur of [m, 3, H, W], each view with its own standard deviation, edge pixels repeated."""
    reach = np.array([blur_radius(value) for value in sigma.tolist()])
    radius = int(reach.max())
    places = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (places / sigma[:, None]) ** 2) * (abs(places) <= reach[:, None])
    taps /= taps.sum(1, keepdims=True)
    weights = _to(taps.astype(np.float32), pixels).repeat_interleave(3, 0)[:, None, None]  # [3 m, 1, 1, taps]
    groups = len(weights)
    result = pixels.flatten(0, 1)[None]  # every channel of every view has a kernel: one convolution in groups
    result = F.conv2d(F.pad(result, (radius, radius, 0, 0), "replicate"), weights, groups=groups)
    result = F.pad(result, (0, 0, radius, radius), "replicate")
    result = F.conv2d(result, weights.transpose(2, 3), groups=groups)
    return result.view_as(pixels).round()


def _luma(pixels: Tensor) -> Tensor:
    """[n, 1, H, W]; a sum of three maps, so that neither TF32 nor autocast can coarsen it."""
    red, green, blue = (float(share) for share in LUMA)
    return red * pixels[:, :1] + green * pixels[:, 1:2] + blue * pixels[:, 2:]


def _to(array: npt.NDArray[np.generic], like: Tensor) -> Tensor:
    """An array on the device of `like`, without waiting for the device."""
    return torch.from_numpy(array).to(like.device, non_blocking=True)

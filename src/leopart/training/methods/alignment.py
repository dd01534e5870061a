"""RoIAlign as one matrix a box, so that many boxes of a map are one matrix product."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def alignment_matrix(boxes: Tensor, height: int, width: int, bins: int = 7) -> Tensor:
    """What RoIAlign does to a map of `height` x `width` tokens, as a matrix for each box.

    Naive form, for each box and bin (i, j):
        rows = ceil(box height / bins), columns = ceil(box width / bins)
        for each point of a grid of rows x columns that divides the bin evenly:
            interpolate the map between the four tokens around the point; tokens sit at half-integers
        mean over the points

    A sampled point weighs the tokens of its row and of its column by hat functions, independently. So there
    is a [bins, height] and a [bins, width] matrix, and their Kronecker product applies to the flattened map:
    `alignment_matrix(box, h, w) @ map.reshape(h * w, channels)`. Points beyond a border by up to half a token
    take the border's value.

    Equals `torchvision.ops.roi_align(..., spatial_scale=1, sampling_ratio=-1, aligned=True)` for boxes within
    the map. A box of no height or no width gives zeros, as it does there.

    Args:
        boxes: x1, y1, x2, y2 in tokens, [..., 4], within [0, width] and [0, height]. A side longer than the
            map is sampled as often as the map's own.
        height: of the map, in tokens.
        width: of the map, in tokens.
        bins: of the result, along both axes.

    Returns:
        float32 [..., bins * bins, height * width]; rows sum to 1, bins and tokens are row-major.

    Source: Leopart, CVPR 2022; the authors' `spatial_loss`.
    """
    boxes = boxes.float()
    down = _axis_matrix(boxes[..., 1], boxes[..., 3], height, bins)
    across = _axis_matrix(boxes[..., 0], boxes[..., 2], width, bins)
    both = down[..., :, None, :, None] * across[..., None, :, None, :]
    return both.reshape(*boxes.shape[:-1], bins * bins, height * width)


def _axis_matrix(low: Tensor, high: Tensor, size: int, bins: int) -> Tensor:
    """Weights of the tokens of one axis in each bin, [..., bins, size]; sides go from `low` to `high` [...].

    Sides need different numbers of points. The largest number is known without looking at them, and points
    that a side does not need weigh nothing.
    """
    most = math.ceil(size / bins)
    start = low - 0.5  # tokens sit at half-integers
    side = (high - 0.5) - start
    step = side / bins
    count = step.ceil().clamp(max=most)  # rounding may bring a full side to just above the map's
    point = torch.arange(most, device=low.device)
    offset = (point + 0.5) / count.clamp(min=1)[..., None]  # [..., most], in bins
    place = torch.arange(bins, device=low.device)[:, None] + offset[..., None, :]
    position = start[..., None, None] + step[..., None, None] * place  # [..., bins, most], in tokens
    used = (point < count[..., None])[..., None, :] & (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    token = torch.arange(size, device=low.device)
    hats = (1 - (position[..., None] - token).abs()).clamp(min=0)  # [..., bins, most, size]
    return (hats * used[..., None]).sum(-2) / count.clamp(min=1)[..., None, None]

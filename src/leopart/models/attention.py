"""From the CLS token's attention to a foreground mask, without labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.errors import LeopartError

_RADIUS = 3
_SIGMA = 0.6


@torch.no_grad()
def attention_mask(attention: Tensor, keep: float = 0.6) -> Tensor:
    """Tokens that carry most of the attention, in groups of at least three.

    Naive form, for each map:
        blur with a 7x7 Gaussian (sigma 0.6, reflected borders); divide by the sum
        sort ascending; a token is on iff the cumulative mass, itself included, exceeds 1 - keep
        remove every 8-connected group of one or two tokens

    Runs on any device without waiting for it, and a map's mask does not depend on the rest of the batch.

    Args:
        attention: averaged over heads, [B, h, w] or [B, 1, h, w], any float dtype, >= 0, any scale.
        keep: share of the mass that stays on, 0 < keep <= 1.

    Returns:
        bool, the shape of `attention`; all False where a map is all zero.

    Raises:
        LeopartError: `keep` is outside (0, 1], or the shape is another one.

    Source: Leopart, `process_attentions`.
    """
    if not 0 < keep <= 1:
        message = f"keep is the share of attention that stays on and must be in (0, 1], not {keep}"
        raise LeopartError(message)
    if attention.ndim not in (3, 4) or (attention.ndim == 4 and attention.shape[1] != 1):
        message = (
            f"attention must be [B, h, w] or [B, 1, h, w], averaged over heads, not {tuple(attention.shape)}"
        )
        raise LeopartError(message)
    height, width = attention.shape[-2:]
    maps = attention.reshape(-1, height, width).float()
    blurred = _blur(_blur(maps, dim=1), dim=2)
    mask = heaviest(blurred.flatten(1), keep).reshape(maps.shape)
    return _without_specks(mask).reshape(attention.shape)


def _blur(maps: Tensor, dim: int) -> Tensor:
    """One axis of the Gaussian; a sum of shifted maps, so that neither TF32 nor autocast can coarsen it."""
    size = maps.shape[dim]
    # Reflection without repeating the edge has period 2 (n - 1); taken so, it also holds on grids that are
    # smaller than the kernel, where torch's own reflect padding gives up.
    period = max(2 * (size - 1), 1)
    places = torch.arange(-_RADIUS, size + _RADIUS, device=maps.device).remainder(period)
    padded = maps.index_select(dim, torch.minimum(places, period - places).clamp(max=size - 1))
    weights = [math.exp(-0.5 * (offset / _SIGMA) ** 2) for offset in range(-_RADIUS, _RADIUS + 1)]
    result = torch.zeros_like(maps)
    for start, weight in enumerate(weights):
        result += padded.narrow(dim, start, size) * (weight / sum(weights))
    return result


def heaviest(mass: Tensor, keep: float) -> Tensor:
    """The heaviest tokens that together carry about `keep` of each row of [B, N], as bool [B, N]."""
    tiny = torch.finfo(mass.dtype).tiny
    mass = mass / mass.sum(dim=1, keepdim=True).clamp(min=tiny)  # an all-zero map keeps nothing, and no NaN
    ordered, order = mass.sort(dim=1, stable=True)
    on = ordered.cumsum(dim=1) > 1 - keep
    return torch.zeros_like(on).scatter_(1, order, on)


def _without_specks(mask: Tensor) -> Tensor:
    """Drop the 8-connected groups of fewer than three cells of [B, h, w] bool.

    A cell belongs to a group of three or more iff it has two neighbours, or a neighbour that has two: in a
    pair neither has, and in a larger group the only neighbour of a cell leads on to a third one. So two 3x3
    windows replace a labelling of components.
    """
    on = mask[:, None].float()
    neighbours = 9 * F.avg_pool2d(on, 3, stride=1, padding=1) - on
    hubs = on * (neighbours > 1.5)  # counts are whole numbers up to rounding
    return (on * F.max_pool2d(hubs, 3, stride=1, padding=1) > 0)[:, 0]

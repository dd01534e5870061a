"""Masks refined in the photo itself (`--refine`): soft votes, similar tokens, outlines.

Clusters decide the foreground once for all photos: a token near a cluster's border gets the wrong side, flat
parts of an object are lost, and masks have the outline of patches. Three steps mend this in each photo:

1. Soft votes: a token's margin is that of all clusters near it, not of the nearest alone.
2. Similar tokens: tokens that look alike and lie near each other in this photo are drawn to the same label,
   as in a conditional random field.
3. Outlines: the margin follows edges of the photo (guided filter).

Legend: h x w tokens, H x W pixels, C clusters; a margin is the precision of a cluster less the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from leopart.drawing.masks import upsample_labels
from leopart.segment.part_model import FINER, PartModel

Margin = NDArray[np.float32]

#: Temperature of the votes: a cluster whose cosine is lower by this much has a vote 1/e as large.
_TEMPERATURE = 0.1
#: A token is influenced by others in proportion to their cosine similarity to the power of 2 to this.
_SQUARINGS = 3
#: How far that influence reaches: standard deviation as a share of the grid's longer side.
_REACH = 0.25
#: Weight of the other tokens against the token's own votes.
_OTHERS = 0.5
_STEPS = 20
#: Longest side of a grid on which every token influences every other.
_MOST_TOKENS = 64
#: Longest side at which a photo's edges are found.
EDGES_SIDE = 1024
#: Radius of the guided filter as a share of a token, and what it takes for an edge: variance of colours in
#: [0, 1] squared.
_RADIUS, _CONTRAST = 0.4, 1e-3


def refine(
    model: PartModel, tokens: NDArray[np.float16], pixels: NDArray[np.uint8], height: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Part ids of one photo with its foreground refined.

    Args:
        model: what `leopart segment` learned.
        tokens: of the photo, [h, w, D].
        pixels: the photo, sRGB uint8 [H', W', 3], at any size of its own angles.
        height: H of the masks.
        width: W of the masks.

    Returns:
        Part ids, 0 = background, int32: on the model's finer grid (for `PartModel.object_table`), and [H, W].

    Source: guided filter, He, Sun and Tang, ECCV 2010; smoothing over similar tokens is a mean field of the
    pairwise term of Krähenbühl and Koltun, NIPS 2011, with tokens in place of colours. The settings were
    chosen by the foreground of MSRC-21, with its labels; see results.
    """
    nearest = model.nearest_parts(tokens)
    margin = smoothed(soft_margin(model, tokens), tokens)
    finer = resized(margin, *nearest.shape)
    coarse = np.where(finer >= 0, nearest, 0).astype(np.int32)
    scale = min(1.0, EDGES_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    guide = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    radius = max(1, round(_RADIUS * max(guide.shape[:2]) / max(margin.shape)))
    followed = guided(resized(margin, *guide.shape[:2]), guide, radius, _CONTRAST)
    parts = upsample_labels(nearest, height, width)
    parts[resized(followed, height, width) < 0] = 0
    return coarse, parts


def refined_foreground(model: PartModel, tokens: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Refined foreground of one photo on the model's finer grid: as `refine` finds it before the outlines."""
    margin = smoothed(soft_margin(model, tokens), tokens)
    return np.asarray(resized(margin, FINER * tokens.shape[0], FINER * tokens.shape[1]) >= 0)


@torch.inference_mode()
def soft_margin(model: PartModel, tokens: NDArray[np.float16]) -> Margin:
    """Margin of every token: of all clusters, weighted by `softmax(cosine / temperature)`, [h, w]."""
    directions = F.normalize(model.reduction(torch.from_numpy(tokens)), dim=-1)
    centres = F.normalize(model.clusters.centroids, dim=-1)
    votes = torch.softmax(directions @ centres.T / _TEMPERATURE, -1)
    return np.asarray((votes @ model.margins).numpy(), np.float32)


@torch.inference_mode()
def smoothed(margin: Margin, tokens: NDArray[np.float16]) -> Margin:
    """Smooth the margin over similar tokens of the photo.

    Naively, with `w[i, j]` proportional to `max(cos(i, j), 0) ** 8 * exp(-distance(i, j)**2 / (2 reach**2))`
    and sums of 1 for each i, 20 times from `p = margin`:

        p[i] = 0.5 * margin[i] + 0.5 * sum over j of  w[i, j] * p[j]

    Args:
        margin: [h, w].
        tokens: [h, w, D]. Where a side has more than 64, both are averaged down
            until it has that many.

    Returns:
        float32 [h, w].
    """
    height, width = margin.shape
    share = min(1.0, _MOST_TOKENS / max(height, width))
    grid = max(1, round(height * share)), max(1, round(width * share))
    maps = torch.cat([torch.from_numpy(margin)[..., None], torch.from_numpy(tokens).float()], 2)
    if grid != (height, width):
        maps = F.adaptive_avg_pool2d(maps.permute(2, 0, 1)[None], grid)[0].permute(1, 2, 0)
    own, directions = maps[..., 0].flatten(), F.normalize(maps[..., 1:].flatten(0, 1), dim=-1)
    weights = (directions @ directions.T).clamp_(0)
    for _ in range(_SQUARINGS):
        weights.square_()
    weights *= _near(*grid)
    weights /= weights.sum(1, keepdim=True).clamp_min(1e-12)  # a token of zeros resembles none
    smooth = own
    for _ in range(_STEPS):
        smooth = (1 - _OTHERS) * own + _OTHERS * (weights @ smooth)
    return resized(smooth.view(grid).numpy(), height, width)


@lru_cache(maxsize=2)
@torch.inference_mode()
def _near(height: int, width: int) -> Tensor:
    """Weight of every cell for every other by distance, [h * w, h * w]."""
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    reach = _REACH * max(height, width)
    return torch.exp(-(torch.cdist(places, places) ** 2) / (2 * reach**2))


def guided(values: Margin, photo: NDArray[np.uint8], radius: int, contrast: float) -> Margin:
    """Guided filter: smooth values whose edges are the photo's.

    In every window of side `2 * radius + 1`, the values are a linear function of the colours, fitted by least
    squares with the regulariser `contrast`; a pixel gets the mean of what the windows that hold it say.

    Args:
        values: float32 [H, W].
        photo: sRGB uint8 [H, W, 3].
        radius: in pixels.
        contrast: colour variance, in units of [0, 1] squared, below which windows are averaged.

    Source: He, Sun and Tang, Guided Image Filtering, ECCV 2010, section 3.3 (colour guidance).
    """
    guide = [np.asarray(photo[..., c], np.float32) / np.float32(255) for c in range(3)]  # planes: faster
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(plane: Margin) -> Margin:
        return np.asarray(cv2.boxFilter(plane, -1, window, borderType=cv2.BORDER_REFLECT), np.float32)

    colour, value = [mean(plane) for plane in guide], mean(values)
    with_value = [mean(plane * values) - c * value for plane, c in zip(guide, colour, strict=True)]
    spread = {
        (a, b): mean(guide[a] * guide[b]) - colour[a] * colour[b] + np.float32(contrast * (a == b))
        for a, b in combinations_with_replacement(range(3), 2)
    }
    slope = _solved(spread, with_value)
    offset = value - _dot(slope, colour)
    return np.asarray(_dot([mean(plane) for plane in slope], guide) + mean(offset), np.float32)


def _solved(matrix: Mapping[tuple[int, int], Margin], right: Sequence[Margin]) -> list[Margin]:
    """Solution x of `matrix @ x = right` at every pixel, by Cramer's rule: far faster than LAPACK.

    Args:
        matrix: the upper triangle of symmetric 3 x 3 matrices, each element [H, W].
        right: three of [H, W].

    Returns:
        Three of [H, W].
    """
    rr, rg, rb, gg, gb, bb = (value.astype(np.float64) for value in matrix.values())  # differences cancel
    first, second, third = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    middle = rg * rb - rr * gb
    cofactors = [
        [first, second, third],
        [second, rr * bb - rb * rb, middle],
        [third, middle, rr * gg - rg * rg],
    ]
    scale = 1 / _dot([rr, rg, rb], cofactors[0])
    return [(_dot(row, right) * scale).astype(np.float32) for row in cofactors]


def _dot(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Inner product of three planes with three others, [H, W]."""
    return np.asarray(first[0] * second[0] + first[1] * second[1] + first[2] * second[2])


def resized(values: Margin, height: int, width: int) -> Margin:
    """Values [h, w] at another size, bilinear, float32 [height, width]."""
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

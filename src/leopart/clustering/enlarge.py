"""Token embeddings on a finer grid."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "nearest"]


def enlarged(embeddings: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> Tensor:
    """Embeddings [h, w, d] interpolated to [H, W, d], with pixel centres at halves.

    Args:
        embeddings: of any float type that torch interpolates, on any device.
        size: (H, W).
        interpolation: `bilinear`, as the paper's supplement says, or `nearest`, as the authors' code does.

    Source: Leopart, CVPR 2022, supplement A.1: embeddings, not ids, are interpolated before clustering.
    """
    maps = embeddings.permute(2, 0, 1)[None]
    options = {"align_corners": False} if interpolation == "bilinear" else {}
    return F.interpolate(maps, size, mode=interpolation, **options)[0].permute(1, 2, 0)

"""Masks at the photo's own size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from benchmarks.harness import Comparison, compare
from leopart.drawing.masks import upsample_labels


def run() -> Iterator[Comparison]:
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(generator.normal(size=(12, 128, 128)), (0, 6, 6))
    ids = smooth.argmax(0).astype(np.int32)
    yield compare(
        "label upsampling / one map a label",
        lambda: upsample_labels(ids, 1500, 2000),
        lambda: _naive_upsampling(ids, 1500, 2000),
        runs=3,
        note="128x128, 12 labels, to 2000x1500",
    )


def _naive_upsampling(ids: np.ndarray, height: int, width: int) -> np.ndarray:
    maps = F.one_hot(torch.from_numpy(ids).long()).permute(2, 0, 1)[None].float()
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)[0].argmax(0).numpy()

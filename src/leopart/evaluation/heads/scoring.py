"""Scores of a head against labels, one photo at a time.

Legend: h x w a photo's grid of tokens, D channels, C classes, H x W a label map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from leopart.evaluation.heads.networks import SegmentationHead, Size, bilinear_matrix
from leopart.evaluation.labels import LabelMap
from leopart.evaluation.metrics.confusion import Confusion, Labels
from leopart.evaluation.tokens import Tokens, paired_photos, tokens_of
from leopart.parallel import ordered_map, workers
from leopart.processes import rank, world_size
from leopart.progress import Track, silent

_STRIP = 1 << 23
"""Number of logits in memory: 32 MiB, whatever the size of the photo."""


def score_head(
    head: SegmentationHead,
    tokens: Tokens,
    labels: Sequence[Labels],
    *,
    photos: Sequence[int] | None = None,
    eval_grid: int | Literal["reference"] = 100,
    save: Callable[[int, LabelMap], None] | None = None,
    size_of: Callable[[int], tuple[int, int]] | None = None,
    track: Track = silent,
) -> Confusion:
    """Pixels by class and predicted class, over all photos and all processes.

    Each photo is compared at the size of its label map, which so decides the protocol: `LabelMaps` at 448 is
    that of the paper, with side None masks keep their size. `score(confusion.matrix, numpy.arange(C))` has
    the numbers. Memory is that of a few photos. Several processes share the photos, and all get the sum.

    Args:
        head: on its device.
        tokens: see `Tokens`.
        labels: class rows of each photo [H, W], 255 = no label; of any sizes.
        photos: indices of the photos to score; None = all.
        eval_grid: side of the grid on which the convolutions of an FCN run; `reference` = the size of each
            label map, a finer grid than in training, and far more work.
        save: takes the index and the predicted class rows of every photo.
        size_of: size (H, W) of these predictions; None = that of the label map.
        track: progress, one step a photo.

    Raises:
        ValueError: tokens and labels differ in number, or labels are out of range.
        LeopartError: a mask cannot be read (where `labels` reads them).

    Source: Leopart, CVPR 2022, linear and FCN heads; the authors' linear_finetune.py.
    """
    mine = paired_photos(tokens, labels, photos)[rank() :: world_size()]

    def load(index: int) -> tuple[int, Tensor, Labels]:
        return index, tokens_of(tokens, index), labels[index]

    confusion = Confusion(head.classes, head.classes)
    for index, found, truth in track(ordered_map(load, mine, workers=workers()), len(mine), "scoring"):
        height, width = truth.shape
        grid = (height, width) if eval_grid == "reference" else eval_grid
        confusion.update(truth, rows := predict(head, found, (height, width), grid))
        if save is not None:  # on the grid that was scored, whatever the size
            wanted = (height, width) if size_of is None else size_of(index)
            save(index, rows if wanted == truth.shape else predict(head, found, wanted, grid))
    return confusion.over_processes()


@torch.inference_mode()
def predict(
    head: SegmentationHead,
    tokens: Tensor,
    size: tuple[int, int],
    grid: Size = 100,
) -> LabelMap:
    """The class of every pixel of a photo: the largest of the logits, which are enlarged bilinearly.

    Args:
        head: on its device.
        tokens: [h, w, D], any float type, on any device.
        size: H, W of the result.
        grid: on which an FCN's convolutions run. A linear head has none.

    Returns:
        Class rows, [H, W] uint8.
    """
    device = next(head.parameters()).device
    logits = head.coarse(tokens[None].to(device).float(), grid)[0]
    down, across = (
        bilinear_matrix(logits, length, wanted) for length, wanted in zip(logits.shape[1:], size, strict=True)
    )
    wide = logits @ across.T  # [C, h', W]
    strip = max(1, _STRIP // (len(wide) * size[1]))
    # Strip by strip: C maps at the size of a large photo would take gigabytes.
    strips = [(rows @ wide).argmax(0).to(torch.uint8) for rows in torch.split(down, strip)]
    return np.asarray(torch.cat(strips).cpu().numpy())

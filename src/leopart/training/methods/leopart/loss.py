"""The dense clustering loss: crops of a photo must be assigned the same parts where they overlap.

Legend: T target (large) crops, N crops of a photo with the T large ones first, n = N - T small crops, B
    photos of this process, G and L tokens along the side of a large and a small crop, M = G * G, K
    prototypes, Q length of the queue, C cells of a shared region (bins * bins).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from leopart.processes import total, world_size
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.leopart.sinkhorn import sinkhorn
from leopart.training.methods.regions import (
    SharedRegions,
    aligned,
    partners_aligned,
    target_matrices,
)

PAPER = LeopartSettings()
MASK_THRESHOLD = 1 - 1e-4
"""A cell counts if at least this share of it is foreground. The authors require 1 in floating point, and lose
cells that are all foreground to rounding."""


@dataclass(frozen=True)
class Queued:
    """Earlier tokens that are balanced together with those of the batch.

    Attributes:
        scores: [T, Q, K].
        weights: how much each counts, see `sinkhorn`, [T, Q]; None: as much as a token of the batch.
    """

    scores: Tensor
    weights: Tensor | None = None


def dense_loss(
    teacher: Tensor,
    student: tuple[Tensor, Tensor | None],
    regions: SharedRegions,
    *,
    mask: Tensor | None = None,
    queued: Queued | None = None,
    settings: LeopartSettings = PAPER,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Cross-entropy between the teacher's assignments and the student's on the regions that two crops share.

    Naive form:
        for each target crop g:
            q = sinkhorn(teacher[g] and the queue)[of the batch]
            for each other crop v:
                a = einsum("bcm,bmk->bck", align(region of g), q)          # targets
                z = einsum("bcm,bmk->bck", align(region of v), student[v]) # predictions
                m = einsum("bcm,bm->bc", align(region of g), mask[g]) >= MASK_THRESHOLD
                ce = -sum_k a * log_softmax(z / temperature)
                pair[g, v] = sum(ce * m) / sum(m), 0 if no cell counts
        loss = mean of pair

    Args:
        teacher: cosines of the large crops, [T, B, G, G, K]; no gradient.
        student: of the large crops [T, B, G, G, K], and of the small ones [n, B, L, L, K] or None.
        regions: what the crops share.
        mask: tokens of the targets that count, bool [T, B, G, G]; None: all.
        queued: see there; None: no queue.
        settings: temperature, epsilon, sinkhorn_iterations and roi_bins are read.
        group: processes of the run; None: all.

    Returns:
        [] float32. The mean over processes, of losses and gradients, is that of one process with all photos.

    Raises:
        ValueError: shapes do not fit each other.

    Source: Leopart, CVPR 2022; the authors' `spatial_loss`. The authors take log(softmax(x)).
    """
    regions.check(teacher, *student)
    with torch.autocast(teacher.device.type, enabled=False):
        with torch.no_grad():
            matrices = target_matrices(regions, teacher.shape[2], settings.roi_bins)
            targets = aligned(matrices, balanced_targets(teacher, queued, settings, group))
            counted = None if mask is None else _counted(mask, matrices)
        predictions = partners_aligned(*student, regions, settings.roi_bins) / settings.temperature
        entropy = -(targets * predictions.log_softmax(-1)).sum(-1)
        return _pair_means(entropy, counted, group).mean()


def balanced_targets(
    teacher: Tensor,
    queued: Queued | None,
    settings: LeopartSettings,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Assignments of the batch's tokens, for each target crop balanced over the batch and its queue.

    Args:
        teacher: see `dense_loss`.
        queued: see there.
        settings: epsilon and sinkhorn_iterations are read.
        group: processes of the run.

    Returns:
        float32 [T, B, G, G, K] without gradient, sums to 1 over K.
    """
    rows, weights = teacher.detach().flatten(1, 3).float(), None
    count = rows.shape[1]
    if queued is not None:
        rows = torch.cat([queued.scores.detach().float(), rows], dim=1)
        if queued.weights is not None:
            weights = torch.cat([queued.weights.float(), queued.weights.new_ones(len(rows), count)], dim=1)
    balanced = sinkhorn(rows, settings.epsilon, settings.sinkhorn_iterations, weights, group)
    return balanced[:, -count:].reshape(teacher.shape)


def _counted(mask: Tensor, matrices: Tensor) -> Tensor:
    """Which cells of the targets' regions are foreground enough, 0 or 1, float32 [T, B, N - 1, C].

    The background's weights are added up, not the foreground's: a sum of ones is blurred by rounding, and by
    the coarser products that torch may be set to, but a sum of zeros is 0.
    """
    background = (~mask.bool()).float()[..., None]
    return (aligned(matrices, background)[..., 0] <= 1 - MASK_THRESHOLD).float()


def _pair_means(entropy: Tensor, counted: Tensor | None, group: dist.ProcessGroup | None) -> Tensor:
    """Mean of [T, B, N - 1, C] over photos and the cells that count, of all processes; [T, N - 1]."""
    if counted is None:
        return entropy.mean((1, 3))
    cells = total(counted.sum((1, 3)), group)
    return (entropy * counted).sum((1, 3)) * world_size(group) / cells.clamp(min=1)

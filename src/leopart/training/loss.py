"""The dense clustering loss: what the teacher sees in one crop, the student must predict from another.

Legend: T target (large) crops, N crops of an image with the T large ones first, n = N - T small crops, B
images of this process, G and L tokens along the side of a large and a small crop, K prototypes, Q length of
the queue, C cells of a shared region (bins * bins).

The other crops of target g are taken in the order g + 1, g + 2, .. (modulo T), then the small crops: so
partners of equal offset lie side by side, and no pair is looked up by an index that would have to be copied
to the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from leopart.errors import LeopartError
from leopart.processes import total, world_size
from leopart.training.alignment import alignment_matrix
from leopart.training.sinkhorn import sinkhorn


@dataclass(frozen=True)
class LossSettings:
    """Constants of the loss; the defaults are the paper's."""

    temperature: float = 0.1
    """Of the student's softmax, > 0; applied after the scores are aligned."""
    eps: float = 0.05
    """Softness of the targets, > 0."""
    iterations: int = 3
    """Rounds of Sinkhorn."""
    bins: int = 7
    """Cells along a side of a shared region."""
    mask_threshold: float = 1 - 1e-4
    """A cell counts if at least this share of it is foreground. The authors ask for 1 in floating point, and
    lose cells that are all foreground to rounding. Here the background is added up, so that 1 loses none
    either."""


@dataclass(frozen=True)
class LossParts:
    """The loss and what it is made of. Only `loss` has a gradient."""

    loss: Tensor
    """[] float32. Over several processes, this process's part: the mean over processes is the loss."""
    pair_losses: Tensor
    """[T, N]; as `loss`, of each target and crop; 0 for a crop with itself."""
    cells: Tensor
    """[T, N] float32: cells that counted, of all processes; 0 for a crop with itself."""
    usage: Tensor
    """[K]: mean target over all tokens of all processes; sums to 1."""


def dense_loss(
    teacher_scores: Tensor,
    student_global: Tensor,
    student_local: Tensor | None,
    gc_boxes: Tensor,
    all_boxes: Tensor,
    patch_size: int,
    mask: Tensor | None = None,
    queue_scores: Tensor | None = None,
    queue_weights: Tensor | None = None,
    settings: LossSettings = LossSettings(),
    group: dist.ProcessGroup | None = None,
) -> LossParts:
    """Cross-entropy between targets and predictions on the regions that two crops of an image share.

    Naive form:
        for each target crop g:
            q = sinkhorn(teacher_scores[g]), one row a token, balanced over the batch and the queue
            for each crop v but g:
                a = roi_align(q, gc_boxes[:, g, v] / patch_size)                  each image's own box
                m = roi_align(mask[g], gc_boxes[:, g, v] / patch_size) >= mask_threshold
                z = roi_align(student scores of v, all_boxes[:, v, g] / patch_size)
                ce = -sum_k a_k * log_softmax(z / temperature)_k                  [B, bins, bins]
                pair[g, v] = sum(ce * m) / sum(m), 0 if nothing counts; mean(ce) without a mask
        loss = mean of pair[g, v] over g, then over v != g

    Scores and targets are aligned, never features. Each map meets the matrices of all its boxes in one
    product, in float32 whatever the scores' type. Nothing makes the host wait for the device.

    Over several processes the tokens of all are balanced together, and a masked pair is divided by the cells
    of all: the mean of the gradients over processes, as DDP takes it, is that of one process with the whole
    batch.

    Args:
        teacher_scores: cosines of the large crops, [T, B, G, G, K] or [T, B, G * G, K]; no gradient.
        student_global: the student's for the same crops, in one of these shapes; any float type.
        student_local: for the small crops, [n, B, L, L, K] or [n, B, L * L, K]; None if there are none.
        gc_boxes: region of target g that crop v shows too, in pixels of the resized crop g, [B, T, N, 4].
        all_boxes: region of crop v that target g shows too, in pixels of the resized crop v, [B, N, T, 4].
        patch_size: pixels along the side of a token.
        mask: tokens of the targets that count, bool [T, B, G, G] or [T, B, G * G]; None: all.
        queue_scores: of earlier tokens, [T, Q, K], balanced together with the present ones; None: none.
        queue_weights: how much these count, see `sinkhorn`, [T, Q]; None: as much as the present ones.
        settings: see there.
        group: processes of the run; None: all.

    Raises:
        LeopartError: there is one crop an image, so that it has no partner.
        ValueError: shapes do not fit each other.

    Source: Leopart, CVPR 2022, dense clustering loss; spec/leopart-facts.md 3.4. The authors take
    log(softmax(x)), align a crop with itself for nothing, and mask by >= 1.
    """
    teacher_scores, student_global = _flat(teacher_scores), _flat(student_global)
    student_local = None if student_local is None or len(student_local) == 0 else _flat(student_local)
    _check(teacher_scores, student_global, student_local, gc_boxes, all_boxes)
    with torch.autocast(student_global.device.type, enabled=False):
        targets = balanced_targets(teacher_scores, queue_scores, queue_weights, settings, group)
        with torch.no_grad():
            matrices = _target_matrices(gc_boxes / patch_size, _side(targets), settings.bins)
            aligned = _apply(matrices, targets)
            counted = None if mask is None else _counted(matrices, mask, settings.mask_threshold)
        predicted = _aligned_scores(student_global, student_local, all_boxes / patch_size, settings.bins)
        entropy = -(aligned * torch.log_softmax(predicted / settings.temperature, -1)).sum(-1)
        losses, cells = _pair_means(entropy, counted, group)
        usage = total(targets.mean((0, 1, 2)), group) / world_size(group)
        return LossParts(losses.mean(), _by_crop(losses.detach()), _by_crop(cells), usage)


def balanced_targets(
    teacher_scores: Tensor,
    queue_scores: Tensor | None,
    queue_weights: Tensor | None,
    settings: LossSettings,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Sinkhorn assignments of the present tokens, balanced for each target crop over the batch and its queue.

    Args:
        teacher_scores: [T, B, M, K].
        queue_scores: see `dense_loss`.
        queue_weights: see `dense_loss`.
        settings: `eps` and `iterations` are read.
        group: processes of the run.

    Returns:
        float32 [T, B, M, K] without gradient, sums to 1 over K.
    """
    rows, weights = teacher_scores.detach().flatten(1, 2).float(), None
    count = rows.shape[1]
    if queue_scores is not None and queue_scores.shape[1]:
        rows = torch.cat([queue_scores.detach().float(), rows], dim=1)
        if queue_weights is not None:
            weights = torch.cat([queue_weights.float(), queue_weights.new_ones(len(rows), count)], dim=1)
    return sinkhorn(rows, settings.eps, settings.iterations, weights, group)[:, -count:].reshape(
        teacher_scores.shape
    )


def _target_matrices(boxes: Tensor, side: int, bins: int) -> Tensor:
    """Alignment of each target with each of its partners' regions, [T, B, N - 1, C, G * G]."""
    targets = boxes.shape[1]
    own = torch.arange(targets, device=boxes.device)[:, None]
    ahead = torch.arange(1, boxes.shape[2], device=boxes.device)
    partner = torch.where(ahead < targets, (own + ahead) % targets, ahead)
    chosen = boxes[:, own, partner].transpose(0, 1)
    return alignment_matrix(chosen, side, side, bins)


def _aligned_scores(scores: Tensor, local: Tensor | None, boxes: Tensor, bins: int) -> Tensor:
    """The student's scores on each target's partners' regions, by target, [T, B, N - 1, C, K]."""
    targets = len(scores)
    views = torch.arange(targets, device=boxes.device)[:, None]
    ahead = torch.arange(1, targets, device=boxes.device)
    parts = []
    if targets > 1:
        chosen = boxes[:, views, (views - ahead) % targets].transpose(0, 1)
        seen = _apply(alignment_matrix(chosen, _side(scores), _side(scores), bins), scores)
        # `seen[v, :, j - 1]` is meant for target v - j: turned by j, it lies at that target's place.
        parts += [seen[:, :, step - 1 : step].roll(-step, dims=0) for step in range(1, targets)]
    if local is not None:
        chosen = boxes[:, targets:].transpose(0, 1)
        seen = _apply(alignment_matrix(chosen, _side(local), _side(local), bins), local)
        parts.append(seen.transpose(0, 2))
    return torch.cat(parts, dim=2)


def _apply(matrices: Tensor, maps: Tensor) -> Tensor:
    """Each map [V, B, M, K] under all its matrices [V, B, P, C, M]: [V, B, P, C, K]."""
    views, batch, pairs, cells, tokens = matrices.shape
    stacked = matrices.reshape(views * batch, pairs * cells, tokens)
    return torch.bmm(stacked, maps.float().flatten(0, 1)).reshape(views, batch, pairs, cells, -1)


def _counted(matrices: Tensor, mask: Tensor, threshold: float) -> Tensor:
    """Which cells of the regions are foreground enough, 0 or 1, float32 [T, B, N - 1, C].

    The background's weights are added up, not the foreground's: a sum of 1 is blurred by rounding, and by
    coarser products where torch is set to them, but a sum of nothing is 0.
    """
    background = (~mask.bool()).float().reshape(*matrices.shape[:2], -1, 1)
    return (_apply(matrices, background)[..., 0] <= 1 - threshold).float()


def _pair_means(
    entropy: Tensor, counted: Tensor | None, group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor]:
    """Mean of [T, B, N - 1, C] over the cells that count, and their number in all processes; [T, N - 1]."""
    processes = world_size(group)
    if counted is None:
        losses = entropy.mean((1, 3))
        return losses, torch.full_like(losses, entropy.shape[1] * entropy.shape[3] * processes).detach()
    cells = total(counted.sum((1, 3)), group)
    return (entropy * counted).sum((1, 3)) * processes / cells.clamp(min=1), cells


def _by_crop(values: Tensor) -> Tensor:
    """[T, N - 1] in the order of partners to [T, N] in the order of crops, 0 on the diagonal."""
    targets = len(values)
    own = torch.arange(targets, device=values.device)[:, None]
    crop = torch.arange(values.shape[1] + 1, device=values.device)
    ahead = torch.where(crop < targets, (crop - own) % targets, crop)
    return torch.nn.functional.pad(values, (1, 0)).gather(1, ahead)


def _flat(scores: Tensor) -> Tensor:
    """[V, B, M, K] from that or from [V, B, side, side, K]."""
    return scores.flatten(2, 3) if scores.ndim == 5 else scores


def _side(maps: Tensor) -> int:
    """Tokens along the side of [V, B, side * side, K]."""
    return math.isqrt(maps.shape[2])


def _check(
    teacher: Tensor, student: Tensor, local: Tensor | None, gc_boxes: Tensor, all_boxes: Tensor
) -> None:
    """Shapes that broadcast or reshape to something wrong would give a wrong loss in silence."""
    small = 0 if local is None else len(local)
    targets, batch = teacher.shape[:2]
    crops = targets + small
    if crops < 2:
        message = "the loss compares crops of an image, and there is only one: ask for two or more"
        raise LeopartError(message)
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape")
    if gc_boxes.shape != (batch, targets, crops, 4) or all_boxes.shape != (batch, crops, targets, 4):
        boxes = f"{tuple(gc_boxes.shape)} and {tuple(all_boxes.shape)}"
        raise ValueError(f"boxes {boxes} do not fit {batch} images, {targets} targets and {crops} crops")
    for maps in [teacher] if local is None else [teacher, local]:
        if _side(maps) ** 2 != maps.shape[2] or maps.shape[1] != batch:
            raise ValueError(f"scores {tuple(maps.shape)} are no square maps of {batch} images")

"""The training step written down formula by formula, as most would at first: the peer of our own.

The teacher runs with gradients, attention matrices are stored, components are labelled and regions aligned
one after the other, and the softmax's logarithm is taken afterwards. What it computes is the same, up to
rounding, to which tokens the queue draws, and to whose prototypes score them.

Legend: as in `leopart.training.methods.leopart.loss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.transforms.functional import gaussian_blur

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead


def naive_mask(attention: Tensor, keep: float = 0.6) -> Tensor:
    """Foreground of attention maps [M, 1, G, G], float of 0 and 1 in the same shape."""
    blurred = gaussian_blur(attention, [7, 7], [0.6, 0.6])
    mass = blurred.flatten(1)
    mass = mass / mass.sum(1, keepdim=True)
    ordered, order = mass.sort(1)
    on = torch.gather(ordered.cumsum(1) > 1 - keep, 1, order.argsort(1)).reshape(attention.shape).float()
    for image in on:
        labels, count = ndimage.label(image[0].cpu().numpy(), np.ones((3, 3)))
        for component in range(1, count + 1):
            inside = labels == component
            if inside.sum() < 3:
                image[0][torch.from_numpy(inside).to(image.device)] = 0
    return on


def naive_sinkhorn(scores: Tensor, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """Balanced assignments [R, K] of scores [R, K]."""
    q = torch.exp(scores / eps).t()
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / q.shape[0]
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q / q.sum(0, keepdim=True)).t()


def naive_loss(
    teacher_scores: Tensor,
    student_global: Tensor,
    student_local: Tensor | None,
    gc_boxes: Tensor,
    all_boxes: Tensor,
    patch_size: int,
    mask: Tensor | None = None,
    queue_scores: Tensor | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """`dense_loss` pair by pair; masks [T, B, G, G] may be of any type, queues must be full."""
    students = [*student_global, *([] if student_local is None else student_local)]
    loss = torch.zeros((), device=student_global.device)
    for g, scores in enumerate(teacher_scores):
        with torch.no_grad():
            rows = scores.flatten(0, 2)
            if queue_scores is not None:
                rows = torch.cat([queue_scores[g], rows])
            targets = naive_sinkhorn(rows)[-scores[..., 0].numel() :].reshape(scores.shape)
        pairs = torch.zeros((), device=student_global.device)
        for v, student in enumerate(students):
            region = gc_boxes[:, g, v] / patch_size
            a = _aligned(targets, region)
            z = _aligned(student, all_boxes[:, v, g] / patch_size)
            if v == g:
                continue
            entropy = -(a * torch.log(torch.softmax(z / temperature, 1))).sum(1)
            if mask is None:
                pairs = pairs + entropy.mean()
                continue
            cells = _aligned(mask[g][..., None].float(), region)[:, 0] >= 1 - 1e-4
            if cells.sum().item() > 0:
                pairs = pairs + (entropy * cells).sum() / cells.sum()
        loss = loss + pairs / (len(students) - 1)
    return loss / len(teacher_scores)


def _aligned(maps: Tensor, boxes: Tensor) -> Tensor:
    """One box of each image: [B, side, side, C] and [B, 4] to [B, C, 7, 7]."""
    rows = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].float(), boxes], 1)
    return roi_align(maps.permute(0, 3, 1, 2).contiguous(), rows, 7, sampling_ratio=-1, aligned=True)


def naive_tokens(backbone: Backbone, crops: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [B, h, w, D] and CLS attention [B, heads, h, w] of uint8 crops, by whole attention matrices."""
    model: Any = backbone.model
    kept: list[Tensor] = []
    for block in model.blocks:
        block.attn.fused_attn = False
    # Without the fused kernel, timm sends softmax(q k / sqrt d), all of it, through this dropout.
    hook = model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _m, _i, out: kept.append(out))
    tokens = backbone.finish_tokens(backbone.begin(backbone.normalise(crops)))
    hook.remove()
    attention = kept[0][:, :, 0, model.num_prefix_tokens :]
    return tokens, attention.reshape(*attention.shape[:2], *tokens.shape[1:3])


class NaiveTrainer(nn.Module):
    """Networks and queues of one process, moved one batch on by each call.

    Args:
        student: backbone and head, with gradients on.
        teacher: copies of the two, with gradients on as well.
        queue: length; 0 without.
    """

    def __init__(
        self,
        student: tuple[Backbone, DenseHead],
        teacher: tuple[Backbone, DenseHead],
        queue: int,
        keep: float = 0.6,
    ) -> None:
        super().__init__()
        self.student, self.teacher = nn.ModuleList(student), nn.ModuleList(teacher)
        self.queue_length, self.keep = queue, keep
        self.queues: Tensor | None = None

    def forward(self, views: ViewBatch) -> Tensor:
        """Loss of one batch; the caller goes backward and steps."""
        targets, batch = views.global_crops.shape[:2]
        for part in (self.student, self.teacher):
            part[1].normalise_prototypes()
        tokens, attention = naive_tokens(self.teacher[0], views.global_crops.flatten(0, 1))
        embeddings, scores = self.teacher[1](tokens)
        mask = naive_mask(attention.detach().mean(1, keepdim=True), self.keep)
        grid = mask.shape[-1]
        mask = mask.reshape(targets, batch, grid, grid)
        embeddings, scores = (part.reshape(targets, batch, grid, grid, -1) for part in (embeddings, scores))
        predictions = [self._student_scores(views.global_crops)]
        predictions.append(self._student_scores(views.local_crops) if len(views.local_crops) else None)
        full = self.queues is not None and bool((self.queues[:, -1] != 0).any())
        earlier = self.student[1].score(self.queues).detach() if full else None
        patch = self.student[0].patch_size
        loss = naive_loss(scores, *predictions, views.gc, views.all, patch, mask, earlier)
        if self.queue_length:
            self._push(embeddings.detach(), mask)
        return loss

    def _student_scores(self, crops: Tensor) -> Tensor:
        tokens, _ = naive_tokens(self.student[0], crops.flatten(0, 1))
        _, scores = self.student[1](tokens)
        return scores.reshape(*crops.shape[:2], *scores.shape[1:])

    def _push(self, embeddings: Tensor, mask: Tensor) -> None:
        """Ten random foreground tokens for each image, target by target."""
        if self.queues is None:
            self.queues = embeddings.new_zeros(len(embeddings), self.queue_length, embeddings.shape[-1])
        for target, rows in enumerate(embeddings):
            chosen = rows[mask[target] > 0]
            chosen = chosen[torch.randperm(len(chosen), device=chosen.device)]
            chosen = chosen[: min(10 * len(rows), self.queue_length)]
            self.queues[target] = torch.cat([chosen, self.queues[target]])[: self.queue_length]


@torch.no_grad()
def naive_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Parameter by parameter."""
    for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.copy_(momentum * mine + (1 - momentum) * theirs)

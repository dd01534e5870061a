"""The dense clustering loss, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import Comparison, compare
from benchmarks.training_naive import naive_loss
from leopart.training.methods.leopart.loss import dense_loss
from leopart.training.methods.regions import SharedRegions

_PATCH, _LARGE, _SMALL = 16, 14, 6


def run() -> Iterator[Comparison]:
    inputs, learned = _inputs(batch=8, targets=2, small=4, prototypes=300)
    ours = _loss(**inputs).item()
    theirs = naive_loss(**inputs).item()
    if abs(ours - theirs) > 1e-4 * theirs:
        raise AssertionError(f"the two losses differ: {ours} and {theirs}")
    yield compare(
        "dense loss / pair by pair",
        lambda: torch.autograd.grad(_loss(**inputs), learned),
        lambda: torch.autograd.grad(naive_loss(**inputs), learned),
        runs=5,
        note="8 images, 2 + 4 crops, 300 prototypes, patch 16, mask",
    )


def _loss(
    teacher_scores: Tensor,
    student_global: Tensor,
    student_local: Tensor,
    gc_boxes: Tensor,
    all_boxes: Tensor,
    patch_size: int,
    mask: Tensor,
) -> Tensor:
    regions = SharedRegions.in_tokens(gc_boxes, all_boxes, patch_size)
    return dense_loss(teacher_scores, (student_global, student_local), regions, mask=mask)


def _inputs(batch: int, targets: int, small: int, prototypes: int) -> tuple[dict[str, object], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(prototypes, 64, generator=generator), dim=-1)

    def scores(views: int, side: int) -> Tensor:
        tokens = F.normalize(torch.randn(views, batch, side, side, 64, generator=generator), dim=-1)
        return tokens @ directions.T

    def boxes(*shape: int) -> Tensor:
        low = 0.5 * torch.rand(*shape, 2, generator=generator)
        return torch.cat([low, low + 0.1 + 0.4 * torch.rand(*shape, 2, generator=generator)], -1)

    crops = targets + small
    sides = torch.tensor([_LARGE * _PATCH] * targets + [_SMALL * _PATCH] * small).float()
    learned = [scores(targets, _LARGE).requires_grad_(), scores(small, _SMALL).requires_grad_()]
    inputs = {
        "teacher_scores": scores(targets, _LARGE),
        "student_global": learned[0],
        "student_local": learned[1],
        "gc_boxes": boxes(batch, targets, crops) * _LARGE * _PATCH,
        "all_boxes": boxes(batch, crops, targets) * sides[:, None, None],
        "patch_size": _PATCH,
        "mask": torch.rand(targets, batch, _LARGE, _LARGE, generator=generator) < 0.9,
    }
    return inputs, learned

"""The optimiser: groups of parameters, rates that change from step to step, and how the teacher follows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from leopart.recipe import Recipe

_HEAD = ("projection_head", "prototypes")


def build_optimizer(student: nn.Module) -> torch.optim.Optimizer:
    """AdamW with the groups of `parameter_groups`, without frozen parameters."""
    named = {name: p for name, p in student.named_parameters() if p.requires_grad}
    groups = [
        {"params": [named[name] for name in names], "name": group, "lr": 0.0, "weight_decay": 0.0}
        for group, names in parameter_groups(named.items()).items()
        if names
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)


def parameter_groups(named_parameters: Iterable[tuple[str, Tensor]]) -> dict[str, list[str]]:
    """Names of parameters in four groups: backbone or head, with or without weight decay.

    Biases and vectors do not decay. The class token, the position table and the prototypes do.

    Args:
        named_parameters: as `Module.named_parameters` gives them. Head parameters are those with
            `projection_head` or `prototypes` in their name.

    Returns:
        Names in the given order under `backbone_decayed`, `backbone_undecayed`, `head_decayed` and
        `head_undecayed`; each may be empty.

    Source: Leopart, CVPR 2022, supplement; the authors' code.
    """
    groups: dict[str, list[str]] = {
        f"{part}_{decay}": [] for part in ("backbone", "head") for decay in ("decayed", "undecayed")
    }
    for name, parameter in named_parameters:
        part = "head" if any(word in name for word in _HEAD) else "backbone"
        decay = "undecayed" if name.endswith(".bias") or parameter.ndim <= 1 else "decayed"
        groups[f"{part}_{decay}"].append(name)
    return groups


def set_schedules(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, total: int) -> None:
    """Learning rate and weight decay of step `step`, from 0, of `total`.

    Source: Leopart, CVPR 2022, supplement. The warm-up is ours and off by default.
    """
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    decay = cosine(recipe.weight_decay, recipe.weight_decay_end, step, total)
    for group in optimizer.param_groups:
        start = recipe.lr_head if group["name"].startswith("head") else recipe.lr
        group["lr"] = warm * cosine(start, recipe.lr_end, step, total)
        group["weight_decay"] = 0.0 if group["name"].endswith("undecayed") else decay


def cosine(start: float, end: float, step: int, total: int) -> float:
    """Half a cosine from `start` at step 0 towards `end`, which step `total` reaches.

    start + (end - start) * (1 - cos(pi * step / total)) / 2

    A run's steps are 0 to total - 1, so its last step comes near `end` only. Later steps stay at `end`.

    Args:
        start: value at step 0.
        end: value at step `total`.
        step: from 0.
        total: steps of the run, at least 1.

    Raises:
        ValueError: `step` is negative or `total` is below 1.

    Source: Leopart, CVPR 2022, supplement; the authors' code.
    """
    if step < 0 or total < 1:
        raise ValueError(f"a schedule needs a step from 0 and a total from 1, got {step} of {total}")
    if step >= total:
        return float(end)
    return start + 0.5 * (end - start) * (1 - math.cos(math.pi * step / total))


@torch.no_grad()
def ema_update(teacher: Iterable[Tensor], student: Iterable[Tensor], momentum: float) -> None:
    """Move the teacher a little towards the student, in place.

    Naive form:
        for each pair t, s:
            t = momentum * t + (1 - momentum) * s

    Args:
        teacher: parameters; changed.
        student: parameters in the same order, of the same shapes, types and devices.
        momentum: share of the teacher that stays, in [0, 1]; at 1 nothing changes.

    Raises:
        ValueError: `momentum` is outside [0, 1], or there are not as many parameters on both sides.

    Source: Leopart, CVPR 2022, supplement.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"the momentum must be in [0, 1], not {momentum}")
    followers, leaders = list(teacher), list(student)
    if len(followers) != len(leaders):
        raise ValueError(f"{len(followers)} parameters cannot follow {len(leaders)}")
    if followers:
        torch._foreach_mul_(followers, momentum)
        torch._foreach_add_(followers, leaders, alpha=1 - momentum)

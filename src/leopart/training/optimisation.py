"""Which parameters decay and learn how fast, and how the teacher follows the student."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_HEAD = ("projection_head", "prototypes")


def parameter_groups(named_parameters: Iterable[tuple[str, Tensor]]) -> dict[str, list[str]]:
    """Names of parameters in four groups: backbone or head, with or without weight decay.

    Biases and vectors do not decay. The class token, the position table and the prototypes do.

    Args:
        named_parameters: as `Module.named_parameters` gives them. Head parameters are those with
            `projection_head` or `prototypes` in their name.

    Returns:
        Names in the given order under `backbone_decayed`, `backbone_undecayed`, `head_decayed` and
        `head_undecayed`; each may be empty.

    Source: Leopart, CVPR 2022; spec/leopart-facts.md 4.
    """
    groups: dict[str, list[str]] = {
        f"{part}_{decay}": [] for part in ("backbone", "head") for decay in ("decayed", "undecayed")
    }
    for name, parameter in named_parameters:
        part = "head" if any(word in name for word in _HEAD) else "backbone"
        decay = "undecayed" if name.endswith(".bias") or parameter.ndim <= 1 else "decayed"
        groups[f"{part}_{decay}"].append(name)
    return groups


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

    Source: Leopart, CVPR 2022; spec/leopart-facts.md 2.3.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"the momentum must be in [0, 1], not {momentum}")
    followers, leaders = list(teacher), list(student)
    if len(followers) != len(leaders):
        raise ValueError(f"{len(followers)} parameters cannot follow {len(leaders)}")
    if followers:
        torch._foreach_mul_(followers, momentum)
        torch._foreach_add_(followers, leaders, alpha=1 - momentum)

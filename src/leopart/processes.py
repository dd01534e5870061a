"""What the processes of one run tell each other; nothing happens where there is only one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size(group: dist.ProcessGroup | None = None) -> int:
    """Number of processes in the group (None: all); 1 without torch.distributed."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1


def rank(group: dist.ProcessGroup | None = None) -> int:
    """This process's number in the group, from 0."""
    return dist.get_rank(group) if dist.is_available() and dist.is_initialized() else 0


@torch.no_grad()
def total(values: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Sum of `values` over the processes, element by element; may be `values` itself, overwritten."""
    if world_size(group) > 1:
        dist.all_reduce(values, dist.ReduceOp.SUM, group)
    return values


@torch.no_grad()
def largest(values: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Maximum of `values` over the processes, element by element; may be `values` itself, overwritten."""
    if world_size(group) > 1:
        dist.all_reduce(values, dist.ReduceOp.MAX, group)
    return values


@torch.no_grad()
def gathered(values: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """`values` of all processes, stacked by rank, [W, *values.shape]; shapes must be alike."""
    if world_size(group) == 1:
        return values[None]
    parts = [torch.empty_like(values) for _ in range(world_size(group))]
    dist.all_gather(parts, values.contiguous(), group)
    return torch.stack(parts)

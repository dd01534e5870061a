"""What the processes of one run say to each other; nothing happens where there is only one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


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


@contextmanager
def first_process_first() -> Iterator[None]:
    """The block runs on the first process, and when it is done there, on the others."""
    if rank() > 0:
        dist.barrier()
    try:
        yield
    finally:
        if rank() == 0 and world_size() > 1:
            dist.barrier()


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if world_size() > 1:
        dist.barrier()


def from_all(thing: T) -> list[T]:
    """What each process has, by rank; anything that can be pickled."""
    if world_size() == 1:
        return [thing]
    things: list[T | None] = [None] * world_size()
    dist.all_gather_object(things, thing)
    return cast("list[T]", things)


@contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Inside, the processes that a launcher has started work as one group; alone, nothing happens.

    torchrun says in the environment how many there are (`WORLD_SIZE`) and which one this is.

    Args:
        device: where to compute; each process takes the GPU of its number on the machine.

    Yields:
        The device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def in_srun() -> bool:
    """Whether `srun` has started this process; a batch script without it is one process like any other."""
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_STEP_ID" in os.environ and "SLURM_NTASKS" in os.environ and not shell


def is_first_process() -> bool:
    """Whether this process writes and talks, as its launcher says: also before a group is joined."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    if in_srun():
        return os.environ.get("SLURM_PROCID", "0") == "0"
    return os.environ.get("LOCAL_RANK", "0") == os.environ.get("NODE_RANK", "0") == "0"

"""Some steps of a tiny training, alone or as one of several processes; see `test_distributed.py`.

Run as `two_processes.py RANK WORLD FOLDER`; the processes meet in a file there and leave `RANK.pt` behind.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from leopart.processes import total, world_size
from leopart.training.methods.leopart.loss import Queued, dense_loss
from leopart.training.methods.queue import TokenQueue
from leopart.training.methods.regions import SharedRegions

STEPS = 5
IMAGES = 4
TARGETS, SMALL = 2, 2
PATCH, LARGE, LITTLE = 16, 14, 6
DIM, PROTOTYPES, LENGTH = 5, 6, 70


def train(rank: int, world: int, *, masked: bool) -> dict[str, Any]:
    """What each step gives: losses and gradients as the mean over processes, cells, usage, queue."""
    generator = torch.Generator().manual_seed(0)
    prototypes = F.normalize(torch.randn(PROTOTYPES, DIM, generator=generator)).requires_grad_()
    queue = TokenQueue(TARGETS, LENGTH, DIM)
    kept: dict[str, Any] = {name: [] for name in ("loss", "gradient", "rows", "fill")}
    share = slice(rank * IMAGES // world, (rank + 1) * IMAGES // world)
    for step in range(STEPS):
        batch = _batch(generator, masked)
        mine = {name: _cut(name, value, share) for name, value in batch.items()}
        scores = {name: mine[name] @ prototypes.T for name in ("student_global", "student_local")}
        with torch.no_grad():
            teacher, earlier = mine["teacher"] @ prototypes.T, queue.rows @ prototypes.T
        loss = dense_loss(
            teacher,
            (scores["student_global"], scores["student_local"]),
            SharedRegions(mine["gc"] / PATCH, mine["all"] / PATCH),
            mask=mine.get("mask"),
            queued=Queued(earlier, queue.weights()),
        )
        (gradient,) = torch.autograd.grad(loss, prototypes)
        mask = None if "mask" not in mine else mine["mask"].flatten(2)
        queue.push(mine["teacher"].flatten(2, 3), mask, 10 * IMAGES, seed=3, step=step)
        for name, value in {
            "loss": total(loss.detach().clone()) / world_size(),
            "gradient": total(gradient.clone()) / world_size(),
            "rows": queue.rows,
            "fill": queue.fill,
        }.items():
            kept[name].append(value.clone())
        with torch.no_grad():
            prototypes -= 0.1 * kept["gradient"][-1]
    return kept


def _batch(generator: torch.Generator, masked: bool) -> dict[str, Tensor]:
    def units(*shape: int) -> Tensor:
        return F.normalize(torch.randn(*shape, DIM, generator=generator), dim=-1)

    def boxes(*shape: int) -> Tensor:
        low = 0.6 * torch.rand(*shape, 2, generator=generator)
        return torch.cat([low, low + 0.1 + 0.3 * torch.rand(*shape, 2, generator=generator)], -1)

    crops = TARGETS + SMALL
    sides = torch.tensor([LARGE * PATCH] * TARGETS + [LITTLE * PATCH] * SMALL).float()
    batch = {
        "teacher": units(TARGETS, IMAGES, LARGE, LARGE),
        "student_global": units(TARGETS, IMAGES, LARGE, LARGE),
        "student_local": units(SMALL, IMAGES, LITTLE, LITTLE),
        "gc": boxes(IMAGES, TARGETS, crops) * LARGE * PATCH,
        "all": boxes(IMAGES, crops, TARGETS) * sides[:, None, None],
    }
    if masked:  # the last images have next to no foreground, so processes hold very different shares
        rates = torch.tensor([0.98, 0.9, 0.02, 0.03])[:, None, None]
        batch["mask"] = torch.rand(TARGETS, IMAGES, LARGE, LARGE, generator=generator) < rates
    return batch


def _cut(name: str, value: Tensor, share: slice) -> Tensor:
    return value[share] if name in ("gc", "all") else value[:, share]


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
    torch.save([train(rank, world, masked=masked) for masked in (False, True)], folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

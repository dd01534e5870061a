"""Two small trainings and their scores, alone or as one of several processes; see `test_head_distributed.py`.

Run as `head_processes.py FOLDER` with the environment that torchrun sets; leaves `RANK.pt` in the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from leopart.evaluation.heads.examples import CachedExamples
from leopart.evaluation.heads.recipes import HeadRecipe
from leopart.evaluation.heads.scoring import score_head
from leopart.evaluation.heads.training import train_head
from leopart.processes import joined_processes, rank, world_size

PHOTOS, CLASSES, SIDE = 7, 4, 12
RECIPES = {
    # Batches of 3, 3 and 1: in the last one the second process has nothing. The first photo has few labels.
    kind: HeadRecipe(
        kind=kind, lr=0.05, epochs=4, drop_at=3, batch_size=3, train_size=SIDE, width=8, select=5, eval_grid=9
    )
    for kind in ("linear", "fcn")
}


def run(kind: str) -> dict[str, Any]:
    """Weights, learning curve and counts of one head."""
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.normal(size=(PHOTOS, 6, 6, 5))).float()
    labels = rng.integers(0, CLASSES, (PHOTOS, SIDE, SIDE)).astype(np.uint8)
    labels[0, 1:] = 255
    examples = CachedExamples(tokens, labels)
    trained = train_head(examples, CLASSES, RECIPES[kind], validation=examples)
    seen: list[int] = []
    confusion = score_head(trained.head, tokens, labels, save=lambda index, rows: seen.append(index))
    return {
        "weights": trained.head.state_dict(),
        "loss": torch.tensor([epoch.loss for epoch in trained.curve]),
        "miou": [epoch.miou for epoch in trained.curve],
        "kept": trained.kept,
        "matrix": torch.from_numpy(confusion.matrix),
        "seen": seen,
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined_processes(torch.device("cpu")):
        number, count = rank(), world_size()
        found = {kind: run(kind) for kind in RECIPES}
    assert world_size() == 1, "the group outlives its block"
    torch.save(found | {"processes": count}, folder / f"{number}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

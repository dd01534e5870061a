"""Student and teacher of DenseCL, their heads, and the cells that they compare.

Legend: as in `leopart.training.methods.densecl.loss`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.models.backbone import Backbone
from leopart.training.methods.networks import TwoNetworks


class ContrastHead(nn.Module):
    """Two projections side by side: of the whole crop, and of its cells.

    Each Linear(D, hidden), ReLU, Linear(hidden, E), and L2 normalisation, with weights from a normal
    distribution of variance 2 / inputs, as published.

    Args:
        dim: D.
        hidden: channels between the layers.
        out: E.
        generator: fresh weights are drawn from it, on the CPU.
    """

    def __init__(self, dim: int, hidden: int, out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projection_head = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))
                for name in ("whole", "cells")
            }
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)

    def forward(self, summary: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit embeddings, float32: of the crop [B, E], of its cells [B, n, E], and of their mean [B, E].

        Args:
            summary: one vector for each crop, [B, D].
            cells: [B, n, D].
        """
        whole, dense = self.projection_head["whole"](summary), self.projection_head["cells"](cells)
        with torch.autocast(dense.device.type, enabled=False):
            embeddings = (whole.float(), dense.float(), dense.float().mean(1))
            return tuple(F.normalize(part, dim=-1) for part in embeddings)  # type: ignore[return-value]


@dataclass(frozen=True)
class Embedded:
    """Outputs of one network for a batch of crops."""

    whole: Tensor
    """Unit embedding of each crop, [B, E]."""
    cells: Tensor
    """Of its cells, [B, n, E]."""
    pooled: Tensor
    """Of their mean, [B, E]."""
    tokens: Tensor
    """Outputs of the backbone for the cells, [B, n, D], detached."""


class QueryKey(TwoNetworks):
    """DenseCL's two networks, with a `ContrastHead` each: the student sees queries, the teacher keys."""

    def forward(self, queries: Tensor, keys: Tensor, side: int) -> tuple[Embedded, Embedded]:
        """Outputs of the student for the queries, and of the teacher, without gradient, for the keys.

        Args:
            queries: uint8 [B, 3, S, S].
            keys: other crops of the same photos, uint8 [B, 3, S, S].
            side: see `to_cells`.
        """
        query = self._embedded(self.student, queries, side)
        with torch.no_grad():
            key = self._embedded(self.student if self.teacher is None else self.teacher, keys, side)
        return query, key

    def _embedded(self, network: nn.ModuleDict, crops: Tensor, side: int) -> Embedded:
        backbone: Backbone = network["backbone"]  # type: ignore[assignment]  # a ModuleDict forgets the class
        pixels = backbone.normalise(crops)
        (trunk,) = self._trunk([pixels])
        tokens, summary = backbone.finish_with_summary(backbone.begin(pixels) if trunk is None else trunk)
        cells = to_cells(tokens, side)
        whole, dense, pooled = network["head"](summary, cells)
        return Embedded(whole, dense, pooled, cells.detach())


def to_cells(tokens: Tensor, side: int) -> Tensor:
    """Tokens [B, h, w, D] averaged to a grid of `side` x `side`, [B, n, D].

    Where tokens do not divide evenly, cells overlap. An axis with fewer tokens stays as it is.
    """
    size = (min(side, tokens.shape[1]), min(side, tokens.shape[2]))
    if size == tokens.shape[1:3]:
        return tokens.flatten(1, 2)
    return F.adaptive_avg_pool2d(tokens.permute(0, 3, 1, 2), size).flatten(2).transpose(1, 2)

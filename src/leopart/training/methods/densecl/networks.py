"""Student and teacher of DenseCL, their heads, and the cells that they compare.

Legend: as in `leopart.training.methods.densecl.loss`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.models.backbone import Hidden
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


def embedded(head: ContrastHead, tokens: Tensor, summary: Tensor, side: int) -> Embedded:
    """Outputs of one network's head for a batch of crops.

    Args:
        head: the network's.
        tokens: of its backbone, [B, h, w, D].
        summary: a vector for each crop, [B, D].
        side: see `to_cells`.
    """
    cells = to_cells(tokens, side)
    whole, dense, pooled = head(summary, cells)
    return Embedded(whole, dense, pooled, cells.detach())


class QueryKey(TwoNetworks):
    """DenseCL's two networks, with a `ContrastHead` each: the student sees queries, the teacher keys."""

    def forward(
        self, queries: Tensor, keys: Tensor, side: int
    ) -> tuple[Embedded, Embedded, Tensor, Tensor | None]:
        """Outputs of the student for the queries, and of the teacher, without gradient, for the keys.

        Args:
            queries: uint8 [B, 3, S, S].
            keys: other crops of the same photos, uint8 [B, 3, S, S].
            side: see `to_cells`.

        Returns:
            Both, the queries' tokens by the student [B, h, w, D], and by the network before training, see
            `start_tokens`.
        """
        pixels = self.backbone.normalise(queries)
        (trunk,) = self._trunk([pixels])
        query, tokens = self._embedded(self.student, pixels, trunk, side)
        with torch.no_grad():
            others = self.backbone.normalise(keys)
            (theirs,) = self._trunk([others])
            network = self.student if self.teacher is None else self.teacher
            key, _ = self._embedded(network, others, theirs, side)
        return query, key, tokens, self.start_tokens(pixels, trunk)

    def _embedded(
        self, network: nn.ModuleDict, pixels: Tensor, trunk: Hidden | None, side: int
    ) -> tuple[Embedded, Tensor]:
        """Outputs of one network, and its tokens."""
        backbone: Any = network["backbone"]
        head: Any = network["head"]
        tokens, summary = backbone.finish_with_summary(backbone.begin(pixels) if trunk is None else trunk)
        return embedded(head, tokens, summary, side), tokens


def to_cells(tokens: Tensor, side: int) -> Tensor:
    """Tokens [B, h, w, D] averaged to a grid of `side` x `side`, [B, n, D].

    Where tokens do not divide evenly, cells overlap. An axis with fewer tokens stays as it is.
    """
    size = (min(side, tokens.shape[1]), min(side, tokens.shape[2]))
    if size == tokens.shape[1:3]:
        return tokens.flatten(1, 2)
    return F.adaptive_avg_pool2d(tokens.permute(0, 3, 1, 2), size).flatten(2).transpose(1, 2)

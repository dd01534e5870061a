"""Projection head and prototypes on patch tokens, for dense clustering.

Legend: D channels of a token, E channels of an embedding, K prototypes.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SPREAD = 0.02
"""Standard deviation of fresh weights."""


class DenseHead(nn.Module):
    """Tokens to unit embeddings, and embeddings to cosines with prototypes.

    Linear(D, hidden), GELU, Linear(hidden, hidden), GELU, Linear(hidden, E), L2 normalisation; then a linear
    map without bias whose rows are the prototypes. No batch norm. The names of the parameters are those of
    the authors' files: `projection_head.{0,2,4}.{weight,bias}` and `prototypes.weight`; with one layer
    `projection_head.{weight,bias}`.

    Scores are cosines only while prototypes have length 1: call `normalise_prototypes` before every forward
    of a network that has been updated or loaded.

    Args:
        dim: D.
        prototypes: K.
        hidden: channels between the layers.
        out: E.
        layers: linear layers; 1 or less means one plain linear map from D to E.
        generator: fresh weights are drawn from it, on the CPU; None takes torch's own.

    Source: Leopart, CVPR 2022, supplement.
    """

    def __init__(
        self,
        dim: int,
        prototypes: int = 300,
        hidden: int = 2048,
        out: int = 256,
        layers: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.projection_head = _projection(dim, hidden, out, layers)
        self.prototypes = nn.Linear(out, prototypes, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=_SPREAD, generator=generator)
        self.normalise_prototypes()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [..., E] and scores [..., K] of tokens [..., D]; see `embed` and `score`."""
        embeddings = self.embed(tokens)
        return embeddings, self.score(embeddings)

    def embed(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of tokens.

        Args:
            tokens: [..., D], any float type.

        Returns:
            float32 [..., E]; the length is taken in float32 under autocast too.
        """
        projected = self.projection_head(tokens)
        with torch.autocast(projected.device.type, enabled=False):
            return F.normalize(projected.float(), dim=-1)

    def score(self, embeddings: Tensor) -> Tensor:
        """Cosines of unit embeddings [..., E] with the prototypes, [..., K]; under autocast in its type."""
        scores: Tensor = self.prototypes(embeddings)
        return scores

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Bring every prototype to length 1, in place and without gradient."""
        weight = self.prototypes.weight
        weight.copy_(F.normalize(weight.float(), dim=1))


def _projection(dim: int, hidden: int, out: int, layers: int) -> nn.Module:
    if layers <= 1:
        return nn.Linear(dim, out)
    widths = [dim, *[hidden] * (layers - 1), out]
    steps: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        steps += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*steps[:-1])

"""Student and teacher without heads, for losses that compare the backbone's own tokens.

Legend: V views of one resolution, T of the teacher's views, B photos, h and w tokens along a view's sides, D
channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leopart.models.backbone import Backbone, Hidden
from leopart.training.methods.networks import TwoNetworks


@dataclass(frozen=True)
class TokenMaps:
    """Tokens of a batch."""

    student: list[Tensor]
    """Of the views of each resolution, [V, B, h, w, D]."""
    teacher: Tensor
    """Of the teacher's views, [T, B, h, w, D], no gradient."""
    start: Tensor | None
    """As `student[0]`, by the network before training, no gradient; None without an anchor."""


class TokenNetworks(TwoNetworks):
    """Both networks without a head; see `TwoNetworks`."""

    def __init__(self, backbone: Backbone, **options: Any) -> None:
        super().__init__(backbone, nn.Identity(), **options)

    def forward(self, views: Sequence[Tensor], targets: Tensor | None = None) -> TokenMaps:
        """Tokens of the views by the student, and of the targets by the teacher.

        Args:
            views: of each resolution, uint8 [V, B, 3, S, S]; those without a view are left out.
            targets: the teacher's views, uint8 [T, B, 3, S, S]; None: those of the first resolution.
        """
        views = [part for part in views if len(part)]
        pixels = [self.backbone.normalise(part.flatten(0, 1)) for part in views]
        trunks = self._trunk(pixels)
        student = [
            _tokens(self.backbone, flat, trunk, part)
            for flat, trunk, part in zip(pixels, trunks, views, strict=True)
        ]
        with torch.no_grad():
            network: Any = self.student if self.teacher is None else self.teacher
            if targets is None:
                teacher = _tokens(network["backbone"], pixels[0], trunks[0], views[0])
            else:
                flat = self.backbone.normalise(targets.flatten(0, 1))
                (trunk,) = self._trunk([flat])
                teacher = _tokens(network["backbone"], flat, trunk, targets)
        start = self.start_tokens(pixels[0], trunks[0])
        return TokenMaps(student, teacher, None if start is None else start.reshape(student[0].shape))


def _tokens(backbone: Backbone, pixels: Tensor, trunk: Hidden | None, views: Tensor) -> Tensor:
    """Tokens [V, B, h, w, D] of views whose normalised pixels and trunk are given."""
    tokens = backbone.finish_tokens(backbone.begin(pixels) if trunk is None else trunk)
    return tokens.reshape(*views.shape[:2], *tokens.shape[1:])

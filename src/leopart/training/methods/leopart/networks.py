"""Student and teacher of the dense clustering: scores of all crops, targets and foreground of the large ones.

Legend: B photos, T large crops, n small crops, G and L tokens along their sides, D channels of a token, E
channels of an embedding, K prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leopart.models.attention import attention_mask
from leopart.models.backbone import Hidden
from leopart.models.heads import DenseHead
from leopart.training.methods.networks import TwoNetworks


@dataclass(frozen=True)
class Outputs:
    """Outputs of student and teacher for a batch."""

    student_global: Tensor
    """Student's scores of the large crops, [T, B, G, G, K]; cosines in [-1, 1]."""
    student_local: Tensor | None
    """The same of the small crops, [n, B, L, L, K]; None without small crops."""
    teacher_scores: Tensor
    """Teacher's scores of the large crops, [T, B, G, G, K], no gradient."""
    teacher_embeddings: Tensor
    """Teacher's unit embeddings, [T, B, G * G, E], no gradient."""
    foreground: Tensor
    """Where the teacher's attention lies, bool [T, B, G, G]."""
    tokens: Tensor
    """Student's tokens of the large crops, [T, B, G, G, D]."""
    teacher_tokens: Tensor
    """Teacher's tokens of the large crops, [T, B, G, G, D], no gradient."""
    start_tokens: Tensor | None
    """Tokens of the large crops before training, [T, B, G, G, D], no gradient; None without an anchor."""


class StudentTeacher(TwoNetworks):
    """Leopart's two networks, with a `DenseHead` each: scores of all crops, targets of the large ones."""

    @property
    def head(self) -> DenseHead:
        """The student's."""
        return self.student["head"]  # type: ignore[return-value]

    @property
    def target_head(self) -> DenseHead:
        """The head that scores targets: the teacher's, or the student's where there is no teacher."""
        return self.head if self.teacher is None else self.teacher["head"]  # type: ignore[return-value]

    def forward(self, global_crops: Tensor, local_crops: Tensor | None, attention_kept: float) -> Outputs:
        """Scores of all crops by the student, and of the large ones by the teacher.

        Args:
            global_crops: uint8 [T, B, 3, S, S].
            local_crops: uint8 [n, B, 3, s, s], or None.
            attention_kept: see `attention_mask`.
        """
        self._normalise_prototypes()
        crops = [global_crops] if local_crops is None else [global_crops, local_crops]
        pixels = [self.backbone.normalise(crop.flatten(0, 1)) for crop in crops]
        trunks = self._trunk(pixels)
        tokens = [
            self.backbone.finish_tokens(self._student_hidden(p, t))
            for p, t in zip(pixels, trunks, strict=True)
        ]
        _, flat = self.head(torch.cat([t.flatten(0, 2) for t in tokens]))
        # After the student: autocast keeps weights it has rounded, and some torch versions keep them without
        # gradient if that was first done here.
        with torch.no_grad():
            features, embeddings, scores = self._targets(pixels[0], trunks)
            foreground = attention_mask(features.attention.mean(1), attention_kept)
        start = self.start_tokens(pixels[0], trunks[0])
        sizes = [t.shape[0] * t.shape[1] * t.shape[2] for t in tokens]
        student = [
            part.reshape(*crop.shape[:2], *t.shape[1:3], -1)
            for part, crop, t in zip(flat.split(sizes), crops, tokens, strict=True)
        ]
        outer, grid = global_crops.shape[:2], features.tokens.shape[1:3]
        return Outputs(
            student_global=student[0],
            student_local=student[1] if len(student) > 1 else None,
            teacher_scores=scores.reshape(*outer, *grid, -1),
            teacher_embeddings=embeddings.reshape(*outer, grid[0] * grid[1], -1),
            foreground=foreground.reshape(*outer, *grid),
            tokens=tokens[0].reshape(*outer, *grid, -1),
            teacher_tokens=features.tokens.reshape(*outer, *grid, -1),
            start_tokens=None if start is None else start.reshape(*outer, *grid, -1),
        )

    def _student_hidden(self, pixels: Tensor, trunk: Hidden | None) -> Hidden:
        return self.backbone.begin(pixels) if trunk is None else trunk

    def _targets(self, pixels: Tensor, trunks: list[Hidden | None]) -> tuple[Any, Tensor, Tensor]:
        """Features, embeddings and scores of the large crops by the network that gives the targets."""
        backbone: Any = self.backbone if self.teacher is None else self.teacher["backbone"]
        hidden = trunks[0] if trunks[0] is not None else backbone.begin(pixels)
        features = backbone.finish(hidden, block=backbone.spec.depth - 1)
        embeddings, scores = self.target_head(features.tokens.flatten(0, 2))
        return features, embeddings, scores

    @torch.no_grad()
    def _normalise_prototypes(self) -> None:
        self.head.normalise_prototypes()
        if self.teacher is not None:
            self.target_head.normalise_prototypes()

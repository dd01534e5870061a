"""Student and teacher: two networks of the same kind, on a trunk of frozen blocks that they share.

Legend: B photos, T large crops, n small crops, G and L tokens along their sides, D channels of a token, E
channels of an embedding, K prototypes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.attention import attention_mask
from leopart.models.backbone import Backbone, Hidden
from leopart.models.heads import DenseHead


@dataclass(frozen=True)
class Outputs:
    """What student and teacher say about a batch."""

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
    """Student's tokens of the large crops, [T, B, G, G, D], detached; for health."""


class TwoNetworks(nn.Module):
    """Both networks, each a backbone and a head; what a forward pass is, subclasses say.

    Args:
        backbone: pretrained; becomes the student.
        head: of the student. Its parameters have `projection_head` or `prototypes` in their names, see
            `parameter_groups`.
        teacher_head: of the teacher; None copies the student's.
        train_blocks: number of last blocks to train; None trains everything. What stays frozen is shared.
        drop_path: largest rate of the student's stochastic depth.
        use_teacher: False: the student gives the targets as well.

    Raises:
        LeopartError: the network is convolutional, or has fewer blocks.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        *,
        teacher_head: nn.Module | None = None,
        train_blocks: int | None = None,
        drop_path: float = 0.0,
        use_teacher: bool = True,
    ) -> None:
        super().__init__()
        depth = check_blocks(backbone, train_blocks)
        self.frozen_blocks = 0 if train_blocks is None else depth - train_blocks
        self.shares_trunk = train_blocks is not None
        self.student = nn.ModuleDict({"backbone": backbone, "head": head})
        self.teacher = None
        if use_teacher:
            teacher_backbone = copy.deepcopy(backbone)
            if self.shares_trunk:
                _share_trunk(backbone.model, teacher_backbone.model, self.frozen_blocks)
            teacher_head = copy.deepcopy(head) if teacher_head is None else teacher_head
            self.teacher = nn.ModuleDict({"backbone": teacher_backbone, "head": teacher_head})
            self.teacher.requires_grad_(False)
        head.requires_grad_(True)
        for name, parameter in backbone.model.named_parameters():
            parameter.requires_grad_(self._is_trained(name))
        _set_drop_path(backbone.model, drop_path, self.frozen_blocks)
        self.train()  # a loaded backbone is in evaluation mode, and Lightning leaves modes as they are

    @property
    def backbone(self) -> Backbone:
        """The student's."""
        return self.student["backbone"]  # type: ignore[return-value]  # a ModuleDict forgets the class

    def train(self, mode: bool = True) -> Self:
        """Training mode for the student alone: the teacher drops no paths."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of a teacher's parameter and the student's that it follows; frozen ones are left out."""
        if self.teacher is None:
            return
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            if theirs.requires_grad:
                yield mine, theirs

    def _trunk(self, pixels: list[Tensor]) -> list[Hidden | None]:
        """What the shared blocks make of each resolution; nothing is shared when everything is trained."""
        if not self.shares_trunk:
            return [None] * len(pixels)
        with torch.no_grad():
            return [self.backbone.begin(part, self.frozen_blocks) for part in pixels]

    def _is_trained(self, name: str) -> bool:
        """Whether the backbone's parameter of this name learns."""
        if not self.shares_trunk:
            return True
        if name.startswith("blocks."):
            return int(name.split(".")[1]) >= self.frozen_blocks
        return name.startswith("norm.")


class StudentTeacher(TwoNetworks):
    """The two of Leopart, with a `DenseHead` each: scores of all crops, and targets of the large ones."""

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
            tokens=tokens[0].detach().reshape(*outer, *grid, -1),
        )

    def _student_hidden(self, pixels: Tensor, trunk: Hidden | None) -> Hidden:
        return self.backbone.begin(pixels) if trunk is None else trunk

    def _targets(self, pixels: Tensor, trunks: list[Hidden | None]) -> tuple[Any, Tensor, Tensor]:
        """Features, embeddings and scores of the large crops by whoever gives the targets."""
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


def check_blocks(backbone: Backbone, train_blocks: int | None) -> int:
    """Number of blocks of a network that can be trained so.

    Raises:
        LeopartError: see `TwoNetworks`.
    """
    if backbone.spec.convolutional:
        message = (
            f"{backbone.name} is a ResNet: training works on vision transformers; choose another backbone"
        )
        raise LeopartError(message)
    depth = backbone.spec.depth
    if train_blocks is not None and not 1 <= train_blocks <= depth:
        raise LeopartError(
            f"--train-blocks must be all or from 1 to the {depth} of {backbone.name}, got {train_blocks}"
        )
    return depth


def _share_trunk(student: Any, teacher: Any, blocks: int) -> None:
    """Let the teacher use the student's own frozen modules and tables."""
    for name, module in student.named_children():
        if name not in ("blocks", "norm"):
            setattr(teacher, name, module)
    for name, parameter in student.named_parameters(recurse=False):
        setattr(teacher, name, parameter)
    for index in range(blocks):
        teacher.blocks[index] = student.blocks[index]


def _set_drop_path(model: Any, rate: float, first: int) -> None:
    """Stochastic depth that rises linearly over all blocks; frozen ones drop nothing.

    Source: DINO's ViT; spec/leopart-facts.md 2.1.
    """
    from timm.layers import DropPath

    last = max(len(model.blocks) - 1, 1)
    for index in range(first, len(model.blocks)):
        for name in ("drop_path1", "drop_path2"):
            setattr(model.blocks[index], name, DropPath(rate * index / last) if rate else nn.Identity())

"""Student and teacher: two networks of the same kind that share a trunk of frozen blocks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, Hidden


class TwoNetworks(nn.Module):
    """Both networks, each a backbone and a head; subclasses define the forward pass.

    Args:
        backbone: pretrained; becomes the student.
        head: of the student. Its parameters have `projection_head` or `prototypes` in their names, see
            `parameter_groups`.
        teacher_head: of the teacher; None copies the student's.
        train_blocks: number of last blocks to train; None trains everything. What stays frozen is shared.
        drop_path: largest rate of the student's stochastic depth.
        use_teacher: False: the student gives the targets as well.
        anchored: keep a copy of the network as it starts, see `start_tokens`.

    Raises:
        LeopartError: the network is no vision transformer of timm, or has fewer blocks.
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
        anchored: bool = False,
    ) -> None:
        super().__init__()
        depth = check_blocks(backbone, train_blocks)
        self.frozen_blocks = 0 if train_blocks is None else depth - train_blocks
        self.shares_trunk = train_blocks is not None
        self.student = nn.ModuleDict({"backbone": backbone, "head": head})
        self.teacher = None
        self.start = self._copy(backbone).requires_grad_(False) if anchored else None
        if use_teacher:
            teacher_backbone = self._copy(backbone)
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
        """Training mode for the student only: teacher and start drop no paths."""
        super().train(mode)
        for fixed in (self.teacher, self.start):
            if fixed is not None:
                fixed.eval()
        return self

    def averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of a teacher's parameter and the student's that it follows; frozen ones are left out."""
        if self.teacher is None:
            return
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            if theirs.requires_grad:
                yield mine, theirs

    @torch.no_grad()
    def start_tokens(self, pixels: Tensor, trunk: Hidden | None) -> Tensor | None:
        """Tokens [B, h, w, D] of normalised crops by the network before training; None where none is kept.

        Args:
            pixels: see `Backbone.encode`.
            trunk: output of the shared blocks for them, if there are any.
        """
        if self.start is None:
            return None
        return self.start.finish_tokens(self.start.begin(pixels) if trunk is None else trunk)

    def _copy(self, backbone: Backbone) -> Backbone:
        """A second network that shares the frozen blocks."""
        copied = copy.deepcopy(backbone)
        if self.shares_trunk:
            _share_trunk(backbone.model, copied.model, self.frozen_blocks)
        return copied

    def _trunk(self, pixels: list[Tensor]) -> list[Hidden | None]:
        """Output of the shared blocks for each resolution; None where nothing is shared."""
        if not self.shares_trunk:
            return [None] * len(pixels)
        with torch.no_grad():
            return [self.backbone.begin(part, self.frozen_blocks) for part in pixels]

    def _is_trained(self, name: str) -> bool:
        """Whether the backbone's parameter of this name is trained."""
        if not self.shares_trunk:
            return True
        if name.startswith("blocks."):
            return int(name.split(".")[1]) >= self.frozen_blocks
        return name.startswith("norm.")


def check_blocks(backbone: Backbone, train_blocks: int | None) -> int:
    """Number of blocks of a network that can be trained so.

    Raises:
        LeopartError: see `TwoNetworks`.
    """
    if not backbone.spec.trainable:
        what = f"{backbone.name} is {backbone.spec.kind}, and only vision transformers are trained"
        raise LeopartError(f"{what}: choose another backbone")
    depth = backbone.spec.depth
    if train_blocks is not None and not 1 <= train_blocks <= depth:
        raise LeopartError(
            f"--train-blocks must be all or from 1 to the {depth} of {backbone.name}, got {train_blocks}"
        )
    return depth


def _share_trunk(student: Any, other: Any, blocks: int) -> None:
    """Let the other network use the student's own frozen modules and tables."""
    for name, module in student.named_children():
        if name not in ("blocks", "norm"):
            setattr(other, name, module)
    for name, parameter in student.named_parameters(recurse=False):
        setattr(other, name, parameter)
    for index in range(blocks):
        other.blocks[index] = student.blocks[index]


def _set_drop_path(model: Any, rate: float, first: int) -> None:
    """Stochastic depth that rises linearly over all blocks; frozen ones drop nothing.

    Source: DINO's ViT in the authors' vit.py.
    """
    from timm.layers import DropPath

    last = max(len(model.blocks) - 1, 1)
    for index in range(first, len(model.blocks)):
        for name in ("drop_path1", "drop_path2"):
            setattr(model.blocks[index], name, DropPath(rate * index / last) if rate else nn.Identity())

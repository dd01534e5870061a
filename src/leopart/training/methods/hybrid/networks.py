"""Student and teacher of the hybrid: one backbone each, with the heads of both methods."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from leopart.models.heads import DenseHead
from leopart.training.methods.densecl.networks import ContrastHead, Embedded, embedded
from leopart.training.methods.leopart.networks import Outputs, StudentTeacher


class BothHeads(nn.Module):
    """The heads of both methods side by side.

    Args:
        clustering: of Leopart's loss.
        contrast: of DenseCL's.
    """

    def __init__(self, clustering: DenseHead, contrast: ContrastHead) -> None:
        super().__init__()
        self.clustering, self.contrast = clustering, contrast


class HybridNetworks(StudentTeacher):
    """Leopart's two networks, with `BothHeads` each; the contrast needs no further pass."""

    @property
    def head(self) -> DenseHead:
        """The student's, of Leopart's loss."""
        return self.student["head"].clustering  # type: ignore[return-value]  # a ModuleDict knows modules

    @property
    def target_head(self) -> DenseHead:
        """See `StudentTeacher`."""
        network = self.student if self.teacher is None else self.teacher
        return network["head"].clustering  # type: ignore[return-value]  # likewise

    def contrast(self, outputs: Outputs, side: int) -> tuple[Embedded, Embedded]:
        """The first large crop as query by the student, the second as key by the teacher.

        Args:
            outputs: of the forward pass.
            side: see `densecl.networks.to_cells`.
        """
        network: Any = self.student if self.teacher is None else self.teacher
        query = _embedded(self.student["head"], outputs.tokens[0], side)
        key = _embedded(network["head"], outputs.teacher_tokens[1], side)
        return query, key


def _embedded(heads: Any, tokens: Tensor, side: int) -> Embedded:
    """The mean of the tokens stands for the crop, as DenseCL published it."""
    return embedded(heads.contrast, tokens, tokens.mean((1, 2)), side)

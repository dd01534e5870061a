"""Settings of neighbour consistency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leopart.settings import Above0, AtLeast0, AtLeast1
from leopart.training.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class NeCoSettings(MethodSettings):
    """Neighbour consistency (--method neco), after NeCo: a token's neighbours must be the teacher's."""

    LEARNER: ClassVar[str] = "leopart.training.methods.neco.learner:NeCoLearner"

    neighbour_references: AtLeast1 = 512
    """Tokens of the batch, drawn anew in each step, to which all cells are compared."""
    neighbour_temperature: Above0 = 0.1
    """Temperature of the student's softmax over the references."""
    neighbour_target_temperature: Above0 = 0.05
    """Temperature of the teacher's; a lower one than the student's keeps tokens from becoming equal."""
    neighbour_bins: AtLeast1 = 7
    """Cells along a side of the grid on which two crops are compared."""
    neighbour_local_crops: AtLeast0 = 2
    """Small crops of each photo, beside two large ones."""

    @property
    def crops(self) -> tuple[int, int]:
        """See `MethodSettings`."""
        return 2, self.neighbour_local_crops

"""Settings of patch-level kernel alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from leopart.settings import AtLeast0
from leopart.training.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class PaKASettings(MethodSettings):
    """Patch-level kernel alignment (--method paka): the similarities within a region must be the teacher's.

    The teacher sees a large crop without changed colours; the student sees another large crop, and small
    ones.
    """

    LEARNER: ClassVar[str] = "leopart.training.methods.paka.learner:PaKALearner"
    UNTOUCHED: ClassVar[int] = 1

    kernel_bins: Annotated[int, Ge(2)] = 7
    """Cells along a side of the grid on which two crops are compared."""
    kernel_local_crops: AtLeast0 = 2
    """Small crops of each photo, beside two large ones."""

    @property
    def crops(self) -> tuple[int, int]:
        """See `MethodSettings`: the first large crop is the teacher's."""
        return 2, self.kernel_local_crops

"""Settings of DenseCL; the defaults are those its authors published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leopart.settings import Above0, AtLeast1, Share
from leopart.training.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class DenseCLSettings(MethodSettings):
    """DenseCL's contrast of two large crops and of their cells (--method densecl), the paper's baseline."""

    LEARNER: ClassVar[str] = "leopart.training.methods.densecl.learner:DenseCLLearner"

    contrast_dense: Share = 0.5
    """Weight of the dense term, 0 to 1; the term of whole crops has the rest."""
    contrast_temperature: Above0 = 0.2
    """Temperature of the softmax over one positive and the queue."""
    contrast_queue: AtLeast1 = 65536
    """Earlier crops whose keys are the negatives. If it holds more than one pass over the photos, a photo is
    contrasted with itself."""
    contrast_out: AtLeast1 = 128
    """Channels of the space in which crops and cells are compared."""
    contrast_grid: AtLeast1 = 7
    """Cells along a side of a crop, at most; tokens are averaged to them."""

    @property
    def crops(self) -> tuple[int, int]:
        """See `MethodSettings`: one crop is the query, the other the key."""
        return 2, 0

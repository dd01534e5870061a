"""Settings of the hybrid; those of its two parts are in their own folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from leopart.settings import Share
from leopart.training.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class HybridSettings(MethodSettings):
    """Leopart's loss and DenseCL's together (--method hybrid). The options of both methods apply too."""

    LEARNER: ClassVar[str] = "leopart.training.methods.hybrid.learner:HybridLearner"
    PARTS: ClassVar[tuple[str, ...]] = ("leopart", "densecl")

    hybrid_contrast: Share = 0.5
    """Weight of DenseCL's loss, 0 to 1; Leopart's loss has the rest."""

"""Settings of the dense clustering loss; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from leopart.errors import LeopartError
from leopart.settings import Above0, AtLeast0, AtLeast1, PositiveShare
from leopart.training.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class LeopartSettings(MethodSettings):
    """Dense clustering (--method leopart): crops must be assigned the same parts where they overlap."""

    LEARNER: ClassVar[str] = "leopart.training.methods.leopart.learner:LeopartLearner"

    global_crops: AtLeast1 = 2
    """Large crops of each photo; the teacher sees only these."""
    local_crops: AtLeast0 = 4
    """Small crops of each photo; the student sees both kinds."""
    prototypes: Annotated[int, Ge(2)] = 300
    """Number K of prototypes."""
    head_out: AtLeast1 = 256
    """Channels of the space in which tokens and prototypes are compared."""
    head_layers: AtLeast0 = 3
    """Linear layers of the projection head; 1 is a plain projection."""
    head_init: Literal["random", "clusters"] = "random"
    """Start of the head: random as in the paper, or principal components and clusters of the photos' tokens,
    for short trainings; clusters needs --head-layers 1."""
    temperature: Above0 = 0.1
    """Temperature of the student's softmax over prototypes."""
    epsilon: Above0 = 0.05
    """Softness of the targets in the Sinkhorn-Knopp iteration; smaller gives harder targets."""
    sinkhorn_iterations: AtLeast1 = 3
    """Rounds of the Sinkhorn-Knopp iteration."""
    queue: AtLeast0 = 8192
    """Earlier teacher embeddings of each large crop that help to balance the targets; 0 for none."""
    loss_mask: Literal["fg", "bg", "all"] = "fg"
    """Cells that count: where the teacher's attention lies (fg), elsewhere (bg), or all."""
    attention_kept: PositiveShare = 0.6
    """Share of the attention's mass that makes the foreground."""
    roi_bins: AtLeast1 = 7
    """Cells along a side of the grid on which two crops are compared."""

    @property
    def crops(self) -> tuple[int, int]:
        """See `MethodSettings`."""
        return self.global_crops, self.local_crops

    def check(self) -> None:
        """See `MethodSettings`."""
        if self.head_init == "clusters" and self.head_layers > 1:
            raise LeopartError("--head-init clusters sets one linear layer: give --head-layers 1 with it")
        if sum(self.crops) < 2:
            raise LeopartError("one crop has no other to agree with: raise --global-crops or --local-crops")

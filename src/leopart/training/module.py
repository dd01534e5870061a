"""Lightning's view of training: when to do what. What is done stands in `methods` and `optimisation`."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from leopart.training.methods.learner import Learner, StepResult
from leopart.training.optimisation import build_optimizer, cosine, ema_update, set_schedules
from leopart.training.stream import TrainBatch


class LeopartModule(pl.LightningModule):
    """Trains a `Learner`.

    Args:
        learner: networks, and whatever else the method remembers.
        total_steps: optimiser steps of the whole run, which the schedules span.
        diagnose_every: steps between diagnostics.

    Attributes:
        last: the latest step's loss and diagnostics, for callbacks.
    """

    def __init__(self, learner: Learner, total_steps: int, diagnose_every: int = 10) -> None:
        super().__init__()
        self.learner, self.total_steps, self.diagnose_every = learner, total_steps, diagnose_every
        self.last: StepResult | None = None

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Loss of one batch, divided where several make up a step."""
        diagnose = self.global_step % self.diagnose_every == 0 or self.global_step + 1 == self.total_steps
        result: StepResult = self.learner(batch.views, batch_idx, diagnose=diagnose)
        self.last = StepResult(result.loss.detach(), result.diagnostics)
        return result.loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over four groups: backbone and head, with and without weight decay."""
        return build_optimizer(self.learner.networks.student)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Schedules of this step; the authors' code moves the teacher here."""
        set_schedules(optimizer, self.learner.recipe, self.global_step, self.total_steps)
        if self.learner.recipe.reference == "code":
            self._move_teacher(self.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Move the student, then the teacher after it: before any callback can save the two."""
        step = self.global_step
        super().optimizer_step(*args, **kwargs)
        if self.learner.recipe.reference == "paper":
            self._move_teacher(step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The number of steps may have been found while training."""
        checkpoint["total_steps"] = self.total_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `on_save_checkpoint`."""
        self.total_steps = checkpoint["total_steps"]

    def _move_teacher(self, step: int) -> None:
        recipe, pairs = self.learner.recipe, list(self.learner.networks.averaged())
        if pairs:
            teacher, student = zip(*pairs, strict=True)
            momentum = cosine(recipe.momentum, recipe.momentum_end, step, self.total_steps)
            ema_update(teacher, student, momentum)

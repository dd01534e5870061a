"""Lightning's view of training: when to do what. What is done stands in `objective` and `optimisation`."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from leopart.recipe import Recipe
from leopart.training.data import TrainBatch
from leopart.training.objective import Objective, StepResult
from leopart.training.optimisation import ema_update, parameter_groups
from leopart.training.schedules import cosine


class LeopartModule(pl.LightningModule):
    """Trains an `Objective`.

    Args:
        learner: networks, and what else the loss remembers.
        total_steps: optimiser steps of the whole run, which the schedules span.
        watch_every: health is measured every so many steps.

    Attributes:
        last: the latest step's loss and health, for callbacks.
    """

    def __init__(self, learner: Objective, total_steps: int, watch_every: int = 10) -> None:
        super().__init__()
        self.learner, self.total_steps, self.watch_every = learner, total_steps, watch_every
        self.last: StepResult | None = None

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Loss of one batch, divided where several make up a step."""
        watch = self.global_step % self.watch_every == 0 or self.global_step + 1 == self.total_steps
        result: StepResult = self.learner(batch.views, batch_idx, watch=watch)
        self.last = StepResult(result.loss.detach(), result.health)
        return result.loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over four groups: backbone and head, with and without weight decay."""
        return build_optimizer(self.learner.networks.student, self.learner.recipe)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Schedules of this step; the authors' order moves the teacher here."""
        set_schedules(optimizer, self.learner.recipe, self.global_step, self.total_steps)
        if self.learner.recipe.ema_order == "before":
            self._move_teacher(self.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Move the student, then the teacher after it: before any callback can save the two."""
        step = self.global_step
        super().optimizer_step(*args, **kwargs)
        if self.learner.recipe.ema_order == "after":
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


def build_optimizer(student: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Optimiser with one group each for what `parameter_groups` tells apart, without frozen parameters."""
    named = {name: p for name, p in student.named_parameters() if p.requires_grad}
    groups = [
        {"params": [named[name] for name in names], "name": group, "lr": 0.0, "weight_decay": 0.0}
        for group, names in parameter_groups(named.items()).items()
        if names
    ]
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, betas=(0.9, 0.999), eps=1e-8)


def set_schedules(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, total: int) -> None:
    """Learning rate and weight decay of step `step`, from 0, of `total`.

    Source: Leopart, CVPR 2022, supplement; spec/leopart-facts.md 4. The warm-up is ours and off by default.
    """
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    decay = cosine(recipe.weight_decay, recipe.weight_decay_end, step, total)
    for group in optimizer.param_groups:
        start = recipe.lr_head if group["name"].startswith("head") else recipe.lr
        group["lr"] = warm * cosine(start, recipe.lr_end, step, total)
        group["weight_decay"] = 0.0 if group["name"].endswith("undecayed") else decay

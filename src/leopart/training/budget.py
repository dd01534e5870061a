"""A time limit for a training: the number of steps follows from the measured speed, and it may end early."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl

from leopart.training.module import LeopartModule


class Budget(pl.Callback):
    """Fits a run into a time: measures its speed, sets the number of steps, and may end it early.

    Early: student and teacher are compared every few steps (the share of tokens whose best prototype is the
    same). If the last third of the comparisons is no better than the third before, the learning rates fall to
    their end within a tenth of the steps done, and the run ends.

    Args:
        limit: seconds for all.
        spent: seconds used before, by a run that was interrupted.

    Attributes:
        seconds: used so far, `spent` included.
        stopped_early: whether the run was ended early.
    """

    #: Steps whose speed is measured, after one that warms up.
    MEASURED = 6
    #: At least so many steps are done, whatever the time.
    FEWEST = 20
    #: Comparisons that a third must have before the run may end early.
    PATIENCE = 8

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit, self.spent = limit, spent
        self.planned = self.stopped_early = False
        self.agreements: list[float] = []
        self._begun = self._warm = time.perf_counter()
        self._done = 0

    @property
    def seconds(self) -> float:
        """Used so far."""
        return self.spent + time.perf_counter() - self._begun

    def state_dict(self) -> dict[str, Any]:
        """What a continued run has to know."""
        return {
            "planned": self.planned,
            "stopped_early": self.stopped_early,
            "agreements": list(self.agreements),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.planned, self.stopped_early = state_dict["planned"], state_dict["stopped_early"]
        self.agreements = list(state_dict["agreements"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock runs; a continued run keeps its number of steps."""
        self._begun = time.perf_counter()
        if self.planned:
            self._plan(trainer, pl_module, _module(pl_module).total_steps)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, plan, and check whether it still improves."""
        del outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        module, now = _module(pl_module), time.perf_counter()
        self._done += 1
        if self._done == 1:
            self._warm = now
        elif not self.planned and trainer.global_step > self.MEASURED:
            step = (now - self._warm) / (self._done - 1)
            left = max(0.0, self.limit - self.seconds)
            self._plan(trainer, module, max(self.FEWEST, trainer.global_step + int(left / step)))
        if module.last is not None and "agreement" in module.last.diagnostics and not self.stopped_early:
            self.agreements.append(float(module.last.diagnostics["agreement"]))
            if self._is_settled():
                self.stopped_early = True
                self._plan(trainer, module, trainer.global_step + max(1, trainer.global_step // 10))

    def _is_settled(self) -> bool:
        third = len(self.agreements) // 3
        if third < self.PATIENCE:
            return False
        before, now = self.agreements[-2 * third : -third], self.agreements[-third:]
        return sum(now) <= sum(before)

    def _plan(self, trainer: pl.Trainer, pl_module: pl.LightningModule, steps: int) -> None:
        """The run and its schedules end after `steps`, or where they would have anyway."""
        module = _module(pl_module)
        self.planned = True
        module.total_steps = min(steps, module.total_steps)
        trainer.fit_loop.epoch_loop.max_steps = module.total_steps


def _module(pl_module: pl.LightningModule) -> LeopartModule:
    assert isinstance(pl_module, LeopartModule)  # noqa: S101 - narrows the type
    return pl_module

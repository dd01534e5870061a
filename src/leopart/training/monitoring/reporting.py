"""Reports of a run while it trains: rates, loss and diagnostics, and the photos that failed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from leopart.training.loading import StreamLoader
from leopart.training.module import LeopartModule
from leopart.training.monitoring.loggers import Loggers
from leopart.training.monitoring.progress import ProgressCallback, StepReport
from leopart.training.stream import PhotoFailure, TrainBatch


@dataclass
class Clock:
    """Measures rates since the last report.

    Attributes:
        images: photos since then.
        since: when that was, in seconds.
        waited: seconds without a batch, until then.
    """

    images: int = 0
    since: float = field(default_factory=time.perf_counter)
    waited: float = 0.0

    def read(self, waited: float) -> tuple[float, float]:
        """Images per second and share of waiting since the last reading; then starts again.

        Args:
            waited: seconds without a batch so far, as `StreamLoader` counts them.
        """
        now = time.perf_counter()
        spent = max(now - self.since, 1e-9)
        rates = self.images / spent, min(1.0, (waited - self.waited) / spent)
        self.images, self.since, self.waited = 0, now, waited
        return rates


class Reporting(pl.Callback):
    """Measures rates, collects figures, and passes them to loggers and progress callback.

    Every process has one, since figures are means over all; only the first logs and shows them.

    Args:
        progress: see `ProgressCallback`.
        loggers: see `Loggers`.
        batch: photos of an optimiser step, all devices together.
        epoch: steps of a pass over the photos, to count epochs.

    Attributes:
        failures: photos that could not be read, each once, by name; part of a checkpoint.
    """

    def __init__(self, progress: ProgressCallback, loggers: Loggers, batch: int, epoch: int) -> None:
        self.progress, self.loggers, self.batch, self.epoch = progress, loggers, batch, epoch
        self.clock = Clock()
        self.failures: dict[str, PhotoFailure] = {}

    def state_dict(self) -> dict[str, Any]:
        """The photos that could not be read so far."""
        return {"failures": [list(failure) for failure in self.failures.values()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """They were named when they were found."""
        found = [PhotoFailure(*failure) for failure in state_dict["failures"]]
        self.failures = {failure.name: failure for failure in found}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock runs from here."""
        del trainer, pl_module
        self.clock = Clock()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: TrainBatch, batch_idx: int
    ) -> None:
        """Name photos that failed."""
        del trainer, pl_module, batch_idx
        self._name(batch.failures)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: TrainBatch,
        batch_idx: int,
    ) -> None:
        """Report a step whose diagnostics were measured."""
        del outputs
        assert isinstance(pl_module, LeopartModule)  # noqa: S101 - narrows the type
        self.clock.images += batch.views.gc.shape[0] * trainer.world_size
        result = pl_module.last
        if result is None or not result.diagnostics or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        figures = _means(trainer, {"loss": result.loss, **result.diagnostics})
        self._report(trainer, pl_module.total_steps, figures)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Photos that other processes could not read are named too."""
        del pl_module
        if trainer.world_size > 1:
            found: list[list[PhotoFailure]] = [[]] * trainer.world_size
            torch.distributed.all_gather_object(found, list(self.failures.values()))
            for failures in found:
                self._name(failures)

    @staticmethod
    def waited(trainer: pl.Trainer) -> float:
        """Seconds that the network has waited for photos so far."""
        loader = trainer.train_dataloader
        return loader.waited if isinstance(loader, StreamLoader) else 0.0

    def _name(self, failures: Iterable[PhotoFailure]) -> None:
        for failure in failures:
            if failure.name not in self.failures:
                self.failures[failure.name] = failure
                self.progress.note(f"left out: {failure.reason}")

    def _report(self, trainer: pl.Trainer, total: int, figures: dict[str, float]) -> None:
        step = trainer.global_step
        rate, waited = self.clock.read(self.waited(trainer))
        left = max(0, total - step) * self.batch / rate if rate > 0 else math.inf
        self.progress.report(StepReport(step, total, rate, waited, left, figures))
        more = {
            "epoch": step / self.epoch,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "images_per_second": rate,
            "data_wait": waited,
        }
        self.loggers.figures(step, figures | more)


def _means(trainer: pl.Trainer, figures: dict[str, Tensor]) -> dict[str, float]:
    """Numbers by name, the mean over processes; here, and nowhere between, the host waits for the device."""
    values = torch.stack([value.float() for value in figures.values()])
    if trainer.world_size > 1:
        values = trainer.strategy.reduce(values, reduce_op="mean")
    return dict(zip(figures, values.tolist(), strict=True))

"""What a run tells while it trains: figures for people, JSON lines and TensorBoard for programs."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.errors import LeopartError
from leopart.files import append_text, write_text, writing
from leopart.training.data import PhotoFailure, StreamLoader, TrainBatch
from leopart.training.module import LeopartModule

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, _BOARD = "metrics.jsonl", "tensorboard"


@dataclass(frozen=True)
class Report:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        total: optimiser steps in all.
        images_per_second: over the steps since the last report, all devices together.
        data_wait: share of that time, in [0, 1], in which the network waited for photos.
        seconds_left: at this rate.
        figures: loss and health by name.
    """

    step: int
    total: int
    images_per_second: float
    data_wait: float
    seconds_left: float
    figures: dict[str, float]


class Watcher(Protocol):
    """Somebody who is told about a run."""

    def report(self, report: Report) -> None:
        """Every few steps."""

    def note(self, text: str) -> None:
        """A sentence: a photo that cannot be read, a validation score."""


class NoWatcher:
    """Nobody."""

    def report(self, report: Report) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


nobody = NoWatcher()
"""Takes everything and shows nothing."""


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, with `step`.

    Lines of steps beyond `start`, which a run that resumes will do again, are dropped.

    Args:
        path: the file.
        start: steps done before.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        kept = [line for line in _lines(path) if start and _step_of(line, path) <= start]
        write_text(path, "".join(f"{line}\n" for line in kept))

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append a line."""
        line = {"step": step, **{name: _short(value) for name, value in figures.items()}}
        append_text(self.path, json.dumps(line) + "\n")


def _lines(path: Path) -> list[str]:
    """Whole lines of a file that may have been cut short; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_text("utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _step_of(line: str, path: Path) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        message = f"{path} has a line that is no JSON object with a step: {line[:60]!r}; remove the line"
        raise LeopartError(message) from error


def _short(value: float) -> float:
    return float(f"{value:.6g}")


@dataclass
class Loggers:
    """Where figures and pictures of a run go.

    Attributes:
        file: see `MetricsFile`; None on all processes but the first, and where nothing is kept.
        board: TensorBoard.
        wandb: a run of Weights & Biases, where it was asked for.
    """

    file: MetricsFile | None = None
    board: SummaryWriter | None = None
    wandb: Any = None

    @classmethod
    def open(cls, run: Path, start: int, wandb_project: str | None = None) -> Loggers:
        """Loggers of a run folder that go on after step `start`.

        Raises:
            LeopartError: Weights & Biases was asked for and is not installed.
        """
        from torch.utils.tensorboard import SummaryWriter

        project = None if wandb_project is None else _open_wandb(run, wandb_project)
        # Events of steps that will be done again are taken out.
        with writing(run / _BOARD):
            board = SummaryWriter(str(run / _BOARD), purge_step=start + 1 if start else 0)
        return cls(MetricsFile(run / METRICS, start), board, project)

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Write scalars."""
        if self.file is not None:
            self.file.write(step, figures)
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                for name, value in figures.items():
                    self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(figures, step=step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Show an RGB picture [H, W, 3] in TensorBoard."""
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                self.board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Flush everything."""
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _open_wandb(run: Path, project: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise LeopartError("--wandb needs a package: run `pip install wandb`, or leave it out") from error
    place = hashlib.sha256(str(run.resolve()).encode()).hexdigest()  # a run that resumes goes on there too
    return wandb.init(project=project, dir=str(run), name=run.name, id=place[:16], resume="allow")


@dataclass
class Clock:
    """Rates since the last report.

    Attributes:
        images: photos since then.
        since: when that was, in seconds.
        waited: seconds without a batch, until then.
    """

    images: int = 0
    since: float = field(default_factory=time.perf_counter)
    waited: float = 0.0

    def read(self, waited: float) -> tuple[float, float]:
        """Images per second and share of waiting since the last reading; starts anew.

        Args:
            waited: seconds without a batch so far, as `StreamLoader` counts them.
        """
        now = time.perf_counter()
        spent = max(now - self.since, 1e-9)
        rates = self.images / spent, min(1.0, (waited - self.waited) / spent)
        self.images, self.since, self.waited = 0, now, waited
        return rates


class Reporting(pl.Callback):
    """Measures rates, collects figures, and tells loggers and watcher.

    Every process has one, since figures are means over all; only the first has loggers and a watcher.

    Args:
        watcher: see `Watcher`.
        loggers: see `Loggers`.
        batch: photos of an optimiser step, all devices together.
        epoch: steps of a pass over the photos, to tell epochs.

    Attributes:
        failures: photos that could not be read, each once, by name; part of a checkpoint.
    """

    def __init__(self, watcher: Watcher, loggers: Loggers, batch: int, epoch: int) -> None:
        self.watcher, self.loggers, self.batch, self.epoch = watcher, loggers, batch, epoch
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
        """Report once a step that was watched is done."""
        del outputs
        assert isinstance(pl_module, LeopartModule)  # noqa: S101 - narrows the type
        self.clock.images += batch.views.gc.shape[0] * trainer.world_size
        result = pl_module.last
        if result is None or not result.health or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        figures = _means(trainer, {"loss": result.loss, **result.health})
        self._tell(trainer, pl_module.total_steps, figures)

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
                self.watcher.note(f"left out: {failure.reason}")

    def _tell(self, trainer: pl.Trainer, total: int, figures: dict[str, float]) -> None:
        step = trainer.global_step
        rate, waited = self.clock.read(self.waited(trainer))
        left = max(0, total - step) * self.batch / rate if rate > 0 else math.inf
        self.watcher.report(Report(step, total, rate, waited, left, figures))
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

"""The ways in which a run is asked to end early, and ends between two steps without losing anything."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from leopart.errors import LeopartError, interruption
from leopart.training.loading import StreamLoader

#: Seconds that a signal leaves to the photos of the step under way.
_GRACE = 20.0


class Stop(pl.Callback):
    """Ends a run between two steps, when a signal asks for it or a given step is reached.

    SIGINT, SIGTERM and, under SLURM, SIGUSR1 (`#SBATCH --signal=SIGUSR1@90`) let the step finish;
    `Checkpoints`, which comes after this callback, then saves. SIGUSR1 also puts the job back into SLURM's
    queue. A second SIGINT ends at once.

    Args:
        at: step to stop at, as an interruption would; None: no such step.
        every: steps between exchanges with the other processes, which may have got a signal.

    Attributes:
        signal: the signal that came, or None.
        since: when it came, by the monotonic clock.
    """

    def __init__(self, at: int | None = None, every: int = 10) -> None:
        self.at, self.every = at, every
        self.signal: signal.Signals | None = None
        self.since = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen; Python receives signals in the main thread only. Lightning restores the handlers."""
        del pl_module
        self._decide(trainer, asked=False)
        if isinstance(trainer.train_dataloader, StreamLoader):
            trainer.train_dataloader.while_waiting = self._give_up
        if threading.current_thread() is not threading.main_thread():
            return
        heard = [signal.SIGINT, signal.SIGTERM]
        if "SLURM_JOB_ID" in os.environ:
            heard.append(signal.SIGUSR1)
        for number in heard:
            signal.signal(number, self._hear)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Decide, the same on every process."""
        del pl_module, outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        asked = self.signal is not None
        if trainer.world_size > 1:
            due = trainer.global_step % self.every == 0
            asked = due and trainer.strategy.reduce_boolean_decision(asked, all=False)
        self._decide(trainer, asked=asked)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """End the processes that Lightning has started: they would wait for this one."""
        del pl_module, exception
        kill = getattr(trainer.strategy.launcher, "kill", None)
        if kill is not None:
            kill(signal.SIGKILL)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the job back to SLURM if it asked for that."""
        del pl_module, stage
        is_done = trainer.global_step >= trainer.max_steps
        if self.signal == signal.SIGUSR1 and trainer.is_global_zero and not is_done:
            requeue()

    def _decide(self, trainer: pl.Trainer, *, asked: bool) -> None:
        if asked or (self.at is not None and trainer.global_step >= self.at):
            trainer.should_stop = True

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal, self.since = signal.Signals(number), time.monotonic()

    def _give_up(self) -> None:
        """End at once where the photos of the step under way do not come."""
        if self.signal is not None and time.monotonic() - self.since > _GRACE:
            raise interruption(self.signal)


def requeue() -> None:
    """Put this SLURM job back into the queue; started again, it resumes.

    Raises:
        LeopartError: SLURM does not take it.
    """
    job = os.environ["SLURM_JOB_ID"]
    if (array := os.environ.get("SLURM_ARRAY_JOB_ID")) is not None:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        words = ["scontrol", "requeue", job]
        done = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603
        said = done.stderr.strip() if done.returncode else None
    except OSError as error:
        said = f"scontrol: {error.strerror}"
    if said is not None:
        message = f"the state is saved, but SLURM did not take job {job} back ({said}): submit it again"
        raise LeopartError(message)

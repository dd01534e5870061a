"""Checkpoints of a run, written so that an interruption never loses the previous one.

RUN/checkpoints/last.ckpt            the newest; a run resumes from it, to the bit on the same machine
               step-0000500.ckpt     kept for good, every N epochs
               failed.ckpt           state at which the loss became NaN or infinite

A checkpoint is written aside and renamed: a run that is killed while writing keeps the previous one. It holds
student, teacher, prototypes, queue, optimiser, step and place in the stream of photos. Random numbers are not
part of it: they follow from seed and step.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from leopart.errors import LeopartError
from leopart.files import whole_file

FOLDER = "checkpoints"
LAST = "last.ckpt"


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """A checkpoint's tensors and plain values, on the CPU; no code from the file is run.

    Args:
        path: the file.
        mmap: leave the tensors on disk until they are used.

    Raises:
        LeopartError: the file was cut short or is no checkpoint of ours.
    """
    try:
        content: dict[str, Any] = dict(torch.load(path, map_location="cpu", weights_only=True, mmap=mmap))
        content["global_step"], content["state_dict"]
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        advice = "put another checkpoint of that folder in its place, or begin another run"
        raise LeopartError(f"{path} cannot be read ({said}): {advice}") from error
    return content


class WholeFileIO(CheckpointIO):
    """Reads and writes checkpoints as whole files, without running code from them."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write aside, then rename."""
        del storage_options
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`."""
        del map_location, weights_only
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(pl.Callback):
    """Saves the newest state every so many steps and at the end, and keeps one every so many.

    Has to come after every callback that writes down what a step has done, or ends the run.

    Args:
        run: folder of the run.
        every: steps between writings of `last.ckpt`.
        keep_every: steps between checkpoints that are kept; None keeps none.
        export: called on the first process after each writing, or at the end if there was none: writes the
            backbone.
    """

    def __init__(
        self, run: Path, every: int, keep_every: int | None, export: Callable[[], None] | None = None
    ) -> None:
        self.folder, self.every, self.keep_every, self.export = run / FOLDER, every, keep_every, export
        self.saved = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is due, between two optimiser steps.

        Raises:
            LeopartError: weights are NaN or infinite; `last.ckpt` is left as it was.
        """
        del outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        step = trainer.global_step
        keep = self.keep_every is not None and step % self.keep_every == 0
        if not (keep or step % self.every == 0 or trainer.should_stop or step >= trainer.max_steps):
            return
        # A finite loss can have an infinite gradient, and on an accelerator not every loss is checked.
        if not all(bool(torch.isfinite(parameter).all()) for parameter in pl_module.parameters()):
            end_as_failed(trainer, self.folder, "weights are not finite")
        if keep:
            trainer.save_checkpoint(self.folder / f"step-{step:07d}.ckpt")
        trainer.save_checkpoint(self.folder / LAST)
        self.saved = True
        if self.export is not None and trainer.is_global_zero:
            self.export()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that resumed where it ends did no step; it may have been killed before its last export."""
        del pl_module
        if not self.saved and self.export is not None and trainer.is_global_zero:
            self.export()


class NonFinite(pl.Callback):
    """Ends a run whose loss is NaN or infinite, before that reaches the weights.

    On the CPU every step is checked. On an accelerator a check waits for the device, so only the steps that
    are reported are checked.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor
    ) -> None:
        """Check, and save the state if the loss is not finite.

        Raises:
            LeopartError: the loss is not finite.
        """
        if loss.device.type != "cpu" and not self._is_reported(pl_module):
            return
        finite = bool(torch.isfinite(loss))
        if trainer.world_size > 1:
            finite = trainer.strategy.reduce_boolean_decision(finite, all=True)
        if not finite:
            end_as_failed(trainer, self.folder, "the loss is not finite")

    @staticmethod
    def _is_reported(pl_module: pl.LightningModule) -> bool:
        last = getattr(pl_module, "last", None)
        return last is not None and bool(last.diagnostics)


def end_as_failed(trainer: pl.Trainer, folder: Path, what: str) -> NoReturn:
    """Save the state beside the last good one, for inspection, and end the run.

    Raises:
        LeopartError: always.
    """
    path = folder / "failed.ckpt"
    trainer.save_checkpoint(path)
    message = (
        f"{what} at step {trainer.global_step}: begin another run with a lower --lr and --lr-head, or with "
        f"--precision fp32 (the state is in {path}; an earlier {LAST} stays as it was)"
    )
    raise LeopartError(message)

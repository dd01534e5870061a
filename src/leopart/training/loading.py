"""Batches for a training: loaded by processes on the CPU, or made on the device if the CPU is too slow."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from leopart.data.decoding import decode_photos
from leopart.data.photos import Photo
from leopart.data.views import DeviceViewMaker, ViewMaker
from leopart.errors import LeopartError, PhotoError
from leopart.training.stream import (
    PhotoFailure,
    Positions,
    Stream,
    TrainBatch,
    Unreadable,
    ViewDataset,
    collate,
)

#: Seconds between two looks at whether a batch has come, and after which none is expected any more.
_LOOK, _PATIENCE = 2, 1800.0


class PositionBatch(NamedTuple):
    """Places in the stream, where the views are made on the device."""

    positions: list[int]


class StreamLoader(DataLoader[Any]):
    """A loader that begins at any batch; Lightning calls `load_state_dict` when a run resumes.

    Args:
        dataset: see `ViewDataset`.
        positions: see `Positions`.
        workers: processes that make views ahead; 0 makes them in between.
        pin: whether batches come in page-locked memory.
        on_device: leave the views to the device: batches are `PositionBatch`, and there are no workers.

    Attributes:
        taken: batches of the run that have been taken, including those before its start.
        waited: seconds that the training has waited for batches.
        while_waiting: called every few seconds in which no batch has come; may raise.
    """

    def __init__(
        self,
        dataset: ViewDataset,
        positions: Positions,
        *,
        workers: int = 0,
        pin: bool = False,
        on_device: bool = False,
    ) -> None:
        workers = 0 if on_device else workers
        super().__init__(
            range(2**62) if on_device else dataset,  # type: ignore[arg-type]  # item p of a range is p
            batch_sampler=positions,
            num_workers=workers,
            pin_memory=pin and not on_device,
            collate_fn=PositionBatch if on_device else collate,
            prefetch_factor=2 if workers else None,
            worker_init_fn=outlive_signals if workers else None,
            timeout=_LOOK if workers else 0,
        )
        self.positions = positions
        self.while_waiting: Callable[[], None] = lambda: None
        self.taken, self.waited = 0, 0.0

    def __iter__(self) -> Iterator[TrainBatch | PositionBatch]:  # type: ignore[override]
        """Batches from `positions.start` on.

        Raises:
            LeopartError: not one photo can be read.
        """
        self.taken = self.positions.start
        asked = time.perf_counter()
        for batch in self._patient(super().__iter__()):
            if isinstance(batch, Unreadable):
                raise LeopartError(batch.message)
            self.taken += 1
            self.waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def _patient(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches; one that does not come ends the run, as nobody can say when it would."""
        quiet_since = time.monotonic()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "timed out" not in str(error):  # a loading process has died
                    raise
                self.while_waiting()
                if time.monotonic() - quiet_since > _PATIENCE:
                    what = f"the loading processes have given no photos for {_PATIENCE / 60:.0f} minutes"
                    advice = "check that their disk answers, or give --workers 0"
                    raise LeopartError(f"{what}: {advice}") from error
            else:
                yield batch
                quiet_since = time.monotonic()

    def state_dict(self) -> dict[str, int]:
        """How many batches of the run have been taken."""
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin after the batches that were taken."""
        self.positions.start = state["taken"]


class StreamData(pl.LightningDataModule):
    """The stream, shared out to the processes of a run.

    Args:
        photos: at least one.
        stream: of all processes together.
        maker: makes the views.
        steps: optimiser steps of the whole run.
        parts: batches that a step is divided into.
        workers: loading processes of each process.
        on_device: make the views on the device instead.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        stream: Stream,
        maker: ViewMaker,
        *,
        steps: int,
        parts: int = 1,
        workers: int = 0,
        on_device: bool = False,
    ) -> None:
        super().__init__()
        self.dataset = ViewDataset(photos, stream, maker)
        self.steps, self.parts, self.workers, self.on_device = steps, parts, workers, on_device

    def train_dataloader(self) -> StreamLoader:
        """The share of this process."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        positions = Positions(self.dataset.stream, self.steps, self.parts, rank, world)
        cuda = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return StreamLoader(self.dataset, positions, workers=self.workers, pin=cuda, on_device=self.on_device)

    def transfer_batch_to_device(
        self, batch: TrainBatch | PositionBatch, device: torch.device, dataloader_idx: int
    ) -> TrainBatch:
        """Copy in the background, or make the views there."""
        del dataloader_idx
        if isinstance(batch, PositionBatch):
            return views_on(device, self.dataset, batch.positions)
        return batch.to(device, non_blocking=True)


def outlive_signals(worker: int) -> None:
    """Keep a loading process alive when its whole group is told to stop: the current step needs its photos.

    Ctrl-C reaches all processes of a terminal, SLURM's signals all of a job. The training ends its loaders
    itself. A second SIGTERM does end one, so that none can stay behind.
    """
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def views_on(device: torch.device, dataset: ViewDataset, positions: Sequence[int]) -> TrainBatch:
    """The batch that `ViewDataset` makes on the CPU, with crops, colours and blur from the device.

    Args:
        device: see `DeviceViewMaker`.
        dataset: photos, stream and settings.
        positions: of the stream.

    Raises:
        LeopartError: not one photo can be read.
    """
    maker = DeviceViewMaker(dataset.maker.crops, dataset.maker.augment, device)
    indices = [dataset.stream.photo_at(position) for position in positions]
    failures: list[PhotoFailure] = []
    try:
        views = maker(*_asked(dataset, indices, positions))
    except PhotoError:  # it does not say which one, so each is tried; nothing has been drawn yet
        indices = [_readable(device, dataset, position, failures) for position in positions]
        views = maker(*_asked(dataset, indices, positions))
    return TrainBatch(views, tuple(failures))


def _asked(
    dataset: ViewDataset, indices: list[int], positions: Sequence[int]
) -> tuple[list[Path], list[np.random.Generator], list[int]]:
    generators = [dataset.stream.generator_at(position) for position in positions]
    return [dataset.photos[index].path for index in indices], generators, indices


def _readable(device: torch.device, dataset: ViewDataset, position: int, failures: list[PhotoFailure]) -> int:
    """Index of the first candidate for a position that can be decoded; what cannot goes to `failures`."""
    for index in dataset.candidates(position):
        photo = dataset.photos[index]
        try:
            decode_photos([photo.path], device)
        except PhotoError as error:
            failures.append(PhotoFailure(photo.name, str(error)))
        else:
            return index
    raise LeopartError(dataset.nothing_left(failures))

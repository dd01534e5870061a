"""Photos as a stream of batches: any position of it can be made on its own, so a run resumes exactly.

The stream is one permutation of the photos after another. Which photo stands at a position, and the random
numbers of its crops, follow from the seed and the position alone: not from workers, processes or what went
before.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from leopart.data.photos import Photo
from leopart.data.views import ViewBatch, ViewMaker, Views, collate_views
from leopart.errors import LeopartError, PhotoError

#: Seconds between two looks at whether a batch has come, and after which none is expected any more.
_LOOK, _PATIENCE = 2, 1800.0


@dataclass(frozen=True)
class Stream:
    """Which photo stands where.

    Attributes:
        photos: number of photos.
        batch: photos of an optimiser step over all processes, at most `photos`.
        seed: of the permutations.
    """

    photos: int
    batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in one pass; what is left over takes its turn in another permutation."""
        return self.photos // self.batch

    def photo_at(self, position: int) -> int:
        """Index of the photo at a position, 0-based, of the endless stream."""
        epoch, place = divmod(position, self.steps_per_epoch * self.batch)
        return int(_permutation(self.photos, self.seed, epoch)[place])

    def generator_at(self, position: int) -> np.random.Generator:
        """Random numbers of the crops and colours at a position."""
        return np.random.default_rng((self.seed, 2, position))


@lru_cache(maxsize=2)
def _permutation(photos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, 1, epoch)).permutation(photos)


class PhotoFailure(NamedTuple):
    """A photo that could not be read, and was replaced by another one.

    No dataclass: Lightning looks for tensors in batches, and takes dataclasses for places to put new ones.
    """

    name: str
    reason: str


@dataclass
class TrainBatch:
    """Views of a batch, and what could not be read on the way."""

    views: ViewBatch
    failures: tuple[PhotoFailure, ...] = ()

    def pin_memory(self) -> TrainBatch:
        """In page-locked memory, from which a GPU copies in the background."""
        return replace(self, views=self.views.pin_memory())

    def to(self, device: torch.device, non_blocking: bool = False) -> TrainBatch:
        """On `device`."""
        return replace(self, views=self.views.to(device, non_blocking=non_blocking))


class PositionBatch(NamedTuple):
    """Places in the stream, where the views are made on the device."""

    positions: list[int]


@dataclass(frozen=True)
class Unreadable:
    """In place of a batch: not one photo can be read. An exception would lose its type between processes."""

    message: str


Sample = tuple[int, Views, tuple[PhotoFailure, ...]]
"""Index of the photo, its views, and the photos in whose place it stands."""


class ViewDataset(Dataset[Sample | Unreadable]):
    """Views of the photo at a position of the stream.

    A photo that cannot be read is replaced by the next one in the list, so batches stay whole.

    Args:
        photos: at least one.
        stream: says which photo a position means.
        maker: makes the views.
    """

    def __init__(self, photos: Sequence[Photo], stream: Stream, maker: ViewMaker) -> None:
        self.photos, self.stream, self.maker = list(photos), stream, maker

    def __getitem__(self, position: int) -> Sample | Unreadable:
        """See the class."""
        failures: list[PhotoFailure] = []
        for index in self.candidates(position):
            photo = self.photos[index]
            try:
                views = self.maker(photo.path, self.stream.generator_at(position))
            except PhotoError as error:
                failures.append(PhotoFailure(photo.name, str(error)))
            else:
                return index, views, tuple(failures)
        return Unreadable(self.nothing_left(failures))

    def candidates(self, position: int) -> Iterator[int]:
        """The photo at a position, then those that may take its place, each once."""
        first = self.stream.photo_at(position)
        return ((first + step) % len(self.photos) for step in range(len(self.photos)))

    def nothing_left(self, failures: Sequence[PhotoFailure]) -> str:
        """The message when no candidate can be read."""
        return f"not one of the {len(self.photos)} photos can be read; the first: {failures[0].reason}"


class Positions(Sampler[list[int]]):
    """The stream's positions that one process needs, batch by batch.

    Args:
        stream: of all processes together.
        steps: optimiser steps of the whole run, those before `start` included.
        parts: batches that a step is divided into.
        rank: of this process.
        world: number of processes; `parts * world` divides the stream's batch.

    Attributes:
        start: batches to leave out.
    """

    def __init__(self, stream: Stream, steps: int, parts: int = 1, rank: int = 0, world: int = 1) -> None:
        self.total, self.rank, self.world = steps * parts, rank, world
        self.share = stream.batch // parts // world
        self.start = 0

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(self.start, self.total):
            first = (batch * self.world + self.rank) * self.share
            yield list(range(first, first + self.share))

    def __len__(self) -> int:
        """Batches of the whole run; a loader that starts later still tells this number."""
        return self.total


class StreamLoader(DataLoader[Any]):
    """A loader that begins where it is told, by `load_state_dict` as Lightning calls it on resuming.

    Args:
        dataset: see `ViewDataset`.
        positions: see `Positions`.
        workers: processes that make views ahead; 0 makes them in between.
        pin: whether batches come in page-locked memory.
        on_device: leave the views to the device: batches are `PositionBatch`, and there are no workers.

    Attributes:
        taken: batches of the run that have been taken, those before its beginning included.
        waited: seconds that whoever takes them has waited.
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
                    advice = "see whether their disk answers, or give --workers 0"
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


def collate(items: list[Sample | Unreadable]) -> TrainBatch | Unreadable:
    """One batch of the items' views; of a loading process, in memory that it shares with the others.

    The queue between the processes would ask for that memory in a thread of its own, where an error is only
    printed, and the training would wait for ever.
    """
    samples: list[Sample] = []
    for item in items:
        if isinstance(item, Unreadable):
            return item
        samples.append(item)
    views = collate_views([(index, views) for index, views, _ in samples])
    if get_worker_info() is not None:
        try:
            for tensor in vars(views).values():
                tensor.share_memory_()
        except RuntimeError as error:  # "unable to allocate shared memory", "unable to write to file"
            return Unreadable(_no_room(views, error))
    return TrainBatch(views, tuple(failure for _, _, failures in samples for failure in failures))


def _no_room(views: ViewBatch, error: RuntimeError) -> str:
    size = sum(part.numel() * part.element_size() for part in vars(views).values()) / 2**20
    said = str(error).splitlines()[0][:120]
    ways = "give --workers 0, a smaller --batch-size, or a container more of it (docker run --shm-size 1g)"
    return f"shared memory (/dev/shm) has no room for a batch of {size:.1f} MiB ({said}): {ways}"


def outlive_signals(worker: int) -> None:
    """Let a loading process go on when its whole group is told to stop: the step under way needs its photos.

    Ctrl-C reaches all processes of a terminal, SLURM's signals all of a job. The training ends its loaders
    itself. A second SIGTERM does end one, so that none can stay behind.
    """
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


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
            from leopart.training.device_views import views_on

            return views_on(device, self.dataset, batch.positions)
        return batch.to(device, non_blocking=True)

"""Which photo stands at which position of a training: any position can be made on its own.

The stream is one permutation of the photos after another. Which photo stands at a position, and the random
numbers of its crops, follow from the seed and the position alone, not from workers, processes or earlier
positions. So a run resumes exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler, get_worker_info

from leopart.data.photos import Photo
from leopart.data.views import ViewBatch, ViewMaker, Views, collate_views
from leopart.errors import PhotoError


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

    No dataclass: Lightning searches batches for tensors, and would put new ones into a dataclass.
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
        """Batches of the whole run, also for a loader that starts later."""
        return self.total


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

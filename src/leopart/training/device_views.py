"""Views made on the training's device, for where the CPU cannot keep up with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from leopart.data.decoding import decode_photos
from leopart.data.views import DeviceViewMaker
from leopart.errors import LeopartError, PhotoError
from leopart.training.data import PhotoFailure, TrainBatch, ViewDataset


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

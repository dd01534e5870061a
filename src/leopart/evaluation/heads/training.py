"""Training a head on frozen features, by one process or several.

Legend: n photos, B photos of a step over all processes, D channels of a token, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.masks import IGNORE
from leopart.errors import LeopartError
from leopart.evaluation.heads.examples import CachedExamples, Examples
from leopart.evaluation.heads.networks import FCNHead, LinearHead, dropout_factors
from leopart.evaluation.heads.recipes import HeadRecipe
from leopart.evaluation.metrics.matching import score
from leopart.parallel import ordered_map, workers
from leopart.processes import rank, total, world_size
from leopart.progress import Track, silent

_ORDER, _CHANNELS = 2, 3
"""First numbers of the seeds: of the order of photos, and of dropout."""
Piece = list[int]
"""Indices of photos."""


@dataclass(frozen=True)
class Epoch:
    """A point of the learning curve.

    Attributes:
        epoch: from 0.
        lr: learning rate.
        loss: mean cross-entropy over the labelled places of all photos, during the epoch.
        miou: on the validation photos after the epoch, in [0, 1]; None without validation.
    """

    epoch: int
    lr: float
    loss: float
    miou: float | None


@dataclass(frozen=True)
class TrainedHead:
    """Result of a training.

    Attributes:
        head: on the device of the examples, in evaluation mode, without gradients.
        curve: one point an epoch.
        kept: the epoch whose head was kept.
        chosen_by: the labels that chose this epoch, in words.
    """

    head: LinearHead | FCNHead
    curve: tuple[Epoch, ...]
    kept: int
    chosen_by: str


def fresh_head(recipe: HeadRecipe, dim: int, num_classes: int) -> LinearHead | FCNHead:
    """A head with the initial weights of the recipe's seed, on the CPU."""
    generator = torch.Generator().manual_seed(recipe.seed)
    if recipe.kind == "linear":
        return LinearHead(dim, num_classes, generator)
    return FCNHead(dim, num_classes, recipe.width, generator)


def train_head(
    examples: Examples,
    num_classes: int,
    recipe: HeadRecipe,
    *,
    validation: CachedExamples | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    track: Track = silent,
) -> TrainedHead:
    """Train a head on labelled photos.

    Naive form, for each epoch and each batch of B photos in random order (the last one may be smaller):
        loss = mean of cross_entropy(head(tokens, train_size), labels) over places with a label
        one step of stochastic gradient descent with momentum

    Several processes (see `joined_processes`) share the photos of each batch, and divide the sum of their
    gradients by the number of labelled places of all: the result is that of one process, up to rounding. All
    random numbers follow from seed, epoch and photo. A batch without labels only applies momentum and decay.

    Args:
        examples: what to learn from.
        num_classes: C.
        recipe: see `HeadRecipe`.
        validation: the mIoU on the first `recipe.select` of these photos, at the size of their label maps,
            chooses the epoch to keep; absent classes count 0. None, or 0 photos: keep the last epoch.
        precision: `bf16` = the convolutions of an FCN compute in bfloat16; a linear head never does.
        track: progress, one step a batch.

    Returns:
        See `TrainedHead`; the same in all processes.

    Raises:
        ValueError: the side of the label maps is not that of the recipe.
        LeopartError: the loss is not finite, or a photo cannot be read.

    Source: Leopart, CVPR 2022, linear and FCN heads; the authors' linear_finetune.py. The authors keep the
    best 3 epochs by the first 8 validation batches.
    """
    if examples.side != recipe.train_size:
        sides = f"{examples.side} and {recipe.train_size}"
        raise ValueError(f"label maps and settings differ in the training size: {sides}")
    training = _Training(examples, num_classes, recipe, validation, precision)
    for _ in track(training.run(), recipe.epochs * training.batches, f"{recipe.kind} head"):
        pass
    return training.result()


class _Training:
    """State of one training: head, optimiser, curve, and the best head so far."""

    def __init__(
        self,
        examples: Examples,
        num_classes: int,
        recipe: HeadRecipe,
        validation: CachedExamples | None,
        precision: Literal["fp32", "bf16"],
    ) -> None:
        self.examples, self.recipe, self.device = examples, recipe, examples.device
        self.validation = validation if recipe.select else None
        self.bf16 = precision == "bf16" and recipe.kind == "fcn"
        self.head = fresh_head(recipe, examples.dim, num_classes).to(examples.device)
        self.optimiser = torch.optim.SGD(
            self.head.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        for parameter in self.head.parameters():  # also for a process without photos in a batch
            parameter.grad = torch.zeros_like(parameter)
        self.batches = math.ceil(len(examples) / recipe.batch_size)
        self.curve: list[Epoch] = []
        self.kept, self.best = 0, self._state()

    def run(self) -> Iterator[None]:
        """Train all epochs; yields after each step."""
        for epoch in range(self.recipe.epochs):
            rate = self.recipe.rate(epoch)
            self.optimiser.param_groups[0]["lr"] = rate
            loss = torch.zeros((), device=self.device)
            places = torch.zeros((), dtype=torch.int64, device=self.device)
            for pieces in self._epoch(epoch):
                batch_loss, batch_places = self._step(pieces, epoch)
                loss, places = loss + batch_loss, places + batch_places
                yield
            self._finish(epoch, rate, float(loss / places.clamp(min=1)))

    def result(self) -> TrainedHead:
        """The head to keep, ready for use."""
        self.head.load_state_dict(self.best)
        for parameter in self.head.parameters():
            parameter.grad = None
        by = "no labels: the last epoch"
        if self.validation is not None:
            by = f"mIoU on the labels of {len(self._selecting())} validation photos"
        return TrainedHead(self.head.eval().requires_grad_(False), tuple(self.curve), self.kept, by)

    def _epoch(self, epoch: int) -> Iterator[Iterator[tuple[Piece, Tensor, Tensor]]]:
        """This process's pieces of each batch, loaded ahead by threads."""
        order = np.random.default_rng([_ORDER, self.recipe.seed, epoch]).permutation(len(self.examples))
        size, piece = self.recipe.batch_size, _piece(self.recipe.kind, self.device)
        shares = [
            order[start : start + size][rank() :: world_size()].tolist()
            for start in range(0, len(order), size)
        ]
        plan = [[share[start : start + piece] for start in range(0, len(share), piece)] for share in shares]
        with closing(
            _loaded(self.examples, [photos for pieces in plan for photos in pieces], epoch)
        ) as loaded:
            for pieces in plan:
                yield islice(loaded, len(pieces))

    def _step(self, pieces: Iterator[tuple[Piece, Tensor, Tensor]], epoch: int) -> tuple[Tensor, Tensor]:
        """One step; summed loss and number of labelled places of the batch, over all processes."""
        self.optimiser.zero_grad(set_to_none=False)
        loss = torch.zeros((), device=self.device)
        places = torch.zeros((), dtype=torch.int64, device=self.device)
        for photos, content, rows in pieces:
            tokens, labels = self.examples.encode(content), rows.to(self.device, non_blocking=True)
            piece_loss = self._loss(tokens, labels, self._channels(photos, epoch))
            piece_loss.backward()  # type: ignore[no-untyped-call]  # torch does not say
            loss, places = loss + piece_loss.detach(), places + (labels != IGNORE).sum()
        loss, places = total(loss), total(places)
        self._share_gradients(places)
        self.optimiser.step()
        return loss, places

    def _loss(self, tokens: Tensor, labels: Tensor, channels: Tensor | None) -> Tensor:
        """Cross-entropy summed over labelled places, []."""
        with torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext():
            logits = self.head(tokens, self.recipe.train_size, channels)
        return F.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORE, reduction="sum")

    def _channels(self, photos: Piece, epoch: int) -> Tensor | None:
        """Factors of an FCN's channels for each photo."""
        if self.recipe.kind == "linear":
            return None
        seeds = ([_CHANNELS, self.recipe.seed, epoch, photo] for photo in photos)
        factors = [dropout_factors(self.recipe.width, np.random.default_rng(seed)) for seed in seeds]
        return torch.stack(factors).to(self.device, non_blocking=True)

    def _share_gradients(self, places: Tensor) -> None:
        """Replace the sum of gradients by the mean over the labelled places of all processes."""
        gradients = [parameter.grad for parameter in self.head.parameters() if parameter.grad is not None]
        flat = total(torch.cat([gradient.flatten() for gradient in gradients])) / places.clamp(min=1)
        means = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.reshape(gradient.shape))

    def _finish(self, epoch: int, rate: float, loss: float) -> None:
        """Record the epoch, and keep the head if it is the best."""
        if not math.isfinite(loss):
            problem = f"the loss of the head is not finite in epoch {epoch + 1}"
            raise LeopartError(f"{problem}; take a learning rate below {rate:g}")
        miou = None
        if self.validation is not None:
            miou = _miou(self.head, self.validation, self._selecting())
        earlier = self.curve[self.kept].miou if self.curve else None
        self.curve.append(Epoch(epoch, rate, loss, miou))
        if miou is None or earlier is None or miou > earlier:
            self.kept, self.best = epoch, self._state()

    def _selecting(self) -> range:
        return range(0 if self.validation is None else min(self.recipe.select, len(self.validation)))

    def _state(self) -> dict[str, Tensor]:
        return {key: value.detach().clone() for key, value in self.head.state_dict().items()}


def _loaded(
    examples: Examples, pieces: Sequence[Piece], epoch: int
) -> Generator[tuple[Piece, Tensor, Tensor], None, None]:
    def load(photos: Piece) -> tuple[Piece, Tensor, Tensor]:
        return photos, *examples.load(photos, epoch)

    yield from ordered_map(load, pieces, workers=workers())


def _piece(kind: str, device: torch.device) -> int:
    """Number of photos whose gradient is computed at once; it bounds memory, whatever B is.

    It is small on the CPU, so that the data stay in its caches.
    """
    if device.type == "cpu":
        return 4 if kind == "linear" else 1
    return 64 if kind == "linear" else 8


@torch.no_grad()
def _miou(head: LinearHead | FCNHead, validation: CachedExamples, photos: range) -> float:
    """Mean IoU over all classes on some photos, at the size of their label maps, over all processes."""
    classes = head.classes
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=validation.device)
    mine = photos[rank() :: world_size()]
    piece = _piece(head.kind, validation.device)
    pieces = [list(mine[start : start + piece]) for start in range(0, len(mine), piece)]
    for _, content, rows in _loaded(validation, pieces, 0):
        labels = rows.to(validation.device).long()
        found = head(validation.encode(content), validation.side).argmax(1)
        cells = torch.where(labels == IGNORE, classes**2, labels * classes + found)
        counts += torch.bincount(cells.flatten(), minlength=len(counts))
    matrix = total(counts)[:-1].reshape(classes, classes).cpu().numpy()
    return score(matrix, np.arange(classes)).miou

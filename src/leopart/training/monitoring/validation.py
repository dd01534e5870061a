"""Validation between the steps of a run: a contact sheet of clusters, and scores where there are labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo
from leopart.errors import PhotoError
from leopart.evaluation.labels import small_labels
from leopart.evaluation.overclustering import Settings, overcluster
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone
from leopart.training.module import LeopartModule
from leopart.training.monitoring.contact_sheet import SHEETS, ContactSheet, TokensOf
from leopart.training.monitoring.loggers import Loggers
from leopart.training.monitoring.progress import ProgressCallback


@dataclass(frozen=True)
class Labelled:
    """Labelled photos to score on.

    Attributes:
        folder: photos and masks to score on.
        ks: numbers of clusters.
        size: side in pixels of the network's input.
    """

    folder: LabelledPhotos
    ks: tuple[int, ...]
    size: int = 448

    def score(self, backbone: Backbone, precision: str) -> dict[str, float]:
        """Mean IoU in [0, 1] for each number of clusters that the tokens are enough for.

        Source: Leopart, validation in training, by the authors' code. Deviations: cluster ids, not
        tokens, are enlarged to 100 x 100, as in the evaluation itself; no cluster has to keep a pixel.
        """
        preprocessing = Preprocessing(_side(self.size, backbone.patch_size))
        extractor = Extractor(backbone, preprocessing, precision=precision)
        tokens = [_tokens(extractor, photo.path) for photo, _ in self.folder.pairs]
        labels = small_labels(self.folder, through=preprocessing.size)
        n_tokens = sum(photo.shape[0] * photo.shape[1] for photo in tokens)
        scores = overcluster(
            tokens,
            labels,
            len(self.folder.classes),
            Settings(ks=[k for k in self.ks if k <= n_tokens], seeds=(1,)),
            background=self.folder.background,
        )
        return {f"val/miou_k{found.k}": found.mean for found in scores}


def labelled_sample(
    data: str, masks: str, photos: int, ks: tuple[int, ...], ignore: tuple[str, ...] = ()
) -> Labelled:
    """At most so many photos of a labelled set, the same in every run.

    Args:
        data: see `labelled_photos`; of sets that are split, the photos that are usually scored.
        masks: see `labelled_photos`.
        photos: how many, at most.
        ks: numbers of clusters.
        ignore: classes to leave out, see `LabelledPhotos.without`.

    Raises:
        LeopartError: see `labelled_photos`.
    """
    folder = labelled_photos(data, masks).without(ignore)
    return Labelled(folder.sample(photos), ks)


def sheet_of(
    photos: Sequence[Photo], run: Path, backbone: Backbone, count: int, size: int = 336
) -> ContactSheet | None:
    """The contact sheet of evenly spread photos; None where none is asked for, or none can be read."""
    chosen = [photos[i] for i in np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)]
    extractor = Extractor(backbone, Preprocessing(_side(size, backbone.patch_size)))
    pixels: list[NDArray[np.uint8]] = []
    for photo in chosen:
        try:
            pixels.append(extractor.prepare(photo.path))
        except PhotoError:  # training names it when it comes across it
            continue
    return ContactSheet(run / SHEETS, np.stack(pixels)) if pixels else None


def tokens_by(backbone: Backbone) -> TokensOf:
    """The tokens that a backbone gives, photo by photo."""
    device = next(backbone.parameters()).device

    @torch.no_grad()
    def tokens_of(images: Tensor) -> Tensor:
        return torch.cat([backbone(image[None].to(device)).tokens for image in images])

    return tokens_of


class Validation(pl.Callback):
    """Draws and scores before the first step, every so many steps, and after the last.

    The first process alone has one; the others wait for it at their next exchange.

    Args:
        every: steps between two validations.
        sheet: see `sheet_of`.
        labelled: see `Labelled`.
        loggers: where figures and pictures go.
        progress: see `ProgressCallback`.
        precision: number format of the network.
    """

    def __init__(
        self,
        every: int,
        sheet: ContactSheet | None,
        labelled: Labelled | None,
        loggers: Loggers,
        progress: ProgressCallback,
        precision: str,
    ) -> None:
        self.every, self.sheet, self.labelled = every, sheet, labelled
        self.loggers, self.progress, self.precision = loggers, progress, precision

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The network before training; not again when a run is continued."""
        if trainer.global_step == 0:
            self._validate(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate where it is due."""
        del outputs, batch
        step = trainer.global_step
        due = step % self.every == 0 or step >= trainer.max_steps
        if due and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._validate(trainer, pl_module)

    def _validate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        assert isinstance(pl_module, LeopartModule)  # noqa: S101 - narrows the type
        networks = pl_module.learner.networks
        networks.eval()
        try:
            self._draw(step, networks.backbone)
            self._score(step, networks.backbone)
        finally:
            networks.train()

    def _draw(self, step: int, backbone: Backbone) -> None:
        if self.sheet is None:
            return
        pixels = self.sheet.add(step, tokens_by(backbone))
        self.loggers.picture(step, "clusters", pixels)

    def _score(self, step: int, backbone: Backbone) -> None:
        if self.labelled is None:
            return
        scores = self.labelled.score(backbone, self.precision)
        self.loggers.figures(step, scores)
        shown = ", ".join(f"K={name.rpartition('k')[2]} {100 * value:.1f}" for name, value in scores.items())
        self.progress.note(
            f"step {step}: mIoU of clusters in % {shown} ({len(self.labelled.folder.pairs)} labelled photos)"
        )


def _tokens(extractor: Extractor, path: Path) -> NDArray[np.float16]:
    return extractor.forward([extractor.prepare(path)])[0][0]


def _side(size: int, patch: int) -> int:
    return max(1, round(size / patch)) * patch

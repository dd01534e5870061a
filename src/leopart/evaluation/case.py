"""What every evaluation needs: labelled photos, a backbone, and the photos' features."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from leopart.config import EvaluateConfig
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.labels import LabelMap, checked_labels
from leopart.evaluation.maps import MapWriter
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.store import FeatureStore, is_store_or_begun
from leopart.files import remove_unfinished
from leopart.locks import locked_file
from leopart.models.backbone import load_backbone
from leopart.processes import rank, world_size
from leopart.progress import Track
from leopart.run_record import Stopwatch

Config = TypeVar("Config", bound=EvaluateConfig)


class Case(Generic[Config]):
    """One evaluation at work. What a task asks for is made then, and timed.

    Args:
        config: options.
        labelled: the photos that are scored.
        device: where to compute.
        track: progress.

    Attributes:
        watch: seconds of each stage.
        maps: takes what is found in a photo.
    """

    def __init__(self, config: Config, labelled: LabelledPhotos, device: torch.device, track: Track) -> None:
        self.config, self.labelled, self.device, self.track = config, labelled, device, track
        self.watch = Stopwatch()
        self.maps = MapWriter(config.save_maps, labelled)
        self.stores: list[FeatureStore] = []
        self.folder = _feature_folder(config)
        self._locked: set[Path] = set()
        self._locks = ExitStack()

    @cached_property
    def extractor(self) -> Extractor:
        """The backbone at its settings, loaded when first asked for."""
        config = self.config
        with self.watch.stage("backbone"):
            return Extractor(
                load_backbone(config.backbone, device=self.device),
                Preprocessing(config.size),
                precision=config.precision,
                batch_size=None if config.batch_size == "auto" else config.batch_size,
                block=None if config.features == "final" else config.features,
            )

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.labelled.classes)

    def labels(self, labelled: LabelledPhotos, side: int | None) -> Sequence[LabelMap]:
        """Label maps of photos, each read once; see `checked_labels`."""
        with self.watch.stage("masks"):
            return checked_labels(labelled, side, self.config.size, track=self.track)

    def features(self, labelled: LabelledPhotos, title: str = "features") -> FeatureStore:
        """Features of photos, in their order. What an interrupted evaluation has left is taken up again.

        Raises:
            LeopartError: a photo cannot be used: the score of the rest would be that of another set.
        """
        photos = [photo for photo, _ in labelled.pairs]
        folder = self.folder
        if self.config.cache is not None:
            folder = self.config.cache / _key(self.extractor.recipe, [photo.name for photo in photos])
            self._lock(folder)
        elif title != "features":
            folder = self.folder.with_name(f"{self.folder.name}.{title.replace(' ', '-')}")
        with self.watch.stage(title):
            store, failures = self.extractor.extract(
                photos, folder, replace=True, shared=world_size() > 1, track=self.track
            )
        if failures:
            store.close()
            count = f"{len(failures)} of {len(photos)} photos cannot be used"
            message = f"{count}: {failures[0].reason}; a score needs them all, or a --split without them"
            raise LeopartError(message)
        self.stores.append(store)
        return store

    def _lock(self, folder: Path) -> None:
        """Nobody else writes to an entry of the cache until this evaluation is done.

        The lock lies beside it: a store that does not fit is moved out of the way.
        """
        if rank() == 0 and folder not in self._locked:
            lock = folder.with_name(f".{folder.name}.lock")
            remedy = "wait for it to end, or choose another --cache"
            if self._locks.enter_context(locked_file(lock, folder, remedy)):
                remove_unfinished(folder)
            self._locked.add(folder)

    def close(self) -> None:
        """Let go of the features' files."""
        for store in self.stores:
            store.close()
        self._locks.close()

    def tidy(self) -> None:
        """Delete the features, unless they are to be kept."""
        for store in self.stores:
            if self.config.cache is None and rank() == 0:
                shutil.rmtree(store.folder, ignore_errors=True)


def _feature_folder(config: EvaluateConfig) -> Path:
    """Where features lie until the scores are written, so that an interrupted evaluation goes on.

    Raises:
        LeopartError: something else is there: at the end it would be deleted.
    """
    folder = config.out.with_name(f".{config.out.stem}.features")
    if config.cache is None and os.path.lexists(folder) and not is_store_or_begun(folder):
        raise LeopartError(
            f"{folder} is there, and holds no features of an earlier run: choose another --out"
        )
    return folder


def _key(recipe: Any, names: Sequence[str]) -> str:
    """Name of a folder for these photos' features; what is inside is checked all the same."""
    digest = hashlib.sha256(repr((recipe, list(names))).encode("utf-8", "surrogateescape"))
    return f"{recipe.backbone}-{digest.hexdigest()[:16]}".replace(os.sep, "_")


def as_side(size: int | str) -> int | None:
    """The side of an option that takes pixels or `full`; None = full."""
    return size if isinstance(size, int) else None

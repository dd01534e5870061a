"""What every evaluation needs: labelled photos, a backbone, and the photos' features."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from leopart.config import EvaluateConfig
from leopart.data.datasets.mask_checks import class_notes
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.labels import LabelMap, checked_labels
from leopart.evaluation.maps import MapWriter
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.store import FeatureStore, is_store_or_begun
from leopart.files import remove_unfinished
from leopart.locks import locked_file
from leopart.models.custom import BackboneLike, as_backbone
from leopart.processes import rank, world_size
from leopart.progress import Track
from leopart.run_record import Stopwatch

Config = TypeVar("Config", bound=EvaluateConfig)


@dataclass(frozen=True)
class Given:
    """What a Python program holds already, and so is not read from where the options say.

    Attributes:
        backbone: see `BackboneLike`.
        scored: photos to score.
        learned: photos to learn from, for the tasks that do.
    """

    backbone: BackboneLike | None = None
    scored: LabelledPhotos | None = None
    learned: LabelledPhotos | None = None


NOTHING_GIVEN = Given()


class Case(Generic[Config]):
    """One evaluation. Things are made, and timed, when a task asks for them.

    Args:
        config: options.
        labelled: the photos that are scored.
        device: where to compute.
        track: progress.
        given: what comes from Python instead of from `config`.

    Attributes:
        watch: seconds of each stage.
        maps: takes the predictions for photos.
    """

    def __init__(
        self,
        config: Config,
        labelled: LabelledPhotos,
        device: torch.device,
        track: Track,
        given: Given = NOTHING_GIVEN,
    ) -> None:
        self.config, self.labelled, self.device, self.track = config, labelled, device, track
        self.given = given
        self.watch = Stopwatch()
        self.maps = MapWriter(config.save_maps, labelled)
        self.stores: list[FeatureStore] = []
        self.occurring: set[int] = set()
        self.folder = _feature_folder(config)
        self._locked: set[Path] = set()
        self._locks = ExitStack()

    @cached_property
    def extractor(self) -> Extractor:
        """The backbone with its settings; loaded on first use."""
        config, given = self.config, self.given.backbone
        with self.watch.stage("backbone"):
            return Extractor(
                as_backbone(config.backbone if given is None else given, self.device),
                Preprocessing(config.size),
                precision=config.precision,
                batch_size=None if config.batch_size == "auto" else config.batch_size,
                block=None if config.features == "final" else config.features,
            )

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.labelled.classes)

    @property
    def background(self) -> int:
        """Row of the background class, for the tasks about foreground.

        Raises:
            LeopartError: there is none, so nothing says what foreground is.
        """
        background = self.labelled.background
        if background is None:
            names = ", ".join(list(self.labelled.classes.values())[:5])
            problem = f"no class of these masks is called background (they are {names}, ...)"
            advice = "choose other --masks, or another set such as voc:PATH"
            raise LeopartError(f"{problem}, so nothing is foreground; {advice}")
        return background

    def labels(self, labelled: LabelledPhotos, side: int | None) -> Sequence[LabelMap]:
        """Label maps of photos, each read once; see `checked_labels`."""
        with self.watch.stage("masks"):
            rows = self.occurring if labelled is self.labelled else None
            return checked_labels(labelled, side, self.config.size, occurring=rows, track=self.track)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the photos that are scored; of their classes once `labels` has read the masks."""
        if not self.occurring:
            return self.labelled.notes
        return self.labelled.notes + class_notes(self.labelled.classes, self.occurring)

    def features(self, labelled: LabelledPhotos, title: str = "features") -> FeatureStore:
        """Features of photos, in their order. Features of an interrupted evaluation are used again.

        Raises:
            LeopartError: a photo cannot be used; the score of the others would be that of another data set.
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
            advice = "a score needs all of them: mend them, or give a --split without them"
            raise LeopartError(f"{count}: {failures[0].reason}; {advice}")
        self.stores.append(store)
        return store

    def attention(self) -> FeatureStore:
        """Features of the photos that are scored, with their CLS attention.

        Raises:
            LeopartError: the backbone has none.
        """
        backbone = self.extractor.backbone
        if not backbone.has_attention:  # other networks have a stand-in, which is no attention
            raise LeopartError(
                f"{backbone.name} has no CLS attention; choose a vision transformer with --backbone"
            )
        return self.features(self.labelled)

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
        """Close the files of the features."""
        for store in self.stores:
            store.close()
        self._locks.close()

    def tidy(self) -> None:
        """Delete the features, unless they are to be kept."""
        for store in self.stores:
            if self.config.cache is None and rank() == 0:
                shutil.rmtree(store.folder, ignore_errors=True)


def _feature_folder(config: EvaluateConfig) -> Path:
    """Folder for the features until the scores are written, so that an interrupted evaluation can continue.

    Raises:
        LeopartError: the folder has other content, which would be deleted at the end.
    """
    folder = config.out.with_name(f".{config.out.stem}.features")
    if config.cache is None and os.path.lexists(folder) and not is_store_or_begun(folder):
        raise LeopartError(f"{folder} exists and holds no features of an earlier run: choose another --out")
    return folder


def _key(recipe: Any, names: Sequence[str]) -> str:
    """Name of a folder for the features of these photos; its content is checked nevertheless."""
    digest = hashlib.sha256(repr((recipe, list(names))).encode("utf-8", "surrogateescape"))
    return f"{recipe.backbone}-{digest.hexdigest()[:16]}".replace(os.sep, "_")


def as_side(size: int | str) -> int | None:
    """Value of an option that takes pixels or `full`; None = full."""
    return size if isinstance(size, int) else None

"""The work of `leopart evaluate`: labelled photos and a backbone in, one JSON file of scores out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from leopart.config import EvaluateConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.photos import shown
from leopart.errors import LeopartError
from leopart.evaluation.labels import small_labels
from leopart.evaluation.matching import Floats
from leopart.evaluation.overclustering import ClusterScores, Settings, overcluster
from leopart.features.extract import Extractor, Preprocessing
from leopart.features.store import FeatureStore
from leopart.files import write_text
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.device import pick_device
from leopart.progress import Track, silent
from leopart.run_record import Stopwatch, git_commit, peak_memory, settings_of, versions

_LABELS_USED = "those of the photos scored, to name the clusters and to score them"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        images: photos scored.
        classes: names of the classes, rows in order.
        scores: for each number of clusters.
        backbone: its name.
    """

    images: int
    classes: tuple[str, ...]
    scores: tuple[ClusterScores, ...]
    backbone: str


def evaluate(config: EvaluateConfig, *, track: Track = silent) -> Evaluation:
    """Score a backbone by overclustering and write the JSON file, and the options beside it.

    A photo that cannot be read ends the evaluation: the score of the rest would be that of another set. What
    an evaluation that was interrupted has left is taken up again.

    Raises:
        LeopartError: data, backbone or options do not fit, or the file cannot be written.
    """
    watch = Stopwatch()
    labelled = labelled_photos(config.data, config.masks, config.split).without(config.ignore)
    with watch.stage("masks"):
        labels = small_labels(labelled, config.eval_size, config.size, track=track)
    if all((ids == IGNORE).all() for ids in labels):
        raise LeopartError("no pixel of the masks has a label that counts; check --masks and --ignore")
    with watch.stage("backbone"):
        backbone = load_backbone(config.backbone, device=pick_device(config.device))
    extractor = _extractor(config, backbone)
    options = yaml.safe_dump(settings_of(config), sort_keys=False, allow_unicode=True)
    # Before the work: a folder that cannot be written to must not be noticed after it.
    write_text(config.out.with_suffix(".config.yaml"), options)
    kept = _feature_folder(config.out)
    with watch.stage("features"):
        store = _extract(extractor, labelled, kept, track)
    try:
        with watch.stage("clustering"):
            scores = _score(config, store, labels, labelled, extractor.device, track)
    finally:
        store.close()
    classes = tuple(labelled.classes.values())
    found = Evaluation(len(labels), classes, scores, backbone.name)
    _write(config, labelled, extractor, found, watch)
    shutil.rmtree(kept, ignore_errors=True)
    return found


def _feature_folder(out: Path) -> Path:
    """Where features lie until the scores are written, so that an interrupted evaluation goes on.

    Raises:
        LeopartError: something else is there: at the end it would be deleted.
    """
    folder = out.with_name(f".{out.stem}.features")
    if os.path.lexists(folder) and not (folder / "manifest.json").is_file():
        raise LeopartError(
            f"{folder} is there, and holds no features of an earlier run: choose another --out"
        )
    return folder


def _extractor(config: EvaluateConfig, backbone: Backbone) -> Extractor:
    return Extractor(
        backbone,
        Preprocessing(config.size),
        precision=config.precision,
        batch_size=None if config.batch_size == "auto" else config.batch_size,
        block=None if config.features == "final" else config.features,
    )


def _extract(extractor: Extractor, labelled: LabelledPhotos, folder: Path, track: Track) -> FeatureStore:
    """Features of all photos, in their order."""
    photos = [photo for photo, _ in labelled.pairs]
    store, failures = extractor.extract(photos, folder, replace=True, track=track)
    if failures:
        store.close()
        count = f"{len(failures)} of {len(labelled.pairs)} photos cannot be used"
        message = f"{count}: {failures[0].reason}; a score needs them all, or a --split without them"
        raise LeopartError(message)
    return store


def _score(
    config: EvaluateConfig,
    store: FeatureStore,
    labels: Sequence[npt.NDArray[np.uint8]],
    labelled: LabelledPhotos,
    device: torch.device,
    track: Track,
) -> tuple[ClusterScores, ...]:
    n_tokens = len(store.tokens)
    if max(config.k) > n_tokens:
        message = (
            f"--k {max(config.k)} is more than the {n_tokens} tokens of {len(labels)} photos; ask for less"
        )
        raise LeopartError(message)
    return overcluster(
        store,
        labels,
        len(labelled.classes),
        ks=list(dict.fromkeys(config.k)),
        seeds=range(config.seeds),
        background=labelled.background,
        settings=Settings(eval_size=config.eval_size, normalise=config.normalise),
        device=device,
        track=track,
    )


def _write(
    config: EvaluateConfig,
    labelled: LabelledPhotos,
    extractor: Extractor,
    found: Evaluation,
    watch: Stopwatch,
) -> None:
    """Write scores and everything that they depend on."""
    backbone = extractor.backbone
    content = {
        "task": config.task,
        "dataset": config.data,
        "masks": config.masks,
        "split": config.split,
        "ignored classes": list(labelled.ignored.values()),
        "images": found.images,
        "backbone": {
            "name": backbone.name,
            "source": backbone.source,
            "fingerprint": backbone.fingerprint,
            "block": backbone.spec.feature_block if extractor.block is None else extractor.block,
            "precision": extractor.precision,
        },
        "settings": settings_of(config),
        "seeds": list(range(config.seeds)),
        "scores": {str(scores.k): _described(scores, labelled) for scores in found.scores},
        "labels used": {"backbone": backbone.spec.labels, "clusters": "none", "matching": _LABELS_USED},
        "seconds": {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        "peak memory MiB": peak_memory(),
        "device": _device_name(extractor.device),
        "versions": versions(),
        "git commit": git_commit(),
    }
    # Paths may hold bytes that are not UTF-8; JSON cannot.
    write_text(config.out, shown(json.dumps(content, indent=2, default=str, ensure_ascii=False)) + "\n")


def _described(scores: ClusterScores, labelled: LabelledPhotos) -> dict[str, Any]:
    """Of one number of clusters; fractions in [0, 1]."""
    per_class = zip(labelled.classes.items(), scores.class_iou.T, strict=True)
    return {
        "matching": scores.rule,
        "miou": _summed_up(scores.miou),
        "pixel accuracy": _summed_up(np.array([matching.pixel_accuracy for matching in scores.matchings])),
        "per class": [
            {"id": key, "name": name, "iou": _summed_up(of_seeds)} for (key, name), of_seeds in per_class
        ],
    }


def _summed_up(of_seeds: Floats) -> dict[str, Any]:
    return {
        "mean": round(float(of_seeds.mean()), 6),
        "std": round(float(of_seeds.std()), 6),
        "per seed": [round(float(value), 6) for value in of_seeds],
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

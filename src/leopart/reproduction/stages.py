"""Trainings and evaluations that are done once: each has a key made of what decides its outcome.

The key is made of recipe and options, numbers behind the names of presets, names and sizes of photos and
masks, weights, engine and Leopart's version; not of the device and its number format, which move the last
decimals.

OUT/networks/NAME-KEY/    run folder of `leopart train`; finished.json when it has come to its end
OUT/scores/NAME-KEY.json  what `leopart evaluate` wrote
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leopart.config import (
    TASKS,
    EvaluateConfig,
    ForegroundConfig,
    HeadConfig,
    TrainConfig,
    TrainedConfig,
    UnsupervisedConfig,
)
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.photos import Photo
from leopart.evaluation.evaluate import evaluate
from leopart.evaluation.label_free.published import published
from leopart.evaluation.report import read_report
from leopart.evaluation.splits import data_name, learned_split, scored_split
from leopart.evaluation.tasks.linear_and_fcn import recipe_of as head_recipe_of
from leopart.evaluation.tasks.unsupervised import published_engine
from leopart.files import write_text
from leopart.progress import Track
from leopart.recipe import Recipe, recipe_of
from leopart.reproduction.setting import Job, weights_hash
from leopart.run_record import settings_of, versions
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.pipeline import train
from leopart.training.reporting import Watcher

_FINISHED = "finished.json"
FEATURES = ".features"
"""Folder in which evaluations of one network share what it makes of the photos."""
#: Options that say where something lies or is computed.
_PLACES = {"data", "out", "backbone", "split", "train_split", "device", "batch_size", "cache", "save_maps"}


@dataclass(frozen=True)
class Machine:
    """Where and how stages run; keys do not depend on it.

    Attributes:
        out: folder of everything.
        device: as on the command line.
        track: progress of evaluations.
        watcher: who is told about trainings.
    """

    out: Path
    device: str
    track: Track
    watcher: Watcher


class Interrupted(KeyboardInterrupt):
    """A training was stopped before its end, and can go on."""


def network_of(job: Job, machine: Machine) -> str:
    """The backbone of a job, trained if it must be; what `--backbone` takes.

    Raises:
        LeopartError: weights or photos cannot be had, or the training fails.
        Interrupted: see there.
    """
    if job.recipe is None:
        return job.backbone
    run = _run_folder(job, machine.out)
    if (run / _FINISHED).is_file():
        return str(run)
    begun = time.perf_counter()
    config = TrainConfig(
        **recipe_of(job.recipe),
        preset=job.preset,
        data=job.data,
        out=run,
        resume=(run / FOLDER / LAST).is_file(),
        device=machine.device,
        sheet_photos=0,
    )
    done = train(config, watcher=machine.watcher)
    if done.step < done.total:
        raise Interrupted
    seconds = round(time.perf_counter() - begun, 1)
    facts = {"steps": done.step, "seconds of the last part": seconds, "photos left out": len(done.failures)}
    write_text(run / _FINISHED, json.dumps(facts, indent=2) + "\n")
    return str(run)


def scores_of(options: dict[str, Any], backbone: str, machine: Machine) -> tuple[Path, bool]:
    """The file of an evaluation, run if it must be.

    Returns:
        The file, and whether it was there already.

    Raises:
        LeopartError: see `evaluate`.
    """
    file = _scores_file(options, backbone, machine.out)
    if file.is_file():
        read_report(file)
        return file, True
    where: dict[str, Any] = {"backbone": backbone, "out": file, "device": machine.device}
    if options["task"] != "linear":  # the others share what the network makes of the photos
        where["cache"] = machine.out / FEATURES
    config = TASKS[options["task"]](**options, **where)
    config.check()
    evaluate(config, track=machine.track)
    return file, False


def is_trained(job: Job, out: Path) -> bool:
    """Whether there is nothing left to train."""
    return job.recipe is None or (_run_folder(job, out) / _FINISHED).is_file()


def is_scored(options: dict[str, Any], job: Job, out: Path) -> bool:
    """Whether there is nothing left to score."""
    backbone = job.backbone if job.recipe is None else str(_run_folder(job, out))
    return is_trained(job, out) and _scores_file(options, backbone, out).is_file()


def _run_folder(job: Job, out: Path) -> Path:
    photos = _listed(training_photos(job.data))
    start = weights_hash(job.backbone)
    parts = {
        "recipe": recipe_of(job.recipe or Recipe()),
        "photos": photos,
        "start": start,
        "leopart": _leopart(),
    }
    return out / "networks" / f"{_word(job.backbone)}-{_key(parts)}"


def _scores_file(options: dict[str, Any], backbone: str, out: Path) -> Path:
    """Named by task, data set and network; the key tells what else decides the scores."""
    config = TASKS[options["task"]](**options, backbone=backbone, out=Path("scores.json"))
    name = data_name(config)
    hashes = [weights_hash(one) for one in (backbone, options.get("attention_backbone")) if one]
    parts = {
        "options": {key: value for key, value in settings_of(config).items() if key not in _PLACES},
        "preset": _numbers_of(config),
        "set": name,
        # A list's own name is a path where it was drawn here: its photos count, not where it lies.
        "photos": [_labelled(config, split) for split in splits_of(config)],
        "weights": hashes,
        "leopart": _leopart(),
    }
    word = Path(backbone).name if Path(backbone).is_dir() else _word(backbone)
    return out / "scores" / f"{config.task}-{name}-{word}-{_key(parts)}.json"


def splits_of(config: EvaluateConfig) -> list[str | None]:
    """Lists of the data set that an evaluation reads: the one it scores first. None: all of a folder."""
    splits = [scored_split(config)]
    if isinstance(config, TrainedConfig):
        splits.append(learned_split(config))
    if isinstance(config, ForegroundConfig):
        splits += [split for split in (config.tune_split, config.cluster_split) if split is not None]
    return splits


def _numbers_of(config: EvaluateConfig) -> str:
    """What the name of a preset stands for, and the engine that `auto` takes."""
    if isinstance(config, HeadConfig):
        return repr(head_recipe_of(config, config.backbone))
    if isinstance(config, UnsupervisedConfig):
        return f"{published(config.preset)} {published_engine(config.communities)}"
    return repr(published(config.preset)) if isinstance(config, ForegroundConfig) else ""


def _leopart() -> str:
    return versions()["leopart"]


def _listed(photos: Iterable[Photo]) -> list[tuple[str, int]]:
    """Names and sizes of files: enough to see that they are others, without reading them."""
    return [(photo.name, photo.path.stat().st_size) for photo in photos]


def _labelled(config: EvaluateConfig, split: str | None) -> list[list[tuple[str, int]]]:
    """The same of photos and masks of a list; None is all of a folder."""
    pairs = labelled_photos(config.data, config.masks, split).pairs
    return [_listed(photo for photo, _ in pairs), [(mask.name, mask.stat().st_size) for _, mask in pairs]]


def _word(name: str) -> str:
    """A backbone's name as a part of a file name."""
    return Path(name).stem.replace(":", "-") or "backbone"


def _key(parts: dict[str, Any]) -> str:
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:12]

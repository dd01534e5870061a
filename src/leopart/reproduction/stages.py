"""Trainings and evaluations, each done once: its files are named by a key of all that decides the outcome.

The key covers recipe and options, the numbers behind the names of presets, names and sizes of photos and
masks, weights, engine and the version of Leopart. It does not cover the device and its number format, which
change the last decimals only.

OUT/networks/NAME-KEY/    run folder of `leopart train`; finished.json once it is complete
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

from leopart.clustering.communities import engine_name
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
from leopart.files import write_text
from leopart.progress import Track
from leopart.recipe import learning_options
from leopart.reproduction.setting import Job, weights_hash
from leopart.run_record import settings_of, versions
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.monitoring.progress import ProgressCallback
from leopart.training.train import train

_FINISHED = "finished.json"
FEATURES = ".features"
"""Folder of features that the evaluations of one network share."""
#: Options that only say where something is stored or computed.
_PLACES = {"data", "out", "backbone", "split", "train_split", "device", "batch_size", "cache", "save_maps"}


@dataclass(frozen=True)
class Machine:
    """Where and how stages run; keys do not depend on it.

    Attributes:
        out: folder for all files.
        device: as on the command line.
        track: progress of evaluations.
        progress: called during trainings.
    """

    out: Path
    device: str
    track: Track
    progress: ProgressCallback


class Interrupted(KeyboardInterrupt):
    """A training was stopped before its end, and can be continued."""


def network_of(job: Job, machine: Machine) -> str:
    """The backbone of a job, trained if it must be; what `--backbone` takes.

    Raises:
        LeopartError: weights or photos are missing, or the training fails.
        Interrupted: see there.
    """
    if job.recipe is None:
        return job.backbone
    run = _run_folder(job, machine.out)
    if (run / _FINISHED).is_file():
        return str(run)
    begun = time.perf_counter()
    config = TrainConfig(
        **vars(job.recipe),
        preset=job.preset,
        data=job.data,
        out=run,
        resume=(run / FOLDER / LAST).is_file(),
        device=machine.device,
        sheet_photos=0,
    )
    done = train(config, progress=machine.progress)
    if done.step < done.total:
        raise Interrupted
    seconds = round(time.perf_counter() - begun, 1)
    facts = {"steps": done.step, "seconds of the last part": seconds, "photos left out": len(done.failures)}
    write_text(run / _FINISHED, json.dumps(facts, indent=2) + "\n")
    return str(run)


def scores_of(options: dict[str, Any], backbone: str, machine: Machine) -> tuple[Path, bool]:
    """The file of an evaluation, which is run if need be.

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
    """Whether the network is trained, or needs no training."""
    return job.recipe is None or (_run_folder(job, out) / _FINISHED).is_file()


def is_scored(options: dict[str, Any], job: Job, out: Path) -> bool:
    """Whether the scores are there."""
    backbone = job.backbone if job.recipe is None else str(_run_folder(job, out))
    return is_trained(job, out) and _scores_file(options, backbone, out).is_file()


def _run_folder(job: Job, out: Path) -> Path:
    photos = _listed(training_photos(job.data))
    start = weights_hash(job.backbone)
    parts = {
        "recipe": None if job.recipe is None else learning_options(job.recipe),
        "photos": photos,
        "start": start,
        "leopart": _leopart(),
    }
    return out / "networks" / f"{_word(job.backbone)}-{_key(parts)}"


def _scores_file(options: dict[str, Any], backbone: str, out: Path) -> Path:
    """The file is named by task, data set and network; the key covers all else that decides the scores."""
    config = TASKS[options["task"]](**options, backbone=backbone, out=Path("scores.json"))
    name = data_name(config)
    hashes = [weights_hash(one) for one in (backbone, options.get("attention_backbone")) if one]
    parts = {
        "options": {key: value for key, value in settings_of(config).items() if key not in _PLACES},
        "preset": _numbers_of(config),
        "set": name,
        # The name of a list that was drawn here is a path: its photos count, not its place.
        "photos": [_labelled(config, split) for split in splits_of(config)],
        "weights": hashes,
        "leopart": _leopart(),
    }
    word = Path(backbone).name if Path(backbone).is_dir() else _word(backbone)
    return out / "scores" / f"{config.task}-{name}-{word}-{_key(parts)}.json"


def splits_of(config: EvaluateConfig) -> list[str | None]:
    """Lists of the data set that an evaluation reads, the scored one first; None = all of a folder."""
    splits = [scored_split(config)]
    if isinstance(config, TrainedConfig):
        splits.append(learned_split(config))
    if isinstance(config, ForegroundConfig):
        splits += [split for split in (config.tune_split, config.cluster_split) if split is not None]
    return splits


def _numbers_of(config: EvaluateConfig) -> str:
    """The numbers behind the name of a preset, and the engine that `auto` chooses."""
    if isinstance(config, HeadConfig):
        return repr(head_recipe_of(config, config.backbone))
    if isinstance(config, UnsupervisedConfig):
        return f"{published(config.preset)} {engine_name(config.communities)}"
    return repr(published(config.preset)) if isinstance(config, ForegroundConfig) else ""


def _leopart() -> str:
    return versions()["leopart"]


def _listed(photos: Iterable[Photo]) -> list[tuple[str, int]]:
    """Names and sizes of files: enough to notice other files without reading them."""
    return [(photo.name, photo.path.stat().st_size) for photo in photos]


def _labelled(config: EvaluateConfig, split: str | None) -> list[list[tuple[str, int]]]:
    """Names and sizes of the photos and masks of a list; None = all of a folder."""
    pairs = labelled_photos(config.data, config.masks, split).pairs
    return [_listed(photo for photo, _ in pairs), [(mask.name, mask.stat().st_size) for _, mask in pairs]]


def _word(name: str) -> str:
    """The name of a backbone as part of a file name."""
    return Path(name).stem.replace(":", "-") or "backbone"


def _key(parts: dict[str, Any]) -> str:
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:12]

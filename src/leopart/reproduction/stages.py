"""Trainings and evaluations that are done once: each has a key made of everything that decides its outcome.

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

from leopart.config import TASKS, TrainConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.photos import Photo
from leopart.evaluation.pipeline import evaluate
from leopart.evaluation.report import read_report
from leopart.files import write_text
from leopart.progress import Track
from leopart.recipe import Recipe, recipe_of
from leopart.reproduction.setting import Job, weights_hash
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.pipeline import train
from leopart.training.reporting import Watcher

_FINISHED = "finished.json"


@dataclass(frozen=True)
class Machine:
    """Where and how stages run; nothing here may change what comes out.

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


def network_of(job: Job, machine: Machine) -> tuple[str, bool]:
    """The backbone of a job, trained if it must be.

    Returns:
        What `--backbone` takes, and whether it was there already.

    Raises:
        LeopartError: weights or photos cannot be had, or the training fails.
        Interrupted: see there.
    """
    if job.recipe is None:
        return job.backbone, True
    run = _run_folder(job, machine.out)
    if (run / _FINISHED).is_file():
        return str(run), True
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
    return str(run), False


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
        where["cache"] = machine.out / "features"
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
    parts = {
        "recipe": recipe_of(job.recipe or Recipe()),
        "photos": photos,
        "start": weights_hash(job.backbone),
    }
    return out / "networks" / f"{_word(job.backbone)}-{_key(parts)}"


def _scores_file(options: dict[str, Any], backbone: str, out: Path) -> Path:
    """Named by task, data set and network; the key tells what else there is."""
    name = options["data"].partition(":")[0]
    lists = {
        split: _labelled(options, split)
        for split in {options.get("split"), options.get("train_split"), options.get("tune_split")}
        if split is not None or name != "folder"
    }
    hashes = [weights_hash(one) for one in (backbone, options.get("attention_backbone")) if one]
    plain = {
        key: str(value)
        for key, value in sorted(options.items())
        if key not in ("data", "split", "train_split")
    }
    parts = {
        "options": plain,
        "set": name,
        "photos": {str(k): v for k, v in lists.items()},
        "weights": hashes,
    }
    word = Path(backbone).name if Path(backbone).is_dir() else _word(backbone)
    return out / "scores" / f"{options['task']}-{name}-{word}-{_key(parts)}.json"


def _listed(photos: Iterable[Photo]) -> list[tuple[str, int]]:
    """Names and sizes of files: enough to see that they are others, without reading them."""
    return [(photo.name, photo.path.stat().st_size) for photo in photos]


def _labelled(options: dict[str, Any], split: str | None) -> list[list[tuple[str, int]]]:
    """The same of photos and masks of a split."""
    pairs = labelled_photos(options["data"], options.get("masks", "masks"), split).pairs
    masks = [(mask.name, mask.stat().st_size) for _, mask in pairs]
    return [_listed(photo for photo, _ in pairs), masks]


def _word(name: str) -> str:
    """A backbone's name as a part of a file name."""
    return Path(name).stem.replace(":", "-") or "backbone"


def _key(parts: dict[str, Any]) -> str:
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:12]

"""The work of `leopart train`: a run folder that can be interrupted, resumed and used as a backbone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import yaml

from leopart.config import TrainConfig
from leopart.data.datasets.unlabelled import EXPECTED, training_photos
from leopart.data.photos import Photo
from leopart.documents import read_json, read_yaml
from leopart.errors import LeopartError
from leopart.files import put_back, write_text
from leopart.locks import locked
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.device import pick_device
from leopart.models.tuned import detached, save_tuned
from leopart.processes import is_first_process
from leopart.recipe import Recipe, recipe_of
from leopart.run_record import settings_of, versions
from leopart.training.checkpoints import FOLDER, LAST, read_checkpoint
from leopart.training.hardware import Hardware, precision_name
from leopart.training.reporting import Loggers, Watcher, nobody
from leopart.training.run import Keeping, Length, Trained, check_fit, fit, length_of
from leopart.training.validation import Validation, labelled_sample, sheet_of

_CONFIG, _RECORD = "config.yaml", "run.json"
#: Options that say how far to go this time, not what is trained.
_NOT_SETTINGS = ("resume", "stop_at")
#: Steps between two states or contact sheets, at least.
_LEAST_APART = 50


def train(config: TrainConfig, *, watcher: Watcher = nobody) -> Trained:
    """Fine-tune a backbone as `leopart train` does.

    Under SLURM a job that was put back into the queue resumes by itself. Of several processes, the first one
    writes and talks.

    Returns:
        What came out; RUN holds the backbone, see `leopart.training.run`.

    Raises:
        LeopartError: data, backbone, settings or the run folder do not fit each other; see `fit`.
    """
    config.check()
    if not is_first_process():  # the first one holds the folder for all
        return _trained(config, nobody, first=False)
    state = config.out / FOLDER / LAST
    with (
        locked(config.out),
        put_back(config.out / _CONFIG, unless=state.is_file),
        put_back(config.out / _RECORD, unless=state.is_file),
    ):
        return _trained(config, watcher, first=True)


def _trained(config: TrainConfig, watcher: Watcher, *, first: bool) -> Trained:
    resume = config.resume or int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    photos = training_photos(config.data)
    backbone = load_backbone(config.backbone)
    check_fit(config, backbone)
    hardware = _hardware(config)
    length = length_of(config, len(photos), hardware.world)
    record = {"photos": len(photos), "photos sha256": _names_hash(photos), "backbone": backbone.fingerprint}
    done = _prepare_folder(config, resume, record, backbone, write=first)
    _tell_beginning(config, watcher, length, len(photos), done, resume)
    loggers = Loggers.open(config.out, done, config.wandb) if first else Loggers()

    def export(student: Backbone) -> None:
        save_tuned(detached(student, config.out.resolve().name, _how(config, len(photos))), config.out)

    try:
        looks = [_validation(config, photos, backbone, loggers, watcher, length.epoch)] if first else []
        return fit(
            backbone,
            photos,
            Recipe(**recipe_of(config)),
            hardware,
            keeping=Keeping(
                config.out,
                save_every=_apart(config.save_every, length.epoch, _LEAST_APART),
                keep_every=_apart(config.keep_every, length.epoch, 10 * _LEAST_APART) or None,
                resume=done > 0,
                stop_at=config.stop_at,
            ),
            callbacks=looks,
            export=export,
            loggers=loggers,
            watcher=watcher,
        )
    finally:
        loggers.close()


def _tell_beginning(
    config: TrainConfig, watcher: Watcher, length: Length, photos: int, done: int, resume: bool
) -> None:
    """What a person may not expect."""
    wanted = EXPECTED.get(config.data.partition(":")[0], photos)
    if photos != wanted:
        watcher.note(f"{photos} photos; the paper's runs had {wanted}")
    if length.batch < config.batch_size:
        watcher.note(f"{photos} photos: a batch has {length.batch} of them, not {config.batch_size}")
    if done >= length.steps:
        watcher.note(f"{config.out} is finished: step {done} of {length.steps}")
    elif done:
        watcher.note(f"going on after step {done} of {length.steps}")
    elif resume:
        watcher.note(f"{config.out} has no {FOLDER}/{LAST} yet: beginning at step 0")


def _apart(epochs: int, epoch: int, least: int) -> int:
    """Steps of so many epochs, or of a multiple of them: where epochs are short, each would cost too much.

    Args:
        epochs: 0 gives 0.
        epoch: steps of one.
        least: steps.
    """
    steps = epochs * epoch
    return steps * max(1, -(-least // steps)) if steps else 0


def _hardware(config: TrainConfig) -> Hardware:
    return Hardware(
        device=pick_device(config.device),
        devices=config.devices,
        nodes=config.nodes,
        workers=None if config.workers == "auto" else config.workers,
        augment_on_device=config.augment_on == "gpu",
        compile=config.compile,
    )


def _validation(
    config: TrainConfig,
    photos: Sequence[Photo],
    backbone: Backbone,
    loggers: Loggers,
    watcher: Watcher,
    epoch: int,
) -> pl.Callback:
    labelled = None
    if config.validate is not None:
        labelled = labelled_sample(
            config.validate,
            config.validate_masks,
            config.validate_photos,
            config.validate_k,
            config.validate_ignore,
        )
    sheet = sheet_of(photos, config.out, backbone, config.sheet_photos) if config.sheet_photos else None
    precision = precision_name(config, pick_device(config.device))
    every = _apart(config.validate_every, epoch, _LEAST_APART)
    return Validation(every, sheet, labelled, loggers, watcher, precision)


def _prepare_folder(
    config: TrainConfig, resume: bool, record: dict[str, Any], backbone: Backbone, *, write: bool
) -> int:
    """Check and set up the run folder; the step from which the run goes on."""
    state = config.out / FOLDER / LAST
    if state.is_file() and not resume:
        message = f"{config.out} holds a run already: add --resume to go on with it, or choose another --out"
        raise LeopartError(message)
    done = read_checkpoint(state, mmap=True)["global_step"] if state.is_file() else 0
    if resume and (config.out / _CONFIG).exists():
        _refuse_other_settings(config, record)
    if write:
        settings = {name: value for name, value in settings_of(config).items() if name not in _NOT_SETTINGS}
        write_text(config.out / _CONFIG, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        content = {
            **record,
            "started from": backbone.name,
            "labels used": backbone.spec.labels,
            "versions": versions(),
        }
        write_text(config.out / _RECORD, json.dumps(content, indent=2) + "\n")
    return int(done)


def _refuse_other_settings(config: TrainConfig, record: dict[str, Any]) -> None:
    """A run goes on with its own recipe, photos and backbone, or not at all."""
    remedy = f"{config.out} cannot be resumed, begin another run"
    before = read_yaml(config.out / _CONFIG, dict[str, Any], remedy)
    known = read_json(config.out / _RECORD, dict[str, Any], remedy)
    now = settings_of(config)
    # A run that was begun before there was an option did what its default does.
    before = settings_of(replace(config, **recipe_of(Recipe()))) | before
    changed = [key for key in recipe_of(config) if before.get(key) != now[key]]
    if changed:
        shown = ", ".join(
            f"--{key.replace('_', '-')} was {before.get(key)}, now {now[key]}" for key in changed
        )
        raise LeopartError(
            f"{config.out} was begun with other settings: {shown}; give the old ones or another --out"
        )
    if known.get("photos sha256") != record["photos sha256"]:
        message = (
            f"{config.out} was begun on other photos ({known.get('photos')} then, {record['photos']} now)"
        )
        raise LeopartError(f"{message}: give the same --data or another --out")
    if known.get("backbone") != record["backbone"]:
        raise LeopartError(
            f"{config.out} was begun from other weights of {config.backbone}: choose another --out"
        )


def _names_hash(photos: Sequence[Photo]) -> str:
    return hashlib.sha256("\n".join(photo.name for photo in photos).encode()).hexdigest()


def _how(config: TrainConfig, photos: int) -> str:
    other = "" if config.objective == "leopart" else f"objective {config.objective}, "
    made = f"preset {config.preset}, {other}seed {config.seed}"
    return f"Fine-tuned by Leopart without labels on {photos} photos ({made})."

"""The work of `leopart train`: a run folder that can be interrupted, resumed and used as a backbone."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import lightning.pytorch as pl

from leopart.config import TrainConfig
from leopart.data.datasets.unlabelled import EXPECTED, training_photos
from leopart.data.photos import Photo
from leopart.files import put_back
from leopart.locks import locked
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.device import pick_device
from leopart.models.tuned import detached, save_tuned
from leopart.processes import is_first_process
from leopart.recipe import recipe_of
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.hardware import Hardware, precision_name
from leopart.training.monitoring.loggers import Loggers
from leopart.training.monitoring.progress import ProgressCallback, no_progress
from leopart.training.monitoring.validation import Validation, labelled_sample, sheet_of
from leopart.training.run import Keeping, Length, Monitoring, Trained, check_fit, fit, length_of
from leopart.training.run_folder import CONFIG, RECORD, prepare_folder

#: Steps between two saves or contact sheets, at least.
_LEAST_APART = 50


def train(
    config: TrainConfig,
    *,
    photos: Sequence[Photo] | None = None,
    backbone: Backbone | None = None,
    progress: ProgressCallback = no_progress,
) -> Trained:
    """Fine-tune a backbone as `leopart train` does.

    Under SLURM a job that was put back into the queue resumes by itself. Of several processes, the first one
    writes and reports.

    Args:
        config: options.
        photos: in place of those that `config` names.
        backbone: a loaded one in place of that which `config` names; it stays as it is.
        progress: see `ProgressCallback`.

    Returns:
        The result; RUN holds the backbone, see `leopart.training.run`.

    Raises:
        LeopartError: data, backbone, settings or the run folder do not fit each other; see `fit`.
    """
    config.check()
    if not is_first_process():  # the first one holds the folder for all
        return _trained(config, photos, backbone, no_progress, first=False)
    state = config.out / FOLDER / LAST
    with (
        locked(config.out),
        put_back(config.out / CONFIG, unless=state.is_file),
        put_back(config.out / RECORD, unless=state.is_file),
    ):
        return _trained(config, photos, backbone, progress, first=True)


def _trained(
    config: TrainConfig,
    photos: Sequence[Photo] | None,
    given: Backbone | None,
    progress: ProgressCallback,
    *,
    first: bool,
) -> Trained:
    resume = config.resume or int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    if photos is None:
        photos = training_photos(config.data)
    backbone = load_backbone(config.backbone) if given is None else copy.deepcopy(given).cpu()
    check_fit(config, backbone)
    hardware = _hardware(config)
    length = length_of(config, len(photos), hardware.world)
    done = prepare_folder(config, photos, backbone, resume=resume, write=first)
    _note_beginning(config, progress, length, len(photos), done, resume)
    loggers = Loggers.open(config.out, done, config.wandb) if first else Loggers()

    def export(student: Backbone) -> None:
        save_tuned(detached(student, config.out.resolve().name, _how(config, len(photos))), config.out)

    try:
        validation = [_validation(config, photos, backbone, loggers, progress, length.epoch)] if first else []
        return fit(
            backbone,
            photos,
            recipe_of(config),
            hardware,
            keeping=_keeping(config, length, done),
            monitoring=Monitoring(validation, loggers, progress),
            export=export,
        )
    finally:
        loggers.close()


def _keeping(config: TrainConfig, length: Length, done: int) -> Keeping:
    return Keeping(
        config.out,
        save_every=_apart(config.save_every, length.epoch, _LEAST_APART),
        keep_every=_apart(config.keep_every, length.epoch, 10 * _LEAST_APART) or None,
        resume=done > 0,
        stop_at=config.stop_at,
    )


def _note_beginning(
    config: TrainConfig, progress: ProgressCallback, length: Length, photos: int, done: int, resume: bool
) -> None:
    """Say what a person may not expect."""
    wanted = EXPECTED.get(config.data.partition(":")[0], photos)
    if photos != wanted:
        progress.note(f"{photos} photos; the paper's runs had {wanted}")
    if length.batch < config.batch_size:
        progress.note(f"{photos} photos: a batch has {length.batch} of them, not {config.batch_size}")
    if done >= length.steps:
        progress.note(f"{config.out} is finished: step {done} of {length.steps}")
    elif done:
        progress.note(f"continuing after step {done} of {length.steps}")
    elif resume:
        progress.note(f"{config.out} has no {FOLDER}/{LAST} yet: beginning at step 0")


def _apart(epochs: int, epoch: int, least: int) -> int:
    """Steps of so many epochs, or of a multiple of them: where epochs are short, saving each costs too much.

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
    progress: ProgressCallback,
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
    return Validation(every, sheet, labelled, loggers, progress, precision)


def _how(config: TrainConfig, photos: int) -> str:
    other = "" if config.method == "leopart" else f"method {config.method}, "
    made = f"preset {config.preset}, {other}seed {config.seed}"
    return f"Fine-tuned by Leopart without labels on {photos} photos ({made})."

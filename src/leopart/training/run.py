"""A whole training: photos and settings in, a run folder with a backbone out.

RUN/  config.yaml        settings; `--resume` refuses others
      run.json           photos, backbone and versions
      metrics.jsonl      a line every few steps    tensorboard/   the same, and pictures
      sheets/            clusters of a few photos during training
      checkpoints/       see `leopart.training.checkpoints`
      backbone.safetensors, backbone.json        the student, for `--backbone RUN`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lightning.pytorch as pl
from torch import Tensor

from leopart.data.crops import CropSettings
from leopart.data.photometry import AugmentSettings
from leopart.data.photos import Photo
from leopart.data.views import ViewMaker
from leopart.errors import LeopartError
from leopart.models.backbone import Backbone
from leopart.parallel import workers
from leopart.recipe import Recipe
from leopart.training.checkpoints import FOLDER, LAST, Checkpoints, NonFinite
from leopart.training.hardware import Hardware, compile_blocks, explained, make_trainer
from leopart.training.loading import StreamData
from leopart.training.methods.learner import Learner, Tokens, learner_of
from leopart.training.methods.networks import check_blocks
from leopart.training.methods.tokens import sample_tokens
from leopart.training.module import LeopartModule
from leopart.training.monitoring.loggers import Loggers
from leopart.training.monitoring.progress import ProgressCallback, no_progress
from leopart.training.monitoring.reporting import Reporting
from leopart.training.stopping import Stop
from leopart.training.stream import PhotoFailure, Stream

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Keeping:
    """What a run leaves on disk, in steps.

    Attributes:
        run: its folder.
        save_every: steps between writings of `last.ckpt`.
        keep_every: steps between checkpoints that are kept; None keeps none.
        resume: continue from `last.ckpt`.
        stop_at: save and stop after this step.
        wandb: project at Weights & Biases.
    """

    run: Path
    save_every: int
    keep_every: int | None = None
    resume: bool = False
    stop_at: int | None = None
    wandb: str | None = None


@dataclass(frozen=True)
class Monitoring:
    """What follows a run while it trains.

    Attributes:
        callbacks: more of Lightning's, such as validation; they come before the checkpoints.
        loggers: where figures go.
        progress: see `ProgressCallback`.
    """

    callbacks: Sequence[pl.Callback] = ()
    loggers: Loggers = field(default_factory=Loggers)
    progress: ProgressCallback = no_progress


@dataclass(frozen=True)
class Trained:
    """What came out of a training.

    Attributes:
        backbone: the student, in evaluation mode.
        step: optimiser steps done.
        total: optimiser steps in total.
        failures: photos that could not be read, of all processes, by name.
        interrupted: whether a signal ended it before the last step.
        signal: its number; 0 where there was none.
    """

    backbone: Backbone
    step: int
    total: int
    failures: Sequence[PhotoFailure] = ()
    interrupted: bool = False
    signal: int = 0


@dataclass(frozen=True)
class Length:
    """How long a run is, in its own units.

    Attributes:
        batch: photos of a step, over all processes.
        steps: optimiser steps in total.
        epoch: optimiser steps of a pass over the photos.
    """

    batch: int
    steps: int
    epoch: int


def length_of(recipe: Recipe, photos: int, world: int) -> Length:
    """Batch and steps for this number of photos; a batch larger than the photos is lowered to them.

    Args:
        recipe: says batch, accumulation and epochs or steps.
        photos: at least one.
        world: number of processes.

    Raises:
        LeopartError: the batch cannot be shared out.
    """
    shares = world * recipe.accumulate
    batch = min(recipe.batch_size, photos)
    batch -= batch % shares
    if batch < 1:
        message = (
            f"{min(recipe.batch_size, photos)} photos in a batch cannot be shared by {world} processes and "
            f"{recipe.accumulate} passes: give more photos, or fewer --devices and --accumulate"
        )
        raise LeopartError(message)
    epoch = max(1, photos // batch)
    return Length(batch, recipe.steps or recipe.epochs * epoch, epoch)


def fit(
    backbone: Backbone,
    photos: Sequence[Photo],
    recipe: Recipe,
    hardware: Hardware,
    *,
    keeping: Keeping | None = None,
    monitoring: Monitoring = Monitoring(),
    export: Callable[[Backbone], None] | None = None,
) -> Trained:
    """Fine-tune a backbone on photos.

    Args:
        backbone: becomes the student, in place.
        photos: at least one.
        recipe: see `Recipe`.
        hardware: see `Hardware`.
        keeping: what is kept on disk; None keeps nothing.
        monitoring: see `Monitoring`.
        export: called on the first process with the student's backbone whenever a checkpoint is written, and
            at the end of a run that had ended before.

    Raises:
        LeopartError: the recipe does not fit the backbone or the photos, the loss is not finite, memory is
            short, or no photo can be read.
        KeyboardInterrupt: Ctrl-C came a second time, or before the first step.
    """
    recipe.check()
    check_fit(recipe, backbone)
    length = length_of(recipe, len(photos), hardware.world)
    resume = str(keeping.run / FOLDER / LAST) if keeping is not None and keeping.resume else None
    learner = learner_of(recipe, backbone, None if resume else _tokens(backbone, photos, recipe, hardware))
    if hardware.compile:
        compile_blocks(learner.networks)
    module = LeopartModule(learner, length.steps)
    reporting = Reporting(monitoring.progress, monitoring.loggers, length.batch, length.epoch)
    stop = Stop(at=keeping.stop_at if keeping else None)
    saving = [] if keeping is None else _saving(keeping, learner, export)
    callbacks = [stop, reporting, *monitoring.callbacks, *saving]
    trainer = make_trainer(recipe, hardware, length.steps, callbacks)
    with explained(length.batch, recipe.accumulate, hardware.world):
        trainer.fit(module, _data(photos, recipe, hardware, length), ckpt_path=resume)
    student = learner.networks.backbone.eval().requires_grad_(False)
    failures = [reporting.failures[name] for name in sorted(reporting.failures)]
    interrupted = stop.signal is not None and trainer.global_step < module.total_steps
    number = int(stop.signal) if stop.signal is not None and interrupted else 0
    return Trained(student, trainer.global_step, module.total_steps, failures, interrupted, number)


def _tokens(backbone: Backbone, photos: Sequence[Photo], recipe: Recipe, hardware: Hardware) -> Tokens:
    """Tokens of some photos, for a learner that starts from them."""

    def tokens() -> Tensor:
        if hardware.world == 1:
            backbone.to(hardware.device)
        return sample_tokens(backbone, photos, recipe.global_size, recipe.seed)

    return tokens


def _saving(
    keeping: Keeping, learner: Learner, export: Callable[[Backbone], None] | None
) -> list[pl.Callback]:
    to_export = None if export is None else (lambda: export(learner.networks.backbone))
    return [
        NonFinite(keeping.run),
        Checkpoints(keeping.run, keeping.save_every, keeping.keep_every, to_export),
    ]


def check_fit(recipe: Recipe, backbone: Backbone) -> None:
    """Refuse a recipe that this network cannot follow.

    Raises:
        LeopartError: it is a ResNet or has fewer blocks; crops do not divide into patches (names the nearest
            size).
    """
    check_blocks(backbone, None if recipe.train_blocks == "all" else recipe.train_blocks)
    patch = backbone.patch_size
    for name in ("global_size", "local_size") if recipe.crops[1] else ("global_size",):
        size = getattr(recipe, name)
        if size % patch:
            near = max(1, round(size / patch)) * patch
            option = name.replace("_", "-")
            message = (
                f"--{option} {size} does not divide into patches of {patch} ({backbone.name}): give {near}"
            )
            raise LeopartError(message)


def view_maker(recipe: Recipe) -> ViewMaker:
    """The views that a recipe asks for."""
    global_crops, local_crops = recipe.crops
    return ViewMaker(
        CropSettings(
            global_crops=global_crops,
            local_crops=local_crops,
            global_size=recipe.global_size,
            local_size=recipe.local_size,
            global_scale=recipe.global_scale,
            local_scale=recipe.local_scale,
            min_overlap=recipe.min_overlap,
        ),
        AugmentSettings(
            jitter_strength=recipe.jitter, blur_strength=recipe.blur, untouched=recipe.settings.UNTOUCHED
        ),
    )


def _data(photos: Sequence[Photo], recipe: Recipe, hardware: Hardware, length: Length) -> StreamData:
    count = hardware.workers
    if count is None:  # on the CPU the network has the cores, and one process keeps ahead of it
        count = 1 if hardware.device.type == "cpu" else min(_MOST_WORKERS, max(1, workers()))
    return StreamData(
        photos,
        Stream(len(photos), length.batch, recipe.seed),
        view_maker(recipe),
        steps=length.steps,
        parts=recipe.accumulate,
        workers=count,
        on_device=hardware.augment_on_device,
    )

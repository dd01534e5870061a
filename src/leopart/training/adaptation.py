"""Adapt a backbone to a folder of photos in a few minutes, without labels.

The recipe follows from the number of photos and the machine, the number of steps from the time allowed and
the measured speed; the run ends early when student and teacher stop to agree better.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import TypedDict

from leopart.data.photos import Photo
from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.tuned import detached, save_tuned
from leopart.presets import adaptation
from leopart.recipe import Recipe, learning_options, renamed
from leopart.settings import updated
from leopart.training.budget import Budget
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.hardware import Hardware
from leopart.training.monitoring.contact_sheet import ContactSheet
from leopart.training.monitoring.loggers import METRICS, Loggers, MetricsFile
from leopart.training.monitoring.progress import ProgressCallback, StepReport, no_progress
from leopart.training.monitoring.validation import sheet_of, tokens_by
from leopart.training.run import Keeping, Monitoring, fit
from leopart.training.stream import PhotoFailure

_RECORD = "adaptation.json"
_SHEET_PHOTOS = 8


@dataclass(frozen=True)
class AdaptationPlan:
    """What is asked of an adaptation, besides network and photos.

    Attributes:
        minutes: time for training, above 0.
        device: where to train.
        seed: of every random choice. At another speed the number of steps may differ, and so the weights.
        recipe: None = `leopart.presets.adaptation` for this machine and number of photos.
        replace_other: replace what another call left in the folder, instead of refusing it.
        method: of the recipe that is not given, see `Recipe.method`.
    """

    minutes: float
    device: torch.device
    seed: int = 0
    recipe: Recipe | None = None
    replace_other: bool = True
    method: str = "leopart"


@dataclass(frozen=True)
class Adapted:
    """What came out of an adaptation.

    Attributes:
        backbone: fine-tuned on the photos, frozen; as `load_backbone(folder)` gives it, unless
            interrupted.
        recipe: what it was trained with.
        minutes: it was allowed.
        steps: optimiser steps done.
        seconds: they took.
        stopped_early: whether it ended because the diagnostics had stopped improving.
        before: contact sheet of clusters before training, RGB uint8 [H, W, 3]; None where no photo could be
            read.
        after: the same after training; None after an interruption too.
        failures: photos that could not be read.
        interrupted: whether a signal ended it; its state is kept, and the same call continues.
        signal: its number; 0 where there was none.
    """

    backbone: Backbone
    recipe: Recipe
    minutes: float
    steps: int
    seconds: float
    stopped_early: bool
    before: NDArray[np.uint8] | None = None
    after: NDArray[np.uint8] | None = None
    failures: Sequence[PhotoFailure] = ()
    interrupted: bool = False
    signal: int = 0


def adapt(
    backbone: str | Path | Backbone,
    photos: Sequence[Photo],
    folder: Path,
    plan: AdaptationPlan,
    *,
    progress: ProgressCallback = no_progress,
) -> Adapted:
    """Fine-tune a backbone on photos for so many minutes, or less where less is enough.

    Args:
        backbone: what `load_backbone` takes, or a loaded one, which stays as it is.
        photos: at least one.
        folder: for the state, from which the same call continues after an interruption, and for the result.
        plan: see there.
        progress: called once the number of steps is known. Photos that fail are in the result.

    Raises:
        LeopartError: the backbone is a ResNet, no photo can be read, memory is short, or `folder` cannot be
            written or holds something else.
    """
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone, device=plan.device)
    recipe = plan.recipe or updated(_recipe(loaded, len(photos), plan.device), method=plan.method)
    recipe = replace(recipe, backbone=loaded.source, seed=plan.seed)
    asked = {"recipe": learning_options(recipe), "minutes": plan.minutes, "backbone": loaded.fingerprint}
    state = _State.open(
        folder, asked | {"photos": [_identity(photo) for photo in photos]}, plan.replace_other
    )
    sheet = sheet_of(photos, folder, loaded, _SHEET_PHOTOS)
    before = _drawn(sheet, 0, loaded)
    if state.done:
        adapted = load_backbone(folder)
    else:
        adapted, state = _train(loaded, photos, recipe, plan, state, progress)
    return Adapted(
        adapted,
        recipe,
        plan.minutes,
        state.steps,
        state.seconds,
        state.stopped_early,
        before,
        _drawn(sheet, state.steps, adapted.to(plan.device)) if state.done else None,
        [PhotoFailure(*failure) for failure in state.failures],
        not state.done,
        state.signal,
    )


def _recipe(backbone: Backbone, photos: int, device: torch.device) -> Recipe:
    """The preset, for a network with fewer blocks than it trains too."""
    recipe = adaptation(photos, device.type, backbone.patch_size)
    if recipe.train_blocks != "all" and recipe.train_blocks > backbone.spec.depth:
        return replace(recipe, train_blocks="all")
    return recipe


def _identity(photo: Photo) -> list[str | int]:
    """Changes when a photo is replaced by another one."""
    with suppress(OSError):
        stat = photo.path.stat()
        return [photo.name, stat.st_size, stat.st_mtime_ns]
    return [photo.name]


class _Record(TypedDict):
    """`adaptation.json`."""

    asked: dict[str, Any]
    steps: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    stopped_early: bool
    failures: list[tuple[str, str]]
    done: bool


@dataclass
class _State:
    """How far an adaptation has come; `adaptation.json` in its folder."""

    path: Path
    asked: dict[str, Any]
    steps: int = 0
    seconds: float = 0.0
    stopped_early: bool = False
    failures: Sequence[tuple[str, str]] = ()
    done: bool = False
    signal: int = 0  # what ended this call; of no interest to the next one

    @classmethod
    def open(cls, folder: Path, asked: dict[str, Any], replace_other: bool) -> _State:
        """What the same call has left in the folder; anything else there is removed, or refused."""
        path = folder / _RECORD
        asked = json.loads(json.dumps(asked))
        if path.is_file():
            with suppress(LeopartError, LookupError, TypeError, ValueError, AttributeError):  # damaged
                found: dict[str, Any] = dict(read_json(path, _Record, f"delete {folder}"))
                if _as_today(found.pop("asked")) == asked:
                    return cls(path, asked, **found)
            if not replace_other:
                message = f"{folder} holds an adaptation to other photos or with other settings"
                raise LeopartError(f"{message}: choose another folder or delete it")
            shutil.rmtree(folder)
        state = cls(path, asked)
        state.write()
        return state

    def write(self) -> None:
        content = {key: value for key, value in asdict(self).items() if key not in ("path", "signal")}
        write_text(self.path, json.dumps(content, indent=2) + "\n")


def _as_today(asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, as today's version writes it down."""
    recipe = learning_options(updated(Recipe(), **renamed(asked["recipe"])))
    return json.loads(json.dumps(asked | {"recipe": recipe}))  # type: ignore[no-any-return]


def _train(
    backbone: Backbone,
    photos: Sequence[Photo],
    recipe: Recipe,
    plan: AdaptationPlan,
    state: _State,
    progress: ProgressCallback,
) -> tuple[Backbone, _State]:
    folder, budget = state.path.parent, Budget(60 * plan.minutes, state.seconds)
    resume = (folder / FOLDER / LAST).is_file()
    loggers = Loggers(MetricsFile(folder / METRICS, state.steps if resume else 0))
    with _cudnn_as_it_is():
        trained = fit(
            copy.deepcopy(backbone),
            photos,
            recipe,
            Hardware(device=plan.device),
            keeping=Keeping(folder, save_every=10**9, resume=resume),
            monitoring=Monitoring([budget], loggers, _OncePlanned(progress, budget)),
        )
    state = replace(
        state,
        steps=trained.step,
        seconds=budget.seconds,
        stopped_early=budget.stopped_early,
        failures=[(failure.name, failure.reason) for failure in trained.failures],
        done=not trained.interrupted,
        signal=trained.signal,
    )
    name = f"{backbone.name.removesuffix('+adapted')}+adapted"
    made = f"{trained.step} steps, seed {recipe.seed}"
    how = f"Adapted by Leopart without labels to {len(photos)} photos ({made})."
    return _finished(detached(trained.backbone, name, how), folder, state), state


def _finished(adapted: Backbone, folder: Path, state: _State) -> Backbone:
    """Write the state; and the backbone, if training is done."""
    if not state.done:
        state.write()
        return adapted
    save_tuned(adapted, folder)
    adapted = load_backbone(folder)  # whose fingerprint is that of the file, here and wherever it goes
    state.write()
    shutil.rmtree(folder / FOLDER)  # several times as large as the backbone, and of no more use
    return adapted


@contextmanager
def _cudnn_as_it_is() -> Iterator[None]:
    """Training lets cuDNN look for the fastest way; features must not depend on what it finds."""
    before = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class _OncePlanned:
    """Passes reports on once they know the time that is left; photos that fail are in the result."""

    def __init__(self, progress: ProgressCallback, budget: Budget) -> None:
        self.progress, self.budget = progress, budget

    def report(self, report: StepReport) -> None:
        if self.budget.planned or report.step == report.total:
            self.progress.report(report)

    def note(self, text: str) -> None:
        """Do nothing."""


def _drawn(sheet: ContactSheet | None, step: int, backbone: Backbone) -> NDArray[np.uint8] | None:
    return None if sheet is None else sheet.add(step, tokens_by(backbone))

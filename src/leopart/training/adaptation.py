"""Adapt a backbone to a folder of photos in a few minutes: settings, length and end are found without labels.

The photos' number and the machine choose the recipe; the time allowed and the measured speed choose the
number of steps; and the run ends early once student and teacher agree no better than before.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import TypedDict

from leopart.data.photos import Photo
from leopart.documents import read_json
from leopart.errors import LeopartError
from leopart.files import write_text
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.tuned import detached, save_tuned
from leopart.presets import adaptation
from leopart.recipe import Recipe
from leopart.training.checkpoints import FOLDER, LAST
from leopart.training.contact_sheet import ContactSheet
from leopart.training.data import PhotoFailure
from leopart.training.hardware import Hardware
from leopart.training.module import LeopartModule
from leopart.training.reporting import METRICS, Loggers, MetricsFile, Report, Watcher, nobody
from leopart.training.run import Keeping, fit
from leopart.training.validation import sheet_of

_RECORD = "adaptation.json"
_SHEET_PHOTOS = 8


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
        stopped_early: whether it ended because health had stopped improving.
        before: contact sheet of clusters before, RGB uint8 [H, W, 3]; None where no photo could be read.
        after: the same afterwards; None after an interruption too.
        failures: photos that could not be read.
        interrupted: whether a signal ended it; its state is kept, and the same call goes on.
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
    *,
    minutes: float,
    device: torch.device,
    seed: int = 0,
    recipe: Recipe | None = None,
    replace_other: bool = True,
    watcher: Watcher = nobody,
) -> Adapted:
    """Fine-tune a backbone on photos for so many minutes, or less where less is enough.

    Args:
        backbone: what `load_backbone` takes, or a loaded one, which stays as it is.
        photos: at least one.
        folder: for the state, from which the same call goes on after an interruption, and for the result.
        minutes: time for training, above 0.
        device: where to train.
        seed: of every random choice. At another speed the number of steps may differ, and so the weights.
        recipe: None = `leopart.presets.adaptation` for this machine and number of photos.
        replace_other: put this adaptation in the place of what another call left in `folder`, instead of
            refusing it.
        watcher: who is told, once the number of steps is known. Photos that fail are in the result.

    Raises:
        LeopartError: the backbone is a ResNet, no photo can be read, memory is short, or `folder` cannot be
            written or holds something else.
    """
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone, device=device)
    recipe = replace(recipe or _recipe(loaded, len(photos), device), backbone=loaded.source, seed=seed)
    asked = {"recipe": asdict(recipe), "minutes": minutes, "backbone": loaded.fingerprint}
    state = _State.open(folder, asked | {"photos": [_identity(photo) for photo in photos]}, replace_other)
    sheet = sheet_of(photos, folder, loaded, _SHEET_PHOTOS)
    before = _drawn(sheet, 0, loaded)
    if state.done:
        adapted = load_backbone(folder)
    else:
        budget = Budget(60 * minutes, state.seconds)
        adapted, state = _train(loaded, photos, recipe, device, folder, state, budget, watcher)
    return Adapted(
        adapted,
        recipe,
        minutes,
        state.steps,
        state.seconds,
        state.stopped_early,
        before,
        _drawn(sheet, state.steps, adapted.to(device)) if state.done else None,
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
            with suppress(LeopartError):  # damaged: begin anew
                found = read_json(path, _Record, f"delete {folder}")
                if found["asked"] == asked:
                    return cls(path, **found)
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


def _train(
    backbone: Backbone,
    photos: Sequence[Photo],
    recipe: Recipe,
    device: torch.device,
    folder: Path,
    state: _State,
    budget: Budget,
    watcher: Watcher,
) -> tuple[Backbone, _State]:
    name = f"{backbone.name.removesuffix('+adapted')}+adapted"
    resume = (folder / FOLDER / LAST).is_file()
    with _cudnn_as_it_is():
        trained = fit(
            copy.deepcopy(backbone),
            photos,
            recipe,
            Hardware(device=device),
            keeping=Keeping(folder, save_every=10**9, resume=resume),
            callbacks=[budget],
            loggers=Loggers(MetricsFile(folder / METRICS, state.steps if resume else 0)),
            watcher=_OncePlanned(watcher, budget),
        )
    made = f"{trained.step} steps, seed {recipe.seed}"
    how = f"Adapted by Leopart without labels to {len(photos)} photos ({made})."
    adapted = detached(trained.backbone, name, how)
    state = replace(
        state,
        steps=trained.step,
        seconds=budget.seconds,
        stopped_early=budget.stopped_early,
        failures=[(failure.name, failure.reason) for failure in trained.failures],
        done=not trained.interrupted,
        signal=trained.signal,
    )
    if state.done:
        save_tuned(adapted, folder)
        adapted = load_backbone(folder)  # whose fingerprint is that of the file, here and wherever it goes
    state.write()
    if state.done:
        shutil.rmtree(folder / FOLDER)  # several times as large as the backbone, and of no more use
    return adapted, state


@contextmanager
def _cudnn_as_it_is() -> Iterator[None]:
    """Training lets cuDNN look for the fastest way; features must not depend on what it finds."""
    before = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


class _OncePlanned:
    """Passes reports on once they tell the time that is left; photos that fail are not told here."""

    def __init__(self, watcher: Watcher, budget: Budget) -> None:
        self.watcher, self.budget = watcher, budget

    def report(self, report: Report) -> None:
        if self.budget.planned or report.step == report.total:
            self.watcher.report(report)

    def note(self, text: str) -> None:
        """Say nothing."""


class Budget(pl.Callback):
    """Fits a run into a time: measures its speed, sets the number of steps, and may end it early.

    Early: student and teacher are compared every few steps (the share of tokens whose best prototype is the
    same). If the last third of the comparisons is no better than the third before, the learning rates fall to
    their end within a tenth of the steps done, and the run ends.

    Args:
        limit: seconds for all.
        spent: seconds used before, by a run that was interrupted.

    Attributes:
        seconds: used so far, `spent` included.
        stopped_early: whether the run was ended early.
    """

    #: Steps whose speed is measured, after one that warms up.
    MEASURED = 6
    #: Fewer steps than this are done whatever the time.
    FEWEST = 20
    #: Comparisons that a third must have before the end is thought of.
    PATIENCE = 8

    def __init__(self, limit: float, spent: float = 0.0) -> None:
        self.limit, self.spent = limit, spent
        self.planned = self.stopped_early = False
        self.agreements: list[float] = []
        self._begun = self._warm = time.perf_counter()
        self._done = 0

    @property
    def seconds(self) -> float:
        """Used so far."""
        return self.spent + time.perf_counter() - self._begun

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on has to know."""
        return {
            "planned": self.planned,
            "stopped_early": self.stopped_early,
            "agreements": list(self.agreements),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.planned, self.stopped_early = state_dict["planned"], state_dict["stopped_early"]
        self.agreements = list(state_dict["agreements"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock runs; a run that goes on keeps its number of steps."""
        self._begun = time.perf_counter()
        if self.planned:
            self._plan(trainer, pl_module, _module(pl_module).total_steps)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, plan, and see whether it still gets better."""
        del outputs, batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        module, now = _module(pl_module), time.perf_counter()
        self._done += 1
        if self._done == 1:
            self._warm = now
        elif not self.planned and trainer.global_step > self.MEASURED:
            step = (now - self._warm) / (self._done - 1)
            left = max(0.0, self.limit - self.seconds)
            self._plan(trainer, module, max(self.FEWEST, trainer.global_step + int(left / step)))
        if module.last is not None and "agreement" in module.last.health and not self.stopped_early:
            self.agreements.append(float(module.last.health["agreement"]))
            if self._is_settled():
                self.stopped_early = True
                self._plan(trainer, module, trainer.global_step + max(1, trainer.global_step // 10))

    def _is_settled(self) -> bool:
        third = len(self.agreements) // 3
        if third < self.PATIENCE:
            return False
        before, now = self.agreements[-2 * third : -third], self.agreements[-third:]
        return sum(now) <= sum(before)

    def _plan(self, trainer: pl.Trainer, pl_module: pl.LightningModule, steps: int) -> None:
        """The run and its schedules end after `steps`, or where they would have anyway."""
        module = _module(pl_module)
        self.planned = True
        module.total_steps = min(steps, module.total_steps)
        trainer.fit_loop.epoch_loop.max_steps = module.total_steps


def _module(pl_module: pl.LightningModule) -> LeopartModule:
    assert isinstance(pl_module, LeopartModule)  # noqa: S101 - narrows the type
    return pl_module


def _drawn(sheet: ContactSheet | None, step: int, backbone: Backbone) -> NDArray[np.uint8] | None:
    if sheet is None:
        return None

    device = next(backbone.parameters()).device

    @torch.no_grad()
    def tokens_of(images: Tensor) -> Tensor:
        return torch.cat([backbone(image[None].to(device)).tokens for image in images])

    return sheet.add(step, tokens_of)

"""Photos, a recipe and a network so small that a step of training takes a few hundredths of a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from leopart.config import TrainConfig
from leopart.data.photos import Photo, find_photos
from leopart.models.backbone import Backbone, load_backbone
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.checkpoints import FOLDER, LAST, read_checkpoint
from leopart.training.hardware import Hardware
from leopart.training.monitoring.loggers import METRICS, Loggers, MetricsFile
from leopart.training.monitoring.progress import ProgressCallback, StepReport, no_progress
from leopart.training.run import Keeping, Monitoring, Trained, fit

TINY = updated(
    Recipe(),
    global_size=32,
    local_size=16,
    local_crops=2,
    prototypes=7,
    head_hidden=16,
    head_out=8,
    queue=50,
    roi_bins=3,
    batch_size=4,
    steps=6,
    lr=1e-3,
    lr_head=1e-2,
    momentum=0.9,
    drop_path=0.3,
    seed=5,
)
"""Crops of 4 x 4 and 2 x 2 tokens; large steps, so that a difference shows."""


def paint(folder: Path, count: int, height: int = 44, width: int = 56) -> Path:
    """Photos of a disc on a noisy ground, PNG so that they are the same everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        generator = np.random.default_rng(index)
        disc = (y - generator.integers(10, 30)) ** 2 + (x - generator.integers(10, 40)) ** 2 < 120
        pixels = generator.integers(0, 90, (height, width, 3)) + disc[..., None] * generator.integers(
            0, 160, 3
        )
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:02d}.png")
    return folder


@dataclass
class Heard:
    """A progress callback that remembers."""

    reports: list[StepReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self, report: StepReport) -> None:
        self.reports.append(report)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return TINY


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten photos. Not to be changed."""
    return paint(tmp_path_factory.mktemp("gallery") / "photos", 10)


@pytest.fixture(scope="session")
def photos(gallery: Path) -> list[Photo]:
    return find_photos([gallery])


@pytest.fixture(scope="session")
def paint_photos() -> Callable[..., Path]:
    return paint


@pytest.fixture
def fresh(tiny_weights: Path) -> Callable[[], Backbone]:
    """The tiny backbone, new each time: training changes it in place."""
    return lambda: load_backbone(tiny_weights)


@pytest.fixture
def train_tiny(fresh: Callable[[], Backbone], photos: list[Photo]) -> Callable[..., Trained]:
    """`fit` with metrics in the run's folder, as `leopart train` calls it."""

    def train(
        recipe: Recipe = TINY,
        run: Path | None = None,
        *,
        on: Sequence[Photo] = photos,
        workers: int = 0,
        resume: bool = False,
        stop_at: int | None = None,
        save_every: int = 10**9,
        keep_every: int | None = None,
        hardware: dict[str, Any] | None = None,
        callbacks: Sequence[pl.Callback] = (),
        progress: ProgressCallback = no_progress,
        export: Callable[[Backbone], None] | None = None,
    ) -> Trained:
        machine = Hardware(workers=workers, **hardware or {})
        if run is None:
            monitoring = Monitoring(callbacks, progress=progress)
            return fit(fresh(), on, recipe, machine, monitoring=monitoring, export=export)
        keeping = Keeping(run, save_every, keep_every, resume, stop_at)
        start = read_checkpoint(run / FOLDER / LAST)["global_step"] if resume else 0
        monitoring = Monitoring(callbacks, Loggers(MetricsFile(run / METRICS, start)), progress)
        return fit(fresh(), on, recipe, machine, keeping=keeping, monitoring=monitoring, export=export)

    return train


@pytest.fixture
def tiny_config(tiny_weights: Path, gallery: Path) -> Callable[..., TrainConfig]:
    """What `leopart train` makes of its options, with the tiny recipe."""

    def make(out: Path, *, data: str | None = None, **changes: Any) -> TrainConfig:
        config = TrainConfig(
            preset="dev",
            data=data or f"folder:{gallery}",
            out=out,
            device="cpu",
            workers=0,
            sheet_photos=0,
            **vars(updated(TINY, backbone=str(tiny_weights))),
        )
        return updated(config, **changes)

    return make


@pytest.fixture(scope="session")
def state_of() -> Callable[[Path], dict[str, Any]]:
    """Everything that training goes on from in a run's last checkpoint, by name."""

    def read(run: Path) -> dict[str, Any]:
        content = read_checkpoint(run / FOLDER / LAST)
        parts = {f"state {name}": value for name, value in content["state_dict"].items()}
        optimiser = content["optimizer_states"][0]
        for index, moments in optimiser["state"].items():
            parts |= {f"moment {index} {name}": value for name, value in moments.items()}
        parts["groups"] = optimiser["param_groups"]
        parts["step"] = content["global_step"]
        parts["callbacks"] = content["callbacks"]
        return parts

    return read


@pytest.fixture(scope="session")
def same_to_the_bit() -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def compare(ours: dict[str, Any], expected: dict[str, Any]) -> None:
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            same = torch.equal(ours[name], value) if isinstance(value, torch.Tensor) else ours[name] == value
            assert same, name

    return compare


@pytest.fixture(scope="session")
def lines_of() -> Callable[[Path], list[dict[str, float]]]:
    """`metrics.jsonl` without the figures that a clock has a part in."""

    def read(run: Path) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
        for line in lines:
            line.pop("images_per_second", None)
            line.pop("data_wait", None)
        return lines

    return read

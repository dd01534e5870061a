"""Small photos, and commands with a random backbone, so that a whole run takes a third of a second."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from leopart.cli.main import main
from leopart.recipe import Recipe


@dataclass(frozen=True)
class Ran:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


def run_command(*words: object) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Ran(status, out.getvalue(), err.getvalue())


def draw_photo(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """A red ball on a blue box before a dark, noisy wall, somewhere."""
    generator = np.random.default_rng(seed)
    wall = 40 + 30 * generator.random((height, width, 3))
    photo = Image.fromarray(wall.astype(np.uint8))
    x, y = (int(v) for v in generator.integers(4, 20, 2))
    draw = ImageDraw.Draw(photo)
    draw.ellipse((x, y, x + 16, y + 16), fill=(220, 60, 40))
    draw.rectangle((x, y + 16, x + 16, y + 26), fill=(40, 60, 220))
    return photo


def draw_photos(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        draw_photo(seed).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def run() -> Callable[..., Ran]:
    """The command line, in this process: `run("segment", folder, "--out", out)`."""
    return run_command


@pytest.fixture(scope="session")
def quick(tiny_weights: Path) -> tuple[str, ...]:
    """Options that make a run quick."""
    size = ("--size", "64", "--parts", "6", "--objects", "2", "--contexts", "yes")
    return ("--backbone", str(tiny_weights), *size, "--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="session")
def draw() -> Callable[..., Image.Image]:
    return draw_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photos."""
    return draw_photos(tmp_path / "photos", 6)


@pytest.fixture(scope="session")
def segmented(tmp_path_factory: pytest.TempPathFactory, quick: tuple[str, ...]) -> Path:
    """What `segment` left behind for six photos, which lie in `photos` beside it. Not to be changed."""
    folder = tmp_path_factory.mktemp("segmented")
    ran = run_command(
        "segment",
        draw_photos(folder / "photos", 6),
        "--out",
        folder / "out",
        *quick,
        "--contexts",
        "yes",
        "--quiet",
    )
    assert (ran.status, ran.err) == (0, "")
    return folder / "out"


@pytest.fixture(scope="session")
def adapted(
    tmp_path_factory: pytest.TempPathFactory, segmented: Path, quick: tuple[str, ...], short_recipe: Recipe
) -> Path:
    """What `segment --adapt` left behind for the photos of `segmented`. Not to be changed."""
    out = tmp_path_factory.mktemp("adapted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leopart.training.adaptation.adaptation", lambda *_: short_recipe)
        ran = run_command("segment", segmented.parent / "photos", "--out", out, *quick, "--adapt", "1")
    assert ran.status == 0, ran.err
    return out


@pytest.fixture(scope="session")
def masks_of() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of all masks below a run's output, by their relative path."""

    def read(out: Path) -> dict[str, bytes]:
        files = [file for kind in ("parts", "objects") for file in sorted((out / kind).rglob("*.png"))]
        return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}

    return read


@pytest.fixture(scope="session")
def files_below() -> Callable[[Path], set[str]]:
    """All files below a folder, as relative paths."""
    return lambda folder: {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, draw) -> Path:
    """Five photos of a red ball (class 3) on a blue box (class 5) before a wall (0), rims without a label."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("images", "masks", "masks_two"):
        (folder / name).mkdir()
    for seed in range(5):
        photo = draw(seed)
        photo.save(folder / "images" / f"{seed}.png")
        red, _, blue = np.moveaxis(np.asarray(photo, int), 2, 0)
        ids = np.select([red > 180, blue > 180], [3, 5], 0).astype(np.uint8)
        ids[:2] = 255
        Image.fromarray(ids).save(folder / "masks" / f"{seed}.png")
        Image.fromarray(np.where(ids == 255, 255, ids > 0).astype(np.uint8)).save(
            folder / "masks_two" / f"{seed}.png"
        )
    (folder / "classes.txt").write_text("0\tbackground\n3\tball\n5\tblue box\n")
    (folder / "classes_two.txt").write_text("0\tbackground\n1\tthing\n")
    (folder / "train.txt").write_text("0\n2\n3\n")
    (folder / "val.txt").write_text("4\n1\n")
    return folder


@pytest.fixture(scope="session")
def small(tiny_weights: Path) -> tuple[str, ...]:
    return ("--backbone", str(tiny_weights), "--size", "64", "--device", "cpu", "--precision", "fp32")


@pytest.fixture
def evaluate(run, labelled: Path, small, tmp_path: Path):
    """Run a task of `leopart evaluate` on `labelled`; what it answered and what it wrote."""

    def go(task: str, *words: object, name: str = "scores"):
        out = tmp_path / "results" / f"{name}.json"
        ran = run("evaluate", task, "--data", f"folder:{labelled}", "--out", out, *small, *words)
        return ran, json.loads(out.read_text()) if out.exists() else None

    return go

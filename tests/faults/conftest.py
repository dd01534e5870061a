"""Every command that writes, on photos and a network so small that a run takes a moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from faults.processes import run

#: Files that say how long something took, or when; all others are the same whenever they are made.
_TOLD = {"summary.json", "report.html", "metrics.jsonl", "README.md", "config.yaml", "run.json"}


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: of it.
        words: all but `--out`.
        out: what is written, below the folder given: a folder, or a file.
        again: words that make it go on, where that needs any.
        lock: file that is there while it runs, below the folder given.
    """

    name: str
    words: tuple[object, ...]
    out: str = "out"
    again: tuple[str, ...] = ()
    lock: str = "out/.leopart.lock"

    def line(self, folder: Path, *more: object) -> list[object]:
        """What to type for it to write below `folder`."""
        return [*self.words, *self.again, *more, "--out", folder / self.out]


def draw_photos(folder: Path) -> None:
    """Six photos of a red ball on a blue box before a noisy wall, and masks of them."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for seed in range(6):
        generator = np.random.default_rng(seed)
        wall = 40 + 30 * generator.random((48, 64, 3))
        photo = Image.fromarray(wall.astype(np.uint8))
        x, y = (int(v) for v in generator.integers(4, 20, 2))
        draw = ImageDraw.Draw(photo)
        draw.ellipse((x, y, x + 16, y + 16), fill=(220, 60, 40))
        draw.rectangle((x, y + 16, x + 16, y + 26), fill=(40, 60, 220))
        photo.save(folder / "images" / f"{seed}.png")
        red, _, blue = np.moveaxis(np.asarray(photo, int), 2, 0)
        ids = np.select([red > 180, blue > 180], [1, 2], 0).astype(np.uint8)
        Image.fromarray(ids).save(folder / "masks" / f"{seed}.png")
    (folder / "train.txt").write_text("0\n1\n2\n3\n")
    (folder / "val.txt").write_text("4\n5\n")
    (folder / "classes.txt").write_text("0\tbackground\n1\tball\n2\tbox\n")


@pytest.fixture(scope="session")
def commands(
    tmp_path_factory: pytest.TempPathFactory, make_tiny_weights: Callable[[Path, int], Path]
) -> dict[str, Command]:
    """By name."""
    folder = tmp_path_factory.mktemp("given")
    draw_photos(folder)
    weights = make_tiny_weights(folder, 0)
    net: tuple[object, ...] = (
        "--backbone",
        weights,
        "--size",
        "64",
        "--device",
        "cpu",
        "--precision",
        "fp32",
    )
    quick = (*net, "--parts", "6", "--objects", "2", "--contexts", "yes")
    images, data = folder / "images", ("--data", f"folder:{folder}")
    run(["segment", images, *quick, "--out", folder / "segmented"], folder / "log")
    recipe = {
        "steps": 6,
        "batch-size": 2,
        "train-blocks": 1,
        "global-size": 32,
        "local-size": 16,
        "prototypes": 6,
        "queue": 40,
        "head-hidden": 16,
        "head-out": 8,
        "roi-bins": 3,
        "sheet-photos": 1,
        "workers": 0,
        "save-every": 1,
        "local-crops": 1,
    }
    trained = [str(word) for name, value in recipe.items() for word in (f"--{name}", value)]
    train = (
        "train",
        "quick",
        "--data",
        f"folder:{images}",
        "--backbone",
        weights,
        "--device",
        "cpu",
        *trained,
    )
    scores, lock = "out/scores.json", "out/.scores.json.lock"
    evaluate = ("evaluate", "overclustering", *data, *net, "--k", "4", "--seeds", "2")
    linear = ("evaluate", "linear", *data, *net, "--epochs", "2")
    found = [
        Command("segment", ("segment", images, *quick)),
        Command("predict", ("predict", folder / "segmented", images, "--device", "cpu")),
        Command("train", train, again=("--resume",)),
        Command("overclustering", evaluate, scores, lock=lock),
        Command("linear", linear, scores, lock=lock),
        Command("figure", ("figure", "crops", images)),
        Command("export", ("export", weights, "--format", "safetensors")),
        Command("export segmenter", ("export", folder / "segmented", "--format", "onnx")),
    ]
    return {command.name: command for command in found}


NAMES = ("segment", "predict", "train", "overclustering", "linear", "figure", "export", "export segmenter")


def content(folder: Path) -> dict[str, str]:
    """What a command left that does not depend on the clock: hashes of files by name, and scores."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name == "scores.json":
            found[name] = str(json.loads(path.read_text())["scores"])
        elif path.name in _TOLD or name.endswith(".config.yaml") or "/tensorboard/" in f"/{name}":
            found[name.partition("events.")[0]] = "told"
        elif path.suffix != ".ckpt":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="session")
def whole(
    commands: dict[str, Command], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, str]]:
    """What an undisturbed run of a command leaves."""
    known: dict[str, dict[str, str]] = {}

    def get(name: str) -> dict[str, str]:
        if name not in known:
            folder = tmp_path_factory.mktemp("whole")
            run(commands[name].line(folder), folder.with_suffix(".log"))
            known[name] = content(folder)
            assert len(known[name]) > 1
        return known[name]

    return get


def leftovers(folder: Path) -> Sequence[str]:
    """Locks and half-written files."""
    return [path.name for path in folder.rglob(".*") if path.name.endswith((".lock", ".part", ".takeover"))]

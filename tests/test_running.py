"""The commands of Get started and Export, and the notebooks, run as a reader would run them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from leopart.cli import main as commands
from leopart.models import backbone as backbones
from leopart.models.backbone import Backbone
from leopart.models.weights.registry import DEFAULT_BACKBONE
from leopart.recipe import Recipe
from leopart.settings import updated
from pages import ROOT, command_lines, name_of

PAGES = [ROOT / "docs" / name for name in ("segment.md", "export.md")]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
#: What is not run here, and where it is.
ELSEWHERE = {
    "reproduce": "tests/cli/test_reproduce.py",
    "demo": "tests/cli/test_demo.py",
    "view": "tests/viewer",
    "weights fetch": "tests/models/weights/test_downloads.py, from the package index",
}
#: A training of two steps says as much about the command as one of two hundred.
SHORTER = {"train": ["--steps", "2", "--workers", "0", "--global-size", "112", "--local-size", "56"]}


def paint(folder: Path, count: int) -> None:
    """Photos with a bright disc, a darker square and noise; with masks where the folder is labelled."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:96, :128]
    for index in range(count):
        disc = (y - 48) ** 2 + (x - 30 - 5 * index) ** 2 < 500
        square = (abs(y - 60) < 20) & (abs(x - 100) < 16)
        noise = np.random.default_rng(index).integers(0, 60, (96, 128, 3))
        pixels = noise + 180 * disc[..., None] + 90 * square[..., None]
        name = "cat" if index == 0 else f"photo {index}"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.jpg")
        if folder.name == "images":
            (folder.parent / "masks").mkdir(exist_ok=True)
            ids = (disc + 2 * (square & ~disc)).astype(np.uint8)
            Image.fromarray(ids).save(folder.parent / "masks" / f"{name}.png")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coarse_backbone: Backbone) -> Path:
    """A working folder with the photos that the pages name; the default network is a tiny one."""
    for name in ("PHOTOS", "outfits", "photos"):
        paint(tmp_path / name, 8)
    paint(tmp_path / "MORE", 2)
    for name in ("LABELLED", "FEW"):
        paint(tmp_path / name / "images", 3)
        classes = "0\tbackground\n1\tdisc\n2\tsquare\n"
        (tmp_path / name / "classes.txt").write_text(classes, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    _lend(monkeypatch, coarse_backbone)
    return tmp_path


def _lend(monkeypatch: pytest.MonkeyPatch, network: Backbone) -> None:
    """The default network is `network` wherever it is asked for; all others are what they are."""
    real: Callable[..., Backbone] = backbones.load_backbone

    def load(name: Any = DEFAULT_BACKBONE, **options: Any) -> Backbone:
        return network if str(name) in (DEFAULT_BACKBONE, network.name) else real(name, **options)

    for name, module in list(sys.modules.items()):
        if name.startswith("leopart") and vars(module).get("load_backbone") is real:
            monkeypatch.setattr(module, "load_backbone", load)
    monkeypatch.setattr("leopart.load_backbone", load, raising=False)


def run(words: list[str]) -> None:
    """One command, as typed."""
    kind = next((kind for kind in ELSEWHERE if " ".join(words).startswith(kind)), None)
    if kind is None:
        assert commands.main([*words, *SHORTER.get(words[0], [])]) == 0, words


@pytest.mark.slow
@pytest.mark.usefixtures("workplace", "short_adaptation")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run_in_their_order(
    page: Path, short_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = updated(short_recipe, global_size=112, local_size=56)  # multiples of the network's patch
    monkeypatch.setattr("leopart.training.adaptation.adaptation", lambda *_: fitting)
    if page.name != "segment.md":
        assert commands.main(["segment", "PHOTOS", "--out", "OUT", "--parts", "12"]) == 0
    for program, *words in command_lines(page):
        if program == "leopart":
            run(words)


def cells(notebook: Path) -> Iterator[str]:
    """Sources of the code cells."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path) -> None:
    pytest.importorskip("pycocotools", reason="the extra `masks` is not installed")
    namespace: dict[str, Any] = {}
    for cell in cells(notebook):
        if cell.startswith("!leopart "):
            run(shlex.split(cell.removeprefix("!leopart ")))
        else:
            exec(compile(cell, notebook.name, "exec"), namespace)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_whole_and_kept_without_outputs(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown")
    for path in re.findall(r"\]\(([^)#]+)", prose):
        assert (notebook.parent / path).is_file(), path
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert content["nbformat"] == 4
    assert len(code) >= 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)

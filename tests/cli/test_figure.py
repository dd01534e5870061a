"""`leopart figure`: the files, what is printed, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    (tmp_path / "run" / "sheets").mkdir(parents=True)
    for step in (10, 20):
        Image.new("RGB", (20, 10), (step, 0, 0)).save(tmp_path / "run" / "sheets" / f"step-{step:06d}.png")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 10, "loss": 2.0, "val/miou_k21": 0.3}\n')
    return tmp_path / "run"


def test_the_figures_of_a_training_are_written_and_named(run, trained: Path, tmp_path: Path):
    ran = run("figure", "training", trained, "--out", tmp_path / "out", "--milliseconds", "90")

    assert (ran.status, ran.out) == (0, "")
    files = [Path(line) for line in ran.lines]
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    assert len(files) == 4
    with Image.open(tmp_path / "out" / "training-sheets.gif") as gif:
        assert gif.info["duration"] == 90


def test_quiet_prints_nothing(run, trained: Path, tmp_path: Path):
    ran = run("figure", "training", trained, "--out", tmp_path / "out", "--quiet")
    assert (ran.status, ran.out, ran.err) == (0, "", "")


MISTAKES = {
    "another figure": (["schedule", "{run}"], "there is no figure 'schedule'; there is: crops, "),
    "no run": (["training", "{run}/gone"], "there is no folder"),
    "a folder of something else": (["training", "{run}/sheets"], "has no sheets/ and no metrics.jsonl"),
    "too quick": (["training", "{run}", "--milliseconds", "5"], "--milliseconds must be at least 20, got 5"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(run, mistake: str, trained: Path, tmp_path: Path):
    words, sentence = MISTAKES[mistake]
    ran = run("figure", *(word.format(run=trained) for word in words), "--out", tmp_path / "out")
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert sentence in ran.err
    assert not (tmp_path / "out").exists()


def test_nothing_given(run):
    ran = run("figure")
    figures = "crops, cbfe, parts, communities, overclustering, ade-parts, training"
    sentence = f"`leopart figure NAME … --out OUT`; the figures are {figures}, --help describes them"
    assert (ran.status, ran.lines) == (2, [f"leopart: nothing to do: {sentence}"])

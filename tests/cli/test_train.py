"""`leopart train`, as somebody types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from leopart.cli.train import parse_train
from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.presets import PRESETS, preset
from leopart.recipe import recipe_of
from leopart.settings import updated
from leopart.training.methods.leopart.learner import LeopartLearner

TINY = {
    "global-size": 32,
    "local-size": 16,
    "local-crops": 2,
    "roi-bins": 3,
    "prototypes": 7,
    "queue": 50,
    "head-hidden": 16,
    "head-out": 8,
    "batch-size": 4,
    "steps": 4,
    "workers": 0,
    "sheet-photos": 0,
}


@pytest.fixture
def words(tiny_weights, photos, tmp_path) -> list[str]:
    """A command that takes a second."""
    options = {**TINY, "data": f"folder:{photos}", "out": tmp_path / "run", "backbone": tiny_weights}
    return [
        "dev",
        "--device",
        "cpu",
        *(str(w) for name, value in options.items() for w in (f"--{name}", value)),
    ]


# --- presets and options --------------------------------------------------------------------------------


def test_presets_are_listed_with_what_they_are_for(run):
    ran = run("train", "--presets")
    assert ran.status == 0
    for name in PRESETS:
        assert f" {name} " in ran.out
    assert "126,689" in ran.out


def test_a_preset_gives_what_the_command_line_does_not():
    config = parse_train(["voc", "--data", "voc:/x", "--out", "y", "--lr", "0.5", "--train-blocks", "3"])
    assert recipe_of(config) == updated(preset("voc"), lr=0.5, train_blocks=3)


def test_a_preset_counts_wherever_it_stands():
    config = parse_train(["--data", "voc:/x", "--quiet", "--out", "y", "ablate-queue"])
    assert (config.preset, recipe_of(config)) == ("ablate-queue", preset("ablate-queue"))


@pytest.mark.parametrize(
    "given", [("--method", "densecl"), ("--objective", "densecl"), ("--objective=densecl",)]
)
def test_a_preset_is_switched_to_another_method_by_its_option_old_or_new(given):
    config = parse_train(["quick", *given, "--data", "folder:x", "--out", "y"])
    assert recipe_of(config) == updated(preset("quick"), method="densecl")


@pytest.mark.parametrize("name", ["method", "objective"])
def test_a_file_can_switch_a_preset_to_another_method(tmp_path, name):
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump({name: "densecl"}))
    config = parse_train(["quick", "--config", str(file), "--data", "folder:x", "--out", "y"])
    assert recipe_of(config) == updated(preset("quick"), method="densecl")


def test_an_option_of_another_method_is_refused(run):
    ran = run("train", "quick", "--method", "densecl", "--data", "folder:x", "--out", "y", "--local-crops", 2)
    assert ran.status == 2
    assert ran.lines == ["leopart: --local-crops belongs to --method leopart, not densecl: leave it out"]


def test_the_authors_ways_of_version_0_1_are_one_choice_now(run):
    words = ["dev", "--data", "folder:x", "--out", "y", "--ema-order", "before", "--queue-scores=student"]
    assert parse_train([*words, "--teacher-init", "independent"]).reference == "code"
    ran = run("train", *words)
    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith("leopart: queue-scores student, ema-order before: these options cannot be mixed")


def test_file_wins_over_preset_and_command_line_over_file(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump({"preset": "voc", "lr": 0.25, "epochs": 7, "data": "voc:/x"}))
    config = parse_train(["--config", str(file), "--out", "y", "--epochs", "9"])
    assert (config.preset, config.lr, config.epochs, config.batch_size) == ("voc", 0.25, 9, 64)
    config = parse_train(["dev", "--config", str(file), "--out", "y"])
    assert (config.preset, config.lr, config.batch_size, config.leopart.queue) == ("dev", 0.25, 16, 128)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "nothing to do: `leopart train PRESET --data folder:PHOTOS --out RUN`"),
        (("quik",), "there is no preset 'quik'; did you mean quick?"),
        (("dev", "--data", "folder:/x", "--out", "y", "--steps", "0"), "--steps must be at least 1, got 0"),
        (
            ("dev", "--data", "folder:/x", "--out", "y", "--stop-at", "0"),
            "--stop-at must be at least 1, got 0",
        ),
        (
            ("dev", "--data", "folder:/x", "--out", "y", "--workers", "-1"),
            "--workers must be auto or at least 0",
        ),
        (("dev", "--data", "folder:/nowhere/x", "--out", "y"), "there is no file or folder /nowhere/x"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(run, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    ran = run("train", *given)
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert ran.lines[0].startswith(f"leopart: {message}")


def test_the_recipe_can_be_read_from_the_help(run):
    ran = run("train", "quick", "--help-all")
    assert ran.status == 0
    for name in ("--prototypes", "--train-blocks", "--stop-at", "--resume", "--augment-on"):
        assert name in ran.out
    assert "leopart options" in ran.out
    assert "densecl options" in ran.out


# --- a run ----------------------------------------------------------------------------------------------


def test_a_run_tells_its_progress_and_where_the_backbone_is(run, words, tmp_path):
    ran = run("train", *words)
    assert ran.status == 0
    first, last, backbone = ran.lines
    assert first.startswith("step 1/4  ")
    assert "prototypes in use" in first
    assert last.startswith("step 4/4  ")
    assert backbone == f"backbone: --backbone {tmp_path / 'run'}"


def test_densecl_trains_stops_goes_on_and_leaves_a_backbone(run, tiny_weights, photos, tmp_path):
    out = tmp_path / "run"
    options = {
        **{name: TINY[name] for name in ("global-size", "head-hidden", "batch-size", "steps", "workers")},
        "local-size": 16,
        "contrast-queue": 20,
        "train-blocks": 1,
        "sheet-photos": 1,
        "device": "cpu",
        "data": f"folder:{photos}",
        "out": out,
        "backbone": tiny_weights,
        "stop-at": 2,
    }
    words = (
        "quick",
        "--method",
        "densecl",
        *(w for n, value in options.items() for w in (f"--{n}", value)),
    )
    ran = run("train", *words)
    assert ran.status == 0, ran.err
    assert ran.lines[-2].startswith(
        "stopped at step 2 of 4; continue with: leopart train quick --method densecl"
    )
    ran = run("train", *words, "--resume", "--stop-at", 4)
    assert ran.status == 0, ran.err
    assert "contrastive accuracy" in ran.lines[-2]
    assert ran.lines[-1] == f"backbone: --backbone {out}"
    card = json.loads((out / "backbone.json").read_text())["spec"]
    assert "(preset quick, method densecl, seed 0)" in card["origin"]
    assert (out / "sheets" / "step-000004.png").is_file()
    figures = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert figures["loss"] == pytest.approx((figures["global_loss"] + figures["dense_loss"]) / 2, rel=1e-4)
    before, after = load_backbone(tiny_weights).model.state_dict(), load_backbone(out).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("blocks.1.") for name in changed)


def test_a_quiet_run_says_nothing(run, words):
    ran = run("train", *words, "--quiet")
    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_a_run_that_stops_says_how_to_go_on_and_then_does(run, words, tmp_path):
    ran = run("train", *words, "--stop-at", 2)
    assert ran.status == 0
    again = f"leopart train {' '.join(words)} --resume"
    assert f"stopped at step 2 of 4; continue with: {again}" in ran.lines
    ran = run(*again.split()[1:], "--stop-at=3")
    assert f"stopped at step 3 of 4; continue with: {again}" in ran.lines
    ran = run(*again.split()[1:])
    assert (ran.status, ran.lines[0]) == (0, "continuing after step 3 of 4")
    ran = run(*again.split()[1:])
    assert ran.status == 0
    assert ran.lines == [
        f"{tmp_path / 'run'} is finished: step 4 of 4",
        f"backbone: --backbone {tmp_path / 'run'}",
    ]


def test_a_run_that_is_there_already_is_left_alone(run, words):
    run("train", *words, "--stop-at", 1)
    ran = run("train", *words)
    assert ran.status == 2
    assert "holds a run already: add --resume" in ran.err


@pytest.mark.parametrize("quiet", [False, True])
def test_photos_that_cannot_be_read_are_named_once_and_give_status_1(run, words, photos, quiet):
    (photos / "2.png").write_bytes(b"no photo")
    ran = run("train", *words, "--steps", 6, *(["--quiet"] if quiet else []))
    assert ran.status == 1
    naming = [line for line in ran.lines if "2.png" in line]
    assert len(naming) == 1
    assert naming[0].startswith("leopart: " if quiet else "left out: ")
    assert quiet or "step 6 of 6; 1 photo left out" in ran.lines


def test_photos_none_of_which_can_be_read_are_told_in_one_line(run, words, photos):
    for photo in photos.iterdir():
        photo.write_bytes(b"no photo")
    ran = run("train", *words)
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert ran.lines[0].startswith("leopart: not one of the 6 photos can be read; the first: ")


def test_memory_that_is_short_is_told_in_one_line(run, words, monkeypatch):
    def short(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LeopartLearner, "forward", short)
    ran = run("train", *words)
    assert ran.status == 2
    assert ran.lines[-1].startswith(
        "leopart: out of memory with 4 photos in a forward pass: try --batch-size 2"
    )


def test_a_second_ctrl_c_says_how_to_go_on(run, words, monkeypatch):
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LeopartLearner, "forward", pressed)
    ran = run("train", *words, "--stop-at", 3)
    assert ran.status == 130
    assert ran.lines[-1] == f"leopart: interrupted; continue with: leopart train {' '.join(words)} --resume"


# --- signals, from outside ------------------------------------------------------------------------------


def begun(command: list[str], run: Path) -> subprocess.Popen[str]:
    """The command as a group of processes of its own, once it has done its first step."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    options = {"start_new_session": True, "env": environment, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-m", "leopart", "train", *command], **options)
    metrics = run / "metrics.jsonl"
    for _ in range(3000):
        if metrics.is_file() and metrics.read_text():
            return process
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    raise AssertionError("did not begin")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_to_the_whole_group_saves_and_the_same_command_goes_on(run, words, tmp_path, number):
    """Loading processes get it too, as from a terminal or SLURM, and must not take the run down with them."""
    words = [*words, "--workers", "1", "--steps", "100000"]
    process = begun(words, tmp_path / "run")
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 128 + number, err
    assert "; continue with: leopart train dev " in err
    assert "Traceback" not in err
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    done = state["global_step"]
    assert 0 < done < 100000
    with pytest.raises(ProcessLookupError):  # nobody of the group is left
        os.killpg(process.pid, 0)
    ran = run("train", *words, "--resume", "--stop-at", done + 1)
    assert ran.lines[0] == f"continuing after step {done} of 100000"
    assert f"stopped at step {done + 1} of 100000" in ran.err


def test_every_option_of_the_recipe_can_be_given():
    config = parse_train(["dev", "--data", "folder:x", "--out", "y", "--clip", "1.5", "--no-use-teacher"])
    assert (config.clip, config.use_teacher) == (1.5, False)
    with pytest.raises(LeopartError, match="--clip must be above 0, got -1"):
        updated(recipe_of(config), clip=-1.0).check()

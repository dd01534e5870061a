"""Two processes with half of every batch each train as one process does, through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leopart.cli.main import main

STEPS = 12


LEOPART = {"local-crops": 2, "roi-bins": 3, "prototypes": 7, "head-out": 8, "queue": 50, "loss-mask": "fg"}
DENSECL = {"method": "densecl", "contrast-queue": 30, "contrast-grid": 3}


def words(data: Path, out: Path, weights: Path, method: dict[str, object] = LEOPART) -> list[str]:
    options = {
        **method,
        "global-size": 32,
        "local-size": 16,
        "drop-path": 0,
        "head-hidden": 16,
        "batch-size": 4,
        "steps": STEPS,
        "lr": 1e-3,
        "lr-head": 1e-2,
        "momentum": 0.9,
        "seed": 5,
        "workers": 0,
        "sheet-photos": 1,
        "device": "cpu",
        "data": f"folder:{data}",
        "out": out,
        "backbone": weights,
    }
    return ["train", "dev", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]


@pytest.fixture(scope="module")
def photos(tmp_path_factory, paint_photos) -> Path:
    """Ten photos; two cannot be read, and one process meets each of them first."""
    folder = paint_photos(tmp_path_factory.mktemp("ddp") / "photos", 10)
    for name in ("02.png", "07.png"):
        (folder / name).write_bytes(b"x")
    return folder


def alone(command: list[str]) -> int:
    """Run the command here, in one thread as its processes do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return main([*command, "--quiet"])
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def single(tmp_path_factory, photos, tiny_weights) -> Path:
    out = tmp_path_factory.mktemp("ddp") / "single"
    assert alone(words(photos, out, tiny_weights)) == 1
    return out


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)


FIGURES = ("loss", "agreement", "foreground", "queue_fill", "lr", "epoch", "assignment_entropy")


def assert_alike(
    two: Path, one: Path, state_of: Callable[[Path], dict[str, Any]], figures: tuple[str, ...] = FIGURES
) -> None:
    first, second = state_of(two), state_of(one)
    assert first.keys() == second.keys()
    for name, value in second.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            # A key's bias changes no attention: its gradient is rounding, which Adam makes a whole step of.
            counts = torch.arange(len(value)) // 24 != 1 if name.endswith("qkv.bias") else ...
            torch.testing.assert_close(first[name][counts], value[counts], atol=1e-5, rtol=1e-5, msg=name)
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (two, one)
    ]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [1, 11, 12]
    for ours, expected in zip(*lines, strict=True):
        for name in figures:
            assert ours[name] == pytest.approx(expected[name], abs=1e-5), name


@pytest.mark.slow
def test_two_processes_that_lightning_starts_are_one_process(
    photos, single, tmp_path, tiny_weights, state_of
):
    """And what they leave resumes, in one process; each photo that failed is named once."""
    command = [
        sys.executable,
        "-m",
        "leopart",
        *words(photos, tmp_path / "two", tiny_weights),
        "--devices",
        "2",
    ]
    ran = run([*command, "--stop-at", "7"])
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.count("left out: ") == 2, ran.stderr
    assert ran.stderr.count("stopped at step 7 of 12") == 1
    assert state_of(tmp_path / "two")["step"] == 7
    assert alone([*words(photos, tmp_path / "two", tiny_weights), "--resume"]) == 1
    assert_alike(tmp_path / "two", single, state_of)


def test_two_processes_that_torchrun_starts_are_one_process(photos, single, tmp_path, tiny_weights, state_of):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = run([*launcher, "-m", "leopart", *words(photos, tmp_path / "two", tiny_weights)])
    # Photos have failed, which the first process tells by status 1; torchrun takes that for a failure.
    assert ran.stderr.count("left out: ") == 2, ran.stderr
    assert "backbone: --backbone" in ran.stderr
    assert_alike(tmp_path / "two", single, state_of)
    assert (tmp_path / "two" / "backbone.safetensors").is_file()


@pytest.mark.slow
def test_two_processes_of_densecl_are_one_process(photos, tmp_path, tiny_weights, state_of):
    assert alone(words(photos, tmp_path / "single", tiny_weights, DENSECL)) == 1
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = run([*launcher, "-m", "leopart", *words(photos, tmp_path / "two", tiny_weights, DENSECL)])
    assert "backbone: --backbone" in ran.stderr
    figures = ("loss", "global_loss", "dense_loss", "dense_contrastive_accuracy", "queue_fill", "lr")
    assert_alike(tmp_path / "two", tmp_path / "single", state_of, figures)

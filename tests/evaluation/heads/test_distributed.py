"""Two processes with parts of each batch are one process with the whole batch."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("head_processes.py")


def alone() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("head_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {kind: module.run(kind) for kind in module.RECIPES}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process found, then each of two."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)],
            env=os.environ | group | {"RANK": str(number), "LOCAL_RANK": str(number)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        single = alone()
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [single, *(torch.load(folder / f"{number}.pt", weights_only=True) for number in range(2))]


@pytest.mark.parametrize("kind", ["linear", "fcn"])
def test_heads_and_losses_are_those_of_one_process(runs, kind: str):
    single, *several = (run[kind] for run in runs)
    for each in several:
        for name, weights in single["weights"].items():
            torch.testing.assert_close(each["weights"][name], weights, atol=1e-5, rtol=1e-4, msg=name)
        torch.testing.assert_close(each["loss"], single["loss"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "fcn"])
def test_the_processes_have_one_head_to_the_bit(runs, kind: str):
    first, second = (run[kind] for run in runs[1:])
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    assert torch.equal(first["loss"], second["loss"])


@pytest.mark.parametrize("kind", ["linear", "fcn"])
def test_scores_and_the_kept_epoch_are_those_of_one_process(runs, kind: str):
    single, *several = (run[kind] for run in runs)
    assert single["matrix"].sum() == 7 * 144 - 132
    for each in several:
        assert torch.equal(each["matrix"], single["matrix"])
        assert each["miou"] == pytest.approx(single["miou"], abs=1e-12)
        assert each["kept"] == single["kept"]


def test_there_were_two_and_each_photo_went_to_one(runs):
    assert [run["processes"] for run in runs[1:]] == [2, 2]
    assert [run["linear"]["seen"] for run in runs] == [list(range(7)), [0, 2, 4, 6], [1, 3, 5]]

"""Two processes with half a batch each are one process with the whole batch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_processes.py")


def alone() -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.train(0, 1, masked=masked) for masked in (False, True)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What one process found, then each of two; without and with a mask."""
    folder = tmp_path_factory.mktemp("processes")
    commands = [[sys.executable, str(SCRIPT), str(rank), "2", str(folder)] for rank in range(2)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        single = alone()
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [single, *(torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["loss", "gradient"])
def test_losses_and_mean_gradients_are_those_of_one_process(runs, name: str, masked: bool):
    single, *several = (run[masked][name] for run in runs)
    for each in several:
        for step, (ours, expected) in enumerate(zip(each, single, strict=True)):
            torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5, msg=f"{name}, step {step}")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["rows", "fill"])
def test_queues_are_those_of_one_process_to_the_bit(runs, name: str, masked: bool):
    single, *several = (run[masked][name] for run in runs)
    for each in several:
        assert all(torch.equal(ours, expected) for ours, expected in zip(each, single, strict=True))


def test_the_run_covers_what_it_should(runs):
    plain, masked = runs[0]
    assert plain["fill"][0].tolist() == [40, 40]
    assert plain["fill"][-1].tolist() == [70, 70]  # full, so that the queue has counted
    assert float(masked["loss"][0]) not in (0, float(plain["loss"][0]))  # some cells count, others do not
    assert all(bool(gradient.any()) for gradient in masked["gradient"])

"""Kills, full disks and two runs at once, for every command that writes.

`LEOPART_FAULTS` is how many kills of each kind each command gets (4 by default); there are half as many pairs
of runs at once.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.conftest import NAMES, Command, content, leftovers
from faults.processes import Run, run, start, start_on_small_disk, wait_for

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("LEOPART_FAULTS", "4"))
Whole = Callable[[str], dict[str, str]]


def is_one_sentence(ended: Run) -> bool:
    """Whether one line says what happened; a training that a signal ends has a line of its own."""
    said = ended.said.splitlines()
    lines = [line for line in said if line.startswith("leopart: ") or "; continue with: " in line]
    return len(lines) == 1 and "Traceback" not in ended.said


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_after_a_kill_the_same_command_leaves_the_same_bytes(
    name: str, number: signal.Signals, commands: dict[str, Command], whole: Whole, tmp_path: Path
):
    command, rng = commands[name], random.Random(f"{name} {number}")
    begun = time.monotonic()
    run(command.line(tmp_path / "timed"), tmp_path / "timed.log")
    takes = time.monotonic() - begun
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        running = start(command.line(folder), tmp_path / f"{kill}.log")
        time.sleep(rng.uniform(0.1, 1) * takes)
        if running.process.exitcode is None:
            os.kill(running.process.pid or 0, number)
        status = running.wait()
        if number != signal.SIGKILL and status:
            assert status == 128 + number, running.said
            assert is_one_sentence(running), running.said
            assert not leftovers(folder), leftovers(folder)
        run(command.line(folder), tmp_path / f"{kill}-again.log")
        assert content(folder) == whole(name), kill
        assert not leftovers(folder), leftovers(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("largest", [0, 200, 3_000, 30_000])
def test_after_a_limit_on_files_the_same_command_goes_on(
    name: str, largest: int, commands: dict[str, Command], whole: Whole, tmp_path: Path
):
    command = commands[name]
    ended = start(command.line(tmp_path / "a"), tmp_path / "log", largest)
    status = ended.wait()
    assert status in (0, 2), ended.said
    if status:
        assert is_one_sentence(ended), ended.said
        assert "File too large; raise the limit" in ended.said
    assert not leftovers(tmp_path / "a")
    run(command.line(tmp_path / "a"), tmp_path / "again.log")
    assert content(tmp_path / "a") == whole(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1 << 12, 1 << 15, 1 << 17])
def test_after_a_full_disk_the_same_command_goes_on(
    name: str, size: int, commands: dict[str, Command], whole: Whole, tmp_path: Path
):
    command, disk = commands[name], tmp_path / "disk"
    disk.mkdir()
    results = tmp_path / "results"
    ended = start_on_small_disk(command.line(disk), disk, size, tmp_path / "log", results)
    status = ended.wait()
    if status == 77:
        pytest.skip("the system allows no disks of one's own")
    assert status == 0, ended.said
    assert "Traceback" not in ended.said
    if (results / "status").read_text() != "0":
        first = ended.said.partition("---")[0]
        assert (results / "status").read_text() == "2"
        assert "No space left on device; free some space" in first
        assert sum(line.startswith("leopart: ") for line in first.splitlines()) == 1, first
    assert content(results / "disk") == whole(name)
    assert not leftovers(results / "disk")


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_is_refused_and_the_first_one_is_not_disturbed(
    name: str, commands: dict[str, Command], whole: Whole, tmp_path: Path
):
    for pair in range(max(1, KILLS // 2)):
        _set_on_each_other(commands[name], tmp_path / str(pair))
        assert content(tmp_path / str(pair)) == whole(name)
        assert not leftovers(tmp_path / str(pair))


def _set_on_each_other(command: Command, folder: Path) -> None:
    first = start(command.line(folder), folder.with_suffix(".first"))
    wait_for(folder / command.lock, first)
    os.kill(first.process.pid or 0, signal.SIGSTOP)  # it would be done before the other has begun
    try:
        second = start(command.line(folder), folder.with_suffix(".second"))
        assert second.wait() == 2, second.said
    finally:
        os.kill(first.process.pid or 0, signal.SIGCONT)
    assert is_one_sentence(second), second.said
    assert f"is in use by another run (process {first.process.pid} on " in second.said
    assert first.wait() == 0, first.said


@pytest.mark.parametrize("name", ["segment", "predict", "train"])
def test_a_folder_that_is_removed_while_it_is_written_is_told(
    name: str, commands: dict[str, Command], tmp_path: Path
):
    import shutil

    command = commands[name]
    running = start(command.line(tmp_path / "a"), tmp_path / "log")
    wait_for(tmp_path / "a" / command.lock, running)
    os.kill(running.process.pid or 0, signal.SIGSTOP)
    shutil.rmtree(tmp_path / "a")
    os.kill(running.process.pid or 0, signal.SIGCONT)
    assert running.wait() == 2, running.said
    assert is_one_sentence(running), running.said

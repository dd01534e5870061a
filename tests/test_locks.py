from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leopart import locks
from leopart.errors import LeopartError
from leopart.locks import LOCK, Holder, locked

_HOLD = """
import sys, time
from pathlib import Path
from leopart.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def take(folder: Path) -> None:
    with locked(folder):
        pass


def leave(folder: Path, holder: Holder, age: float = 0) -> None:
    """A lock as another run would have left it, touched `age` seconds ago."""
    path = folder / LOCK
    path.write_text(json.dumps(vars(holder)))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_lock_is_there_while_the_block_runs_and_gone_afterwards(tmp_path: Path):
    with locked(tmp_path):
        holder = json.loads((tmp_path / LOCK).read_text())
        assert (holder["process"], holder["host"]) == (os.getpid(), platform.node())
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_with_process_and_host(tmp_path: Path, other: subprocess.Popen[str]):
    with pytest.raises(LeopartError) as error:
        take(tmp_path)
    said = str(error.value)
    assert said.startswith(f"{tmp_path} is in use by another run (process {other.pid} on {platform.node()},")
    assert "wait for it to end, or choose another --out" in said
    assert (tmp_path / LOCK).is_file()


def test_a_second_run_of_the_same_process_is_refused(tmp_path: Path):
    with locked(tmp_path), pytest.raises(LeopartError, match=f"process {os.getpid()} "):
        take(tmp_path)


def test_the_lock_of_a_killed_process_is_taken_over_and_what_it_was_writing_goes(
    tmp_path: Path, other: subprocess.Popen[str]
):
    deep = tmp_path / "parts" / "a"
    deep.mkdir(parents=True)
    (deep / ".0123456789abcdef.part").write_bytes(b"half")
    (deep / "notes.part").write_text("somebody's own")
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    with locked(tmp_path):
        assert [path.name for path in deep.iterdir()] == ["notes.part"]
    assert not (tmp_path / LOCK).exists()


def test_a_later_process_of_the_same_number_does_not_hold_the_lock(tmp_path: Path):
    leave(tmp_path, replace(Holder.me(), born="1"))
    take(tmp_path)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"system": "started anew"}])
def test_the_lock_of_another_machine_is_taken_over_once_it_is_old(tmp_path: Path, change: dict[str, str]):
    holder = replace(Holder.me(), process=2**22 + 1, **change)
    leave(tmp_path, holder, age=60)
    with pytest.raises(LeopartError, match=r"is in use .* if there is no such run, delete .*\.leopart\.lock"):
        take(tmp_path)
    leave(tmp_path, holder, age=200)
    take(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"host": 1}'])
def test_a_lock_that_cannot_be_read_holds_until_it_is_old(tmp_path: Path, content: bytes):
    path = tmp_path / LOCK
    path.write_bytes(content)
    with pytest.raises(LeopartError, match="is in use by another run:"):
        take(tmp_path)
    os.utime(path, (time.time() - 200,) * 2)
    take(tmp_path)


def test_a_lock_that_is_held_stays_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "_TOUCH", 0.01)
    with locked(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        end = time.monotonic() + 5
        while (tmp_path / LOCK).stat().st_mtime == 0:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_of_many_that_find_a_dead_lock_one_takes_it_over(tmp_path: Path):
    leave(tmp_path, replace(Holder.me(), born="1"))
    code = _HOLD.replace("time.sleep(60)", "sys.stdin.read()")
    words = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen(words, text=True, **pipes) for _ in range(6)]  # type: ignore[call-overload]
    failed = 0
    end = time.monotonic() + 60
    while failed < 5 and time.monotonic() < end:
        failed = sum(run.poll() is not None for run in runs)
        time.sleep(0.05)
    outputs = [run.communicate("") for run in runs]
    assert sum(out == "held\n" for out, _ in outputs) == 1
    assert sum("is in use by another run" in err for _, err in outputs) == 5


def test_a_folder_that_is_removed_meanwhile_is_told(tmp_path: Path):
    def work(folder: Path) -> None:
        with locked(folder):
            (folder / LOCK).unlink()
            folder.rmdir()

    with pytest.raises(LeopartError, match="out was removed or taken over by another run"):
        work(tmp_path / "out")


def test_another_error_is_not_hidden_by_a_folder_that_was_removed(tmp_path: Path):
    def work(folder: Path) -> None:
        with locked(folder):
            (folder / LOCK).unlink()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work(tmp_path / "out")


@pytest.mark.parametrize("keep", [False, True])
def test_a_folder_made_for_nothing_goes_again(tmp_path: Path, keep: bool):
    def work(folder: Path) -> None:
        with locked(folder):
            if keep:
                (folder / "a").touch()
            raise LeopartError("no photos")

    with pytest.raises(LeopartError, match="no photos"):
        work(tmp_path / "out")
    assert (tmp_path / "out").exists() is keep


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_so(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(LeopartError, match="Permission denied; check the permissions"):
        take(tmp_path)


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(LeopartError, match=r"cannot write .*out: File exists; choose another output folder"):
        take(tmp_path / "out")

"""Standard output that is full, closed or takes no letters beyond ASCII; SIGTERM; paths beyond the limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LEOPART = f"{sys.executable} -m leopart"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("words", ["--help", "data list", "--version"])
def test_a_full_standard_output_is_told_in_one_sentence(words: str):
    ran = shell(f"{LEOPART} {words} > /dev/full")
    assert ran.returncode == 2
    (line,) = ran.stderr.decode().splitlines()
    assert line.startswith("leopart: cannot write standard output")
    assert line.endswith("No space left on device; free some space")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-"])
def test_closed_streams_are_as_good_as_none(closed: str):
    ran = shell(f"{LEOPART} --help {closed}")
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    ],
)
def test_letters_that_the_terminal_does_not_take_are_escaped(tmp_path: Path, environment: dict[str, str]):
    ran = shell(f"{LEOPART} segment {tmp_path}/käse --out {tmp_path}/o", **environment)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(b"leopart: ")
    assert line.isascii()


def test_a_photo_whose_name_the_locale_cannot_write_is_told_in_one_sentence(segmented: Path, photos: Path):
    (photos / "0.png").rename(photos / "käse.png")
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    out = photos.parent / "out"
    ran = shell(f"{LEOPART} predict {segmented} {photos} --out {out} --device cpu", **environment)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(b"leopart: ")
    assert b"PYTHONUTF8=1" in line
    assert shell(f"{LEOPART} predict {segmented} {photos} --out {out} --device cpu").returncode == 0


def test_a_path_beyond_the_limits_is_told_in_one_sentence(run, tmp_path: Path):
    for out in ("x" * 300, "/".join(["x" * 200] * 30)):
        ran = run("segment", tmp_path, "--out", tmp_path / out)
        assert ran.status == 2
        (line,) = ran.lines
        assert "File name too long" in line


_WAIT = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
fake = types.ModuleType("leopart.cli.demo")
def wait(words):
    print("begun", flush=True)
    {wait}
fake.main = wait
sys.modules["leopart.cli.demo"] = fake
sys.argv = ["leopart", "demo"]
from leopart.__main__ import command
command()
"""
#: A module in C whose start is interrupted tells Python that it cannot be imported.
_SWALLOWED = """
    from leopart.errors import LeopartError
    try:
        time.sleep(100)
    except KeyboardInterrupt as error:
        raise {kind}("it needs a package") from error
"""


@pytest.mark.parametrize(
    "wait",
    ["time.sleep(100)", _SWALLOWED.format(kind="LeopartError"), _SWALLOWED.format(kind="ImportError")],
    ids=["plain", "told as a mistake", "raised as a failure"],
)
@pytest.mark.parametrize(
    ("number", "says"),
    [(signal.SIGTERM, "leopart: ended by SIGTERM"), (signal.SIGINT, "\nleopart: interrupted")],
)
def test_a_signal_ends_a_command_with_a_sentence_and_its_own_status(
    wait: str, number: signal.Signals, says: str
):
    process = subprocess.Popen(
        [sys.executable, "-c", _WAIT.format(wait=wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == f"{says}; run the same command again to finish\n"

"""`leopart view` as a process: the address, Ctrl-C, and what a user may get wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from leopart.cli.main import main
from run_folders import make_run

pytest.importorskip("uvicorn", reason="the extra `view` is not installed")


def test_ctrl_c_ends_it_cleanly_and_frees_the_port(tmp_path):
    out = make_run(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", "leopart", "view", str(out), "--no-browser"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert httpx.get(address, timeout=30).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors
    with socket.create_server(("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))):
        pass


def test_a_folder_without_a_run_is_refused_in_a_sentence(tmp_path, capsys):
    assert main(["view", str(tmp_path), "--no-browser"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused_in_a_sentence(tmp_path, capsys):
    out = make_run(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["view", str(out), "--no-browser", "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(tmp_path, capsys, value):
    assert main(["view", str(tmp_path), "--port", value]) == 2
    assert "port" in capsys.readouterr().err


def test_viewing_in_a_notebook_needs_a_folder():
    import leopart
    from leopart.errors import LeopartError

    with pytest.raises(LeopartError, match="give the OUT folder"):
        leopart.view(object())

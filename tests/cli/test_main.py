from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

from leopart import __version__
from leopart.cli import main as cli
from leopart.errors import LeopartError


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_every_command_and_exit_status(run, word):
    ran = run(word)

    assert (ran.status, ran.err) == (0, "")
    for text in ("demo", "segment", "predict", "weights", "0 done", "1 done, but", "2 wrong", "130"):
        assert text in ran.out


def test_without_a_command_the_help_is_shown_and_the_status_is_2(run):
    ran = run()

    assert ran.status == 2
    assert "usage: leopart COMMAND" in ran.out


def test_an_unknown_command_is_named_with_the_known_ones(run):
    ran = run("segmnet", "photos")

    assert ran.status == 2
    assert ran.lines == [
        f"leopart: there is no command 'segmnet': choose {', '.join(cli.COMMANDS)}",
    ]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_page(run, command):
    ran = run(command, "--help")

    assert ran.status == 0
    assert f"usage: leopart {command}" in ran.out


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from leopart.cli.main import main; status = main(['--help'])\n"
        "heavy = {'torch', 'timm', 'numpy', 'tyro', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = python("-c", code)

    assert done.returncode == 0, done.stderr
    assert "usage: leopart COMMAND" in done.stdout


@pytest.mark.parametrize("command", ["segment", "predict", "demo", "evaluate", "figure"])
def test_the_help_of_a_command_does_not_wait_for_torch(command):
    code = (
        "import sys; from leopart.cli.main import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit as stop: sys.exit('imported torch' if 'torch' in sys.modules else stop.code)"
    )
    done = python("-c", code)

    assert done.returncode == 0, done.stderr


def test_python_dash_m_is_the_same_command():
    done = python("-m", "leopart", "--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"leopart {__version__}\n", "")


def test_a_mistake_ends_the_process_with_2_and_no_traceback():
    done = python("-m", "leopart", "segment", "no-such-folder", "--out", "nowhere")

    assert done.returncode == 2
    assert done.stderr == "leopart: there is no file or folder no-such-folder; check the path\n"


def test_the_version_is_the_installed_one():
    assert version("leopart") == __version__


def test_an_error_is_told_line_by_line_without_control_characters(run, monkeypatch):
    def fail(_name):
        raise LeopartError("first \x1b[31mline\n  second\u202e line")

    monkeypatch.setattr(cli, "import_module", fail)
    ran = run("segment")

    assert ran.status == 2
    assert ran.lines == ["leopart: first \\x1b[31mline", "  second\\u202e line"]


def test_ctrl_c_is_one_sentence_and_130(run, monkeypatch):
    def interrupt(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupt)
    ran = run("segment", "photos")

    assert ran.status == 130
    assert ran.err == "\nleopart: interrupted; run the same command again to finish\n"


def test_a_bug_is_not_hidden(run, monkeypatch):
    def fail(_name):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "import_module", fail)
    with pytest.raises(ZeroDivisionError):
        run("segment", "photos")


#: A process that aborts when its interpreter is taken apart, as threads of torch.distributed may make it.
_FRAGILE = """
import os, sys
class Last:
    def __del__(self, abort=os.abort):
        abort()
os.last = Last()
sys.argv = ["leopart", *{words}]
from leopart.__main__ import command
command()
"""


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["nothing"], 2), (["segment", "-h"], 0)])
def test_one_of_several_processes_ends_with_its_status_whatever_its_threads_do(monkeypatch, words, status):
    code = _FRAGILE.format(words=words)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert python("-c", code).returncode == -signal.SIGABRT  # alone, it is taken apart
    monkeypatch.setenv("WORLD_SIZE", "2")
    ran = python("-c", code)
    assert ran.returncode == status
    assert ran.stdout + ran.stderr

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import leopart
from leopart import run_record as module
from leopart.run_record import Stopwatch, git_commit, peak_memory, settings_of, versions


def test_a_stopwatch_adds_up_stages_in_the_order_they_began(monkeypatch):
    now = iter([0.0, 1.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    watch = Stopwatch()
    for stage in ("b", "a", "b"):
        with watch.stage(stage):
            pass

    assert list(watch.seconds.items()) == [("b", 4.0), ("a", 2.0)]


def test_a_stage_that_fails_is_timed_too():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.stage("a"):
        raise KeyError
    assert watch.seconds["a"] >= 0


def test_versions_name_what_decides_the_masks():
    found = versions()

    assert found["leopart"] == leopart.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "torchvision", "timm", "numpy", "pillow"} <= found.keys()


@pytest.mark.parametrize(("platform", "raw"), [("linux", 512 * 2**10), ("darwin", 512 * 2**20)])
def test_peak_memory_is_in_mebibytes_on_every_system(monkeypatch, platform, raw):
    resource = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _who: SimpleNamespace(ru_maxrss=raw))
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(sys, "platform", platform)

    assert peak_memory() == 512


def test_peak_memory_is_unknown_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)

    assert peak_memory() is None


def test_settings_are_plain_and_leave_out_how_the_command_was_asked():
    @dataclass(frozen=True)
    class Config:
        images: tuple[Path, ...] = (Path("a"), Path("b"))
        k: tuple[int, ...] = (21, 100)
        out: Path = Path("o")
        share: float = 0.5
        features: Path | None = None
        config: Path | None = Path("c.yaml")
        quiet: bool = True

    assert settings_of(Config()) == {
        "images": ["a", "b"],
        "k": [21, 100],
        "out": "o",
        "share": 0.5,
        "features": None,
    }


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", "-C", folder, *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_says_when_files_differ_from_it(tmp_path):
    source = tmp_path / "src" / "package"
    source.mkdir(parents=True)
    assert git_commit(source) is None

    git(tmp_path, "init", "--quiet")
    assert git_commit(source) is None  # nothing committed yet
    (source / "module.py").write_text("one = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--no-verify", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert git_commit(source) == commit

    (tmp_path / "notes.txt").write_text("not followed by git")
    assert git_commit(source) == commit
    (source / "module.py").write_text("one = 2\n")
    assert git_commit(source) == f"{commit}+changes"


def test_a_checkout_around_an_installed_package_is_not_ours(tmp_path):
    git(tmp_path, "init", "--quiet")
    source = tmp_path / "venv" / "lib" / "site-packages" / "package"
    source.mkdir(parents=True)
    assert git_commit(source) is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "src" / "package").mkdir(parents=True)
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)
    assert git_commit(tmp_path / "src" / "package") is None

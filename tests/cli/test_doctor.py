"""`leopart doctor`: it says what is here, and what to do about what is not."""

from __future__ import annotations

import shutil
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from leopart import __version__
from leopart.cli import doctor

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def lines(out: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:] for line in out.partition("\n\n")[0].splitlines()}


def test_it_says_what_is_installed_and_where_things_go(run, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path / "cache"))
    ran = run("doctor")

    found = lines(ran.out)
    assert found["leopart"].startswith(__version__)
    assert f"torch {torch.__version__}" in found["device"]
    assert f"torch {torch.__version__.partition('+')[0]}" in found["libraries"]
    assert "none in" in found["weights"]
    free = shutil.disk_usage(tmp_path).free / 1e9
    assert float(found["free there"].partition(" ")[0]) == pytest.approx(free, abs=1)
    assert "LEOPART_CACHE=" in found["settings"]
    assert "weights: run `leopart weights fetch`" in ran.out
    assert ran.status == 0


def test_it_names_neither_the_user_nor_a_secret(run, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ran = run("doctor")
    assert "hf_secret" not in ran.out
    assert "HF_TOKEN is set" in ran.out
    assert str(tmp_path / "cache") not in ran.out
    assert "~/cache" in ran.out


def test_a_missing_library_is_serious_and_a_missing_extra_is_not(run, monkeypatch):
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "timm" else known(name))
    ran = run("doctor")
    assert "timm MISSING" in ran.out
    assert (ran.status, "timm: install Leopart again" in ran.out) == (1, True)
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "uvicorn" else known(name))
    ran = run("doctor")
    assert 'pip install ".[view' in ran.out
    assert ran.status == 0


def test_a_full_disk_and_a_gpu_that_is_not_used_are_noticed(run, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**8))
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ran = run("doctor")
    assert "free there: free some space" in ran.out
    assert "device: there is a GPU, but this torch does not use it" in ran.out


def test_extras_are_those_of_the_project():
    wanted = {
        extra: {Requirement(line).name for line in needed} - {"leopart"}
        for extra, needed in PROJECT["optional-dependencies"].items()
        if extra not in ("test", "dev", "docs")
    }
    assert {extra: set(names) for extra, names in doctor.EXTRAS.items()} == wanted


def test_words_that_mean_nothing_are_refused(run):
    assert run("doctor", "--help").out.startswith("usage: leopart doctor")
    ran = run("doctor", "--fast")
    assert (ran.status, ran.lines) == (2, ["leopart: doctor takes no words, got --fast"])

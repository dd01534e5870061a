from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import leopart
from leopart.errors import LeopartError
from leopart.features.extract import Failure
from leopart.segment import summary as module
from leopart.segment.summary import Stopwatch, Summary, peak_memory, versions


def make(**changes) -> Summary:
    values = {
        "command": "segment",
        "counts": {"photos": 3, "failed": 1},
        "failures": [Failure("a/b.jpg", "a/b.jpg is empty")],
        "warnings": ["few photos"],
        "results": {"threshold": 0.5},
        "settings": {"seed": 0},
        "seconds": {"masks": 1.23456},
    }
    return Summary(**(values | changes))


def test_the_file_holds_everything_and_that_no_labels_were_used(tmp_path):
    make().write(tmp_path / "summary.json")
    content = json.loads((tmp_path / "summary.json").read_text())

    memory = content.pop("peak memory MiB")
    assert content == {
        "command": "segment",
        "counts": {"photos": 3, "failed": 1},
        "failures": [{"name": "a/b.jpg", "reason": "a/b.jpg is empty"}],
        "warnings": ["few photos"],
        "results": {"threshold": 0.5},
        "settings": {"seed": 0},
        "seconds": {"masks": 1.235},
        "labels used": "none",
        "versions": versions(),
    }
    assert abs(memory - peak_memory()) < 100


def test_names_stay_readable_and_bytes_that_are_no_utf8_do_no_harm(tmp_path):
    make(settings={"images": ["猫", "caf\udce9"], "out": Path("o")}).write(tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text(encoding="utf-8")

    assert '"猫"' in text
    assert json.loads(text)["settings"] == {"images": ["猫", "caf\ufffd"], "out": "o"}


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LeopartError, match=r"cannot write .*summary\.json"):
        make().write(tmp_path / "file" / "summary.json")


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
    assert {"torch", "torchvision", "timm", "numpy", "pillow", "networkx"} <= found.keys()


@pytest.mark.parametrize(("platform", "raw"), [("linux", 512 * 2**10), ("darwin", 512 * 2**20)])
def test_peak_memory_is_in_mebibytes_on_every_system(monkeypatch, platform, raw):
    resource = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _who: SimpleNamespace(ru_maxrss=raw))
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(sys, "platform", platform)

    assert peak_memory() == 512


def test_peak_memory_is_unknown_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)

    assert peak_memory() is None

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leopart.errors import LeopartError
from leopart.features.failure import Failure
from leopart.run_record import peak_memory, versions
from leopart.segment.summary import Summary


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
        "inputs": "",
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

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from leopart.cli import display
from leopart.progress import silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def on_terminal() -> Iterator[io.StringIO]:
    """Stderr is a terminal. Not a fixture: between set-up and test pytest puts its own stream back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "stderr", Terminal())
        yield sys.stderr


def test_a_terminal_sees_the_stage_how_far_it_is_and_the_rate():
    with on_terminal() as terminal:
        assert list(display.tracker(False)(range(50), 50, "features")) == list(range(50))

    for text in ("features", "0/50", "50/50", "/s"):
        assert text in terminal.getvalue()


def test_quiet_shows_no_progress_on_a_terminal():
    with on_terminal():
        assert display.tracker(True) is silent
        assert display.tracker(False) is not silent


def test_without_a_terminal_there_is_a_line_every_ten_seconds(monkeypatch):
    """Items take 4 s each, by a clock that the test turns."""
    stream, clock = io.StringIO(), iter(range(0, 1000, 4))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(display.time, "monotonic", lambda: float(next(clock)))
    assert list(display.tracker(False)(range(8), 8, "features")) == list(range(8))
    assert stream.getvalue().splitlines() == [
        "features 3/8  0.2 /s, 20 s left",
        "features 6/8  0.2 /s, 8 s left",
    ]
    assert display.tracker(True) is silent


def test_short_work_writes_nothing_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(display.tracker(False)(range(50), 50, "features")) == list(range(50))
    assert sys.stderr.getvalue() == ""


def test_an_interruption_of_the_work_passes_through_and_gives_the_cursor_back():
    def work():
        for _ in display.tracker(False)(range(5), 5, "masks"):
            raise KeyboardInterrupt

    with on_terminal() as terminal:
        with pytest.raises(KeyboardInterrupt):
            work()
        gc.collect()

    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert terminal.getvalue().count(hide) == terminal.getvalue().count(show) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Straße 猫 <b>.jpg", "Straße 猫 <b>.jpg"),
        ("two\nlines.jpg", "two\\nlines.jpg"),
        ("\x1b[2Jgone\x07.jpg", "\\x1b[2Jgone\\x07.jpg"),
        ("gnp\u202e.exe", "gnp\\u202e.exe"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
    ],
)
def test_say_writes_one_harmless_line_whatever_a_file_is_called(capsys, text, line):
    display.say(text)

    assert capsys.readouterr().err == line + "\n"


def test_say_is_silent_when_quiet(capsys):
    display.say("hello", quiet=True)

    assert capsys.readouterr().err == ""


def test_counted_knows_one_from_many():
    assert [display.counted(n, "photo") for n in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]

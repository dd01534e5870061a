"""Figures of a run: measured rightly, written whole, and not twice after an interruption."""

from __future__ import annotations

import json
import sys
import time
from typing import ClassVar

import lightning.pytorch as pl
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.settings import updated
from leopart.training.monitoring import reporting
from leopart.training.monitoring.loggers import Loggers, MetricsFile
from leopart.training.monitoring.reporting import Clock


def steps_in(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("start", "kept"), [(0, []), (11, [1, 11]), (30, [1, 11, 21])])
def test_lines_of_steps_that_will_be_done_again_are_dropped(tmp_path, start, kept):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path, 0)
    for step in (1, 11, 21):
        file.write(step, {"loss": 1.5})
    MetricsFile(path, start).write(99, {"loss": 2.0})
    assert steps_in(path) == [*kept, 99]


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    MetricsFile(path, 5)
    assert path.read_text() == '{"step": 1, "loss": 2}\n'


def test_numbers_have_six_digits(tmp_path):
    MetricsFile(tmp_path / "m", 0).write(3, {"a": 1 / 3, "b": 123456789.0, "c": 0.0})
    assert (tmp_path / "m").read_text() == '{"step": 3, "a": 0.333333, "b": 123457000.0, "c": 0.0}\n'


def test_tensorboard_gets_figures_and_pictures_and_forgets_steps_done_again(tmp_path):
    for start, steps in ((0, (1, 11, 21)), (11, (21, 31))):
        loggers = Loggers.open(tmp_path, start)
        for step in steps:
            loggers.figures(step, {"loss": float(step + start)})
        loggers.picture(steps[-1], "clusters", np.zeros((4, 6, 3), np.uint8))
        loggers.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True)
    board.Reload()
    found = {event.step: event.value for event in board.Scalars("loss")}
    assert found == {1: 1.0, 11: 11.0, 21: 32.0, 31: 42.0}
    assert board.Images("clusters")
    assert steps_in(tmp_path / "metrics.jsonl") == [1, 11, 21, 31]


def test_weights_and_biases_that_are_not_there_are_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(LeopartError, match=r"run `pip install wandb`, or leave it out"):
        Loggers.open(tmp_path, 0, "project")


def test_weights_and_biases_get_the_figures_and_one_run_for_one_folder(tmp_path, monkeypatch):
    class Wandb:
        asked: ClassVar[list[dict]] = []
        logged: ClassVar[list[tuple]] = []

        def init(self, **options):
            self.asked.append(options)
            return self

        def log(self, figures, step):
            self.logged.append((step, figures))

        def finish(self):
            self.logged.append("finished")

    fake = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 3):
        loggers = Loggers.open(tmp_path, start, "project")
        loggers.figures(start + 1, {"loss": 1.0})
        loggers.close()
    assert fake.logged == [(1, {"loss": 1.0}), "finished", (4, {"loss": 1.0}), "finished"]
    assert fake.asked[0] == fake.asked[1]
    assert fake.asked[0]["project"] == "project"


def test_a_clock_tells_images_a_second_and_the_share_of_waiting(monkeypatch):
    now = iter([5.0, 9.0])
    monkeypatch.setattr(reporting.time, "perf_counter", lambda: next(now))
    clock = Clock(since=1.0)
    clock.images += 12
    assert clock.read(waited=1.0) == (12 / 4, 1 / 4)
    clock.images += 8
    assert clock.read(waited=3.0) == (8 / 4, 2 / 4)


def test_looking_between_two_steps_is_no_waiting(train_tiny, tiny_recipe, heard):
    class Slow(pl.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            time.sleep(0.2)

    train_tiny(updated(tiny_recipe, steps=4), progress=heard, callbacks=[Slow()])
    assert heard.reports[-1].data_wait < 0.6


def test_a_run_reports_every_tenth_step_and_the_last(train_tiny, tiny_recipe, heard, tmp_path):
    trained = train_tiny(updated(tiny_recipe, steps=13), tmp_path, progress=heard)
    assert [report.step for report in heard.reports] == [1, 11, 13]
    assert {report.total for report in heard.reports} == {trained.total} == {13}
    assert heard.reports[-1].seconds_left == 0
    assert heard.reports[0].seconds_left > 0
    assert all(report.images_per_second > 0 and 0 <= report.data_wait <= 1 for report in heard.reports)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0.5, 5.5, 6.5]  # ten photos give two steps
    assert lines[0]["lr"] == pytest.approx(tiny_recipe.lr)
    assert set(lines[0]) == {
        *("step", "loss", "perplexity", "assignment_entropy", "feature_rank", "agreement", "foreground"),
        *("queue_fill", "epoch", "lr", "images_per_second", "data_wait"),
    }


def test_a_step_in_parts_reports_once(train_tiny, tiny_recipe, heard):
    train_tiny(updated(tiny_recipe, steps=12, accumulate=2), progress=heard)
    assert [report.step for report in heard.reports] == [1, 11, 12]


def test_photos_that_cannot_be_read_are_named_once(train_tiny, tiny_recipe, tmp_path, paint_photos, heard):
    folder = paint_photos(tmp_path / "photos", 5)
    (folder / "01.png").write_bytes(b"")
    trained = train_tiny(updated(tiny_recipe, steps=8), on=find_photos([folder]), progress=heard)
    assert trained.step == 8
    assert [failure.name for failure in trained.failures] == ["01.png"]
    assert heard.notes == [f"left out: {trained.failures[0].reason}"]
    assert "01.png" in heard.notes[0]

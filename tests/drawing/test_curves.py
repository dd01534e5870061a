from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from leopart.drawing.curves import draw_curves, read_metrics
from leopart.drawing.page import save_figure
from leopart.errors import LeopartError


def write(path: Path, rows: list[dict[str, object]], end: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + end)
    return path


def test_metrics_are_series_by_name(tmp_path: Path):
    rows = [
        {"step": 20, "loss": 4.5, "perplexity": 200.0},
        {"step": 10, "loss": 5},
        {"step": 20, "val/miou_k21": 0.25, "note": "words are no numbers"},
        {"step": 30, "loss": math.nan},
    ]
    found = read_metrics(write(tmp_path / "m.jsonl", rows))
    assert list(found) == ["loss", "perplexity", "val/miou_k21"]
    assert list(found["loss"].items())[:2] == [(10, 5.0), (20, 4.5)]
    assert math.isnan(found["loss"][30])
    assert found["val/miou_k21"] == {20: 0.25}


def test_a_step_done_twice_has_its_later_value(tmp_path: Path):
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    assert read_metrics(write(tmp_path / "m.jsonl", rows))["loss"] == {1: 3.0, 2: 1.0}


@pytest.mark.parametrize("end", ["", '{"step": 2, "lo', '{"step": 2, "loss": 1}'])
def test_a_last_line_without_an_end_is_left_out(tmp_path: Path, end: str):
    assert read_metrics(write(tmp_path / "m.jsonl", [{"step": 1, "loss": 3.0}], end)) == {"loss": {1: 3.0}}


@pytest.mark.parametrize("line", ["hello", "[1]", '{"loss": 1}', '{"step": "x"}', "3"])
def test_a_line_that_is_something_else_is_named(tmp_path: Path, line: str):
    path = write(tmp_path / "m.jsonl", [{"step": 1}], f"{line}\n")
    with pytest.raises(LeopartError, match=r"line 2 of .*m\.jsonl is not a JSON object with a step"):
        read_metrics(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"cannot read .*m\.jsonl"):
        read_metrics(tmp_path / "m.jsonl")


METRICS = {
    "loss": {10: 5.0, 20: 4.0},
    "learning_rate": {10: 1.0},
    "perplexity": {10: 100.0, 20: 150.0},
    "val/miou_k21": {20: 0.25},
    "val/miou_k100": {20: 0.5},
}


def test_there_is_a_panel_for_loss_perplexity_and_scores_in_percent():
    loss, perplexity, scores = draw_curves(METRICS).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[10, 5], [20, 4]]]
    assert [line.get_xydata().tolist() for line in perplexity.lines] == [[[10, 100], [20, 150]]]
    assert {line.get_label(): line.get_xydata().tolist() for line in scores.lines} == {
        "K = 21": [[20, 25]],
        "K = 100": [[20, 50]],
    }
    assert (loss.get_title(), scores.get_title()) == ("loss", "validation mIoU, percent")
    assert [text.get_text() for text in scores.get_legend().get_texts()] == ["K = 21", "K = 100"]


def test_what_is_not_there_has_no_panel():
    (only,) = draw_curves({"loss": {1: 2.0}}).axes
    assert only.get_title() == "loss"
    with pytest.raises(LeopartError, match="nothing to draw"):
        draw_curves({"learning_rate": {1: 2.0}})


def test_files_are_what_they_are_called_and_repeat_to_the_byte(tmp_path: Path):
    names = ("a.png", "a.pdf", "b.png", "b.pdf")
    save_figure(draw_curves(METRICS), [tmp_path / name for name in names[:2]])
    save_figure(draw_curves(METRICS), [tmp_path / name for name in names[2:]])
    first, second, *again = ((tmp_path / name).read_bytes() for name in names)
    assert first.startswith(b"\x89PNG")
    assert second.startswith(b"%PDF")
    assert [first, second] == again


def test_without_matplotlib_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LeopartError, match=r"pip install 'leopart\[demo\]'"):
        draw_curves(METRICS)

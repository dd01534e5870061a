from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from leopart.errors import LeopartError
from leopart.evaluation.metrics.matching import score
from leopart.evaluation.report import Outcome, Score, Scores, read_report, write_report

# Two classes under two clusters, twice: 6 of 8 pixels right, then 5 of 8.
MATRICES = [np.array([[4, 0], [2, 2]]), np.array([[3, 1], [2, 2]])]


def matchings():
    return [score(matrix, np.arange(2)) for matrix in MATRICES]


def test_a_row_of_matchings_has_the_numbers_of_each_seed():
    row = Score.of_matchings("8", matchings(), matching="precision")
    # IoU of the classes: 4/6 and 2/4, then 3/6 and 2/5.
    assert row.class_iou == pytest.approx(np.array([[4 / 6, 2 / 4], [3 / 6, 2 / 5]]))
    assert row.headline == pytest.approx([(4 / 6 + 2 / 4) / 2, (3 / 6 + 2 / 5) / 2])
    assert list(row.metrics) == ["miou", "pixel accuracy"]
    assert row.metrics["pixel accuracy"] == pytest.approx([6 / 8, 5 / 8])
    assert row.about == {"matching": "precision"}


def test_what_is_written_is_read_back(tmp_path: Path):
    rows = Score.of_matchings("8", matchings(), matching="precision"), Score("f1", {"f1": np.array([0.25])})
    rows = (*rows, Score("none", {"f1": np.array([np.nan])}))
    outcome = Outcome(rows, {"clusters": "none"}, (0, 1), {"curve": [1, 2]})
    found = Scores("task", 3, {0: "background", 9: "Kuh \udcff"}, "net", outcome, ("a note",))
    write_report(tmp_path / "deep" / "scores.json", found, {"dataset": "voc:x"})
    read = read_report(tmp_path / "deep" / "scores.json")

    assert (read["task"], read["images"], read["dataset"], read["seeds"]) == ("task", 3, "voc:x", [0, 1])
    assert (read["notes"], read["labels used"], read["curve"]) == (["a note"], {"clusters": "none"}, [1, 2])
    row = read["scores"]["8"]
    assert row["matching"] == "precision"
    assert row["miou"]["per seed"] == pytest.approx([0.583333, 0.45], abs=1e-6)
    assert row["miou"]["mean"] == pytest.approx(0.516667, abs=1e-6)
    assert row["miou"]["std"] == pytest.approx(0.066667, abs=1e-6)  # of these two: half their distance
    assert [entry["id"] for entry in row["per class"]] == [0, 9]
    assert row["per class"][1]["iou"]["per seed"] == [0.5, 0.4]
    assert read["scores"]["none"]["f1"] == {"mean": None, "std": None, "per seed": [None]}
    assert read["scores"]["f1"] == {"f1": {"mean": 0.25, "std": 0.0, "per seed": [0.25]}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot read .*: No such file or directory; give a file of `leopart evaluate`"),
        ("{", "is not JSON: .*; give a file of `leopart evaluate`"),
        (json.dumps([1]), r"valid dictionary, not \[1\]; give a file of `leopart evaluate`"),
        (json.dumps({"task": 3, "scores": {}}), "task: Input should be a valid string"),
        (json.dumps({"task": "x"}), "scores: Field required"),
        (json.dumps({"task": "x", "scores": 3}), "scores: Input should be a valid dictionary, not 3"),
        (json.dumps({"task": "x", "scores": {"8": {"miou": {"mean": 1}}}}), "scores.8: .*miou: per seed"),
        (json.dumps({"task": "x", "scores": {"8": {"f1": {"per seed": []}}}}), "f1: per seed: .* at least 1"),
        (json.dumps({"task": "x", "scores": {"8": {"f1": {"per seed": [7]}}}}), "f1: per seed.0.*less than"),
        (json.dumps({"task": "x", "scores": {"8": {"per class": [1]}}}), "scores.8: .*per class: 0"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str | None, sentence: str):
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(LeopartError, match=sentence):
        read_report(tmp_path / "x.json")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leopart.errors import LeopartError
from leopart.evaluation.compare import compare, difference


def summary(values: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "per seed": values}


def report(path: Path, miou: dict[str, list[float]], cow: list[float], **changes: Any) -> Path:
    rows = {
        name: {
            "matching": "precision",
            "miou": summary(values),
            "per class": [{"id": 1, "name": "cow", "iou": summary(cow)}],
        }
        for name, values in miou.items()
    }
    content = {
        "task": "overclustering",
        "backbone": {"name": path.stem, "block": 9},
        "settings": {"k": [21], "data": "folder:x", "out": str(path)},
        "scores": rows,
    }
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize(("shift", "explained"), [(0.005, True), (0.2, False)])
def test_the_interval_is_that_of_scipys_welch_test(shift: float, explained: bool):
    rng = np.random.default_rng(0)
    a, b = 0.3 + 0.02 * rng.normal(size=5), 0.3 + shift + 0.01 * rng.normal(size=4)
    found = difference("miou", a, b)
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)

    assert found.change == pytest.approx(b.mean() - a.mean())
    assert (found.change - found.margin, found.change + found.margin) == pytest.approx(tuple(interval))
    assert found.explained is explained is bool(interval.low <= 0 <= interval.high)


def test_one_seed_tells_nothing_about_the_spread():
    found = difference("miou", np.array([0.2]), np.array([0.3, 0.4]))
    assert (found.margin, found.explained) == (None, None)
    assert found.change == pytest.approx(0.15)


def test_a_seed_with_nothing_to_score_leaves_the_difference_open():
    found = difference("miou", np.array([0.2, np.nan]), np.array([0.3, 0.4]))
    assert (found.margin, found.explained) == (None, None)


def test_seeds_that_hardly_differ_have_a_margin():
    """The squares of variances this small are 0."""
    found = difference("miou", np.array([0.0, 1e-100]), np.array([0.3, 0.3]))
    assert found.margin == pytest.approx(0)
    assert not found.explained


def test_equal_seeds_leave_no_room_for_a_difference():
    same = difference("miou", np.array([0.2, 0.2]), np.array([0.2, 0.2]))
    other = difference("miou", np.array([0.2, 0.2]), np.array([0.3, 0.3]))
    assert (same.margin, same.explained, other.explained) == (0, True, False)


def test_rows_and_classes_of_both_files_are_put_side_by_side(tmp_path: Path):
    a = report(tmp_path / "a.json", {"21": [0.1, 0.2], "100": [0.3, 0.3]}, [0.4, 0.5])
    b = report(tmp_path / "b.json", {"21": [0.3, 0.4]}, [0.1, 0.1])
    found = compare(a, b)

    assert (found.task, found.names) == ("overclustering", ("a, block 9", "b, block 9"))
    (row,) = found.rows
    assert (row.name, found.missing) == ("21", ("100",))
    ((miou,), (cow,)) = row.metrics, row.classes
    assert (miou.name, miou.first, miou.second) == ("miou", pytest.approx(0.15), pytest.approx(0.35))
    assert (cow.name, cow.first, cow.second) == ("cow", pytest.approx(0.45), pytest.approx(0.1))
    assert found.settings == {}


def test_options_that_differ_are_named_and_where_the_file_went_is_not(tmp_path: Path):
    a = report(tmp_path / "a.json", {"21": [0.1]}, [0.1], settings={"data": "folder:x", "out": "1"})
    b = report(tmp_path / "b.json", {"21": [0.1]}, [0.1], settings={"data": "voc:x", "out": "2", "k": [3]})
    assert compare(a, b).settings == {"data": ("folder:x", "voc:x"), "k": (None, [3])}


def test_different_tasks_or_rows_are_refused(tmp_path: Path):
    a = report(tmp_path / "a.json", {"21": [0.1]}, [0.1])
    with pytest.raises(LeopartError, match=r"a\.json scores overclustering, .*linear; give files of one"):
        compare(a, report(tmp_path / "b.json", {"21": [0.1]}, [0.1], task="linear"))
    with pytest.raises(LeopartError, match="no row in common \\(21 and 22\\)"):
        compare(a, report(tmp_path / "b.json", {"22": [0.1]}, [0.1]))

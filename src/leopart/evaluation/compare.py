"""Two evaluations side by side: differences, and whether the spread over seeds explains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from leopart.errors import LeopartError
from leopart.evaluation.metrics.matching import Floats
from leopart.evaluation.report import read_report
from leopart.paths import clipped

#: Of the intervals: a difference due to seeds alone lies outside in one of twenty comparisons.
CONFIDENCE = 0.95
_COST = ("out", "device", "batch_size", "cache", "save_maps", "save_head", "backbone", "features")


@dataclass(frozen=True)
class Difference:
    """A score in two evaluations, in [0, 1].

    Attributes:
        name: of the score.
        first: mean over the seeds of A.
        second: mean over the seeds of B.
        margin: half the width of the 95 % interval of the difference (Welch's t over seeds); None where A or
            B has a single seed, or a seed with nothing to score.
    """

    name: str
    first: float
    second: float
    margin: float | None

    @property
    def change(self) -> float:
        """B minus A."""
        return self.second - self.first

    @property
    def explained(self) -> bool | None:
        """Whether seeds alone may explain the difference; None = unknown."""
        return None if self.margin is None else abs(self.change) <= self.margin


@dataclass(frozen=True)
class ComparedRow:
    """A row of scores that both evaluations have.

    Attributes:
        name: such as the number of clusters.
        metrics: one difference for each metric, the published one first.
        classes: one difference for each class that both have.
    """

    name: str
    metrics: tuple[Difference, ...]
    classes: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Two evaluations.

    Attributes:
        task: name of the task.
        names: backbone and block of each evaluation.
        rows: those that both have.
        settings: both values of each option that differs; the scores may then not be comparable.
        missing: names of rows that only one of the two has.
    """

    task: str
    names: tuple[str, str]
    rows: tuple[ComparedRow, ...]
    settings: Mapping[str, tuple[Any, Any]]
    missing: tuple[str, ...]


def compare(first: Path, second: Path) -> Comparison:
    """Put two files of `leopart evaluate` side by side.

    Raises:
        LeopartError: a file cannot be read, the tasks differ, or no row is in both.
    """
    a, b = read_report(first), read_report(second)
    if a.get("task") != b.get("task"):
        raise LeopartError(
            f"{first} scores {a.get('task')}, {second} {b.get('task')}; give files of one task"
        )
    shared = [name for name in a["scores"] if name in b["scores"]]
    if not shared:
        both = " and ".join(clipped(", ".join(one["scores"]), 300) for one in (a, b))
        raise LeopartError(f"the two files have no row in common ({both}); evaluate with the same options")
    return Comparison(
        task=str(a.get("task")),
        names=(_backbone(a), _backbone(b)),
        rows=tuple(_row(name, a["scores"][name], b["scores"][name]) for name in shared),
        settings=dict(_different(a, b)),
        missing=tuple(sorted(set(a["scores"]) ^ set(b["scores"]))),
    )


def difference(name: str, first: Floats, second: Floats) -> Difference:
    """Compare the values [S] and [T] of S and T seeds."""
    means = float(np.mean(first)), float(np.mean(second))
    return Difference(name, *means, _margin(first, second))


def _margin(first: Floats, second: Floats) -> float | None:
    if min(len(first), len(second)) < 2:
        return None
    variances = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    total = float(sum(variances))
    if np.isnan(total):  # a seed had nothing to score
        return None
    if total == 0:
        return 0.0
    freedom = 1 / sum(
        (v / total) ** 2 / (len(values) - 1) for v, values in zip(variances, (first, second), strict=True)
    )
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(total))


def _row(name: str, a: dict[str, Any], b: dict[str, Any]) -> ComparedRow:
    metrics = [key for key, value in a.items() if isinstance(value, dict) and key in b]
    return ComparedRow(
        name,
        tuple(difference(key, _seeds(a[key]), _seeds(b[key])) for key in metrics),
        tuple(_classes(a.get("per class", []), b.get("per class", []))),
    )


def _classes(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> Iterator[Difference]:
    others = {row["name"]: row for row in b}
    for row in a:
        if row["name"] in others:
            yield difference(row["name"], _seeds(row["iou"]), _seeds(others[row["name"]]["iou"]))


def _seeds(summary: dict[str, Any]) -> Floats:
    return np.array(summary["per seed"], np.float64)


def _backbone(report: dict[str, Any]) -> str:
    backbone = report.get("backbone", {})
    return f"{backbone.get('name')}, block {backbone.get('block')}"


def _different(a: dict[str, Any], b: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    ours, theirs = a.get("settings", {}), b.get("settings", {})
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in _COST and ours.get(name) != theirs.get(name):
            yield name, (ours.get(name), theirs.get(name))

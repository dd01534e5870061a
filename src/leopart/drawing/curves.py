"""Curves of a training run from its `metrics.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leopart.drawing.page import require_matplotlib
from leopart.errors import LeopartError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = Mapping[int, float]
"""Values by optimiser step, steps ascending."""

_SCORE = "val/miou"
#: Names in files of version 0.1, and today's.
_RENAMED = {
    "global_told_apart": "global_contrastive_accuracy",
    "dense_told_apart": "dense_contrastive_accuracy",
}
_COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#8e6c8a", "#e09f3e")


def read_metrics(path: Path) -> dict[str, Series]:
    """The numbers of a run by name.

    A step that was written twice (by a resumed run) has its later value; an incomplete last line, as after an
    interruption, is ignored.

    Args:
        path: one JSON object a line: `step`, and numbers by name.

    Raises:
        LeopartError: the file cannot be read, or a line has other content.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LeopartError(f"cannot read {path}: {error}; check the folder of the run") from error
    found: dict[str, dict[int, float]] = {}
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        step, values = _parsed(line, f"line {number} of {path}")
        for name, value in values.items():
            found.setdefault(_RENAMED.get(name, name), {})[step] = value
    return {name: dict(sorted(series.items())) for name, series in found.items()}


def _parsed(line: str, where: str) -> tuple[int, dict[str, float]]:
    try:
        row: dict[str, Any] = json.loads(line, parse_int=float)
        step = int(row.pop("step"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise LeopartError(f"{where} is not a JSON object with a step; remove the line") from error
    return step, {name: value for name, value in row.items() if isinstance(value, float)}


def draw_curves(metrics: Mapping[str, Series]) -> Figure:
    """Loss, prototypes in use and validation scores by step, one panel each if there are values.

    Args:
        metrics: from `read_metrics`; `loss`, `perplexity` and names that begin with `val/miou` are drawn.

    Raises:
        LeopartError: there are no values, or matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    scores = {name: series for name, series in metrics.items() if name.startswith(_SCORE)}
    percent = {_score_name(name): _times_100(series) for name, series in scores.items()}
    panels = {
        "loss": {name: metrics[name] for name in ("loss",) if name in metrics},
        "prototypes in use (perplexity)": {
            name: metrics[name] for name in ("perplexity",) if name in metrics
        },
        "validation mIoU, percent": percent,
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels:
        raise LeopartError("the metrics hold no loss, perplexity or validation score; nothing to draw")
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        _draw(axis, title, curves)
    return figure


def _score_name(name: str) -> str:
    """`val/miou_k21` -> `K = 21`."""
    rest = name.removeprefix(_SCORE).lstrip("_")
    return f"K = {rest[1:]}" if rest.startswith("k") else rest or "mIoU"


def _times_100(series: Series) -> Series:
    return {step: 100 * value for step, value in series.items()}


def _draw(axis: Axes, title: str, curves: Mapping[str, Series]) -> None:
    for (name, series), colour in zip(curves.items(), _COLOURS * len(curves), strict=False):
        marker = "o" if len(series) < 30 else None
        axis.plot(list(series), list(series.values()), color=colour, marker=marker, markersize=3, label=name)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axis.legend(frameon=False, fontsize=8)

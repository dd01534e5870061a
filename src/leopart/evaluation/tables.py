"""Tables of scores, in percent, for a terminal and as text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leopart.wording import counted, printable

if TYPE_CHECKING:
    from leopart.evaluation.compare import ComparedRow, Comparison, Difference
    from leopart.evaluation.report import Score, Scores

#: Characters of a line of text.
_WIDEST = 200
_NAMES = {"miou": "mIoU"}
_VERDICTS = {
    True: "within the spread of seeds",
    False: "beyond the spread of seeds",
    None: "one seed: unknown",
}


def show(found: Scores, file: TextIO | None = None) -> None:
    """Print all rows of an evaluation, then the classes.

    Args:
        found: scores.
        file: None = standard output.
    """
    console = _console(file)
    scores, seeds = found.outcome.scores, len(found.outcome.seeds)
    title = f"{found.task}: {found.backbone}, {counted(found.images, 'photo')}, {counted(seeds, 'seed')}"
    console.print(f"{title}, percent")
    console.print(_totals(scores))
    if any(score.class_iou is not None for score in scores):
        console.print(_classes(found))
    for note in found.notes:
        console.print(f"note: {printable(note)}")


def _totals(scores: tuple[Score, ...]) -> Table:
    """One row a score: mean and standard deviation of each metric, and the first metric of each seed."""
    table = _table("", *scores[0].about)
    several = any(len(score.headline) > 1 for score in scores)
    for name in scores[0].metrics:
        table.add_column(_NAMES.get(name, name), justify="right")
    if several:
        table.add_column(
            f"{_NAMES.get(next(iter(scores[0].metrics)), 'score')} of each seed", justify="right"
        )
    for score in scores:
        cells = [_mean(values) for values in score.metrics.values()]
        if several:
            cells.append(" ".join(f"{100 * value:.1f}" for value in score.headline))
        table.add_row(score.name, *map(str, score.about.values()), *cells)
    return table


def _mean(values: np.ndarray[Any, Any]) -> str:
    mean = f"{100 * values.mean():.1f}"
    return f"{mean} ± {100 * values.std():.1f}" if len(values) > 1 else mean


def _classes(found: Scores) -> Table:
    """Mean IoU of each class, a column for each row of scores."""
    scores = [score for score in found.outcome.scores if score.class_iou is not None]
    table = _table("IoU of class")
    for score in scores:
        table.add_column(score.name, justify="right")
    columns = [score.class_iou.mean(0) for score in scores if score.class_iou is not None]
    for row, name in enumerate(found.classes.values()):
        table.add_row(Text(printable(name)), *(f"{100 * column[row]:.1f}" for column in columns))
    return table


def show_comparison(found: Comparison) -> None:
    """Both evaluations side by side, differences of classes below."""
    console = _console()
    console.print(f"{found.task}, percent: A = {found.names[0]}, B = {found.names[1]}")
    for name, (first, second) in found.settings.items():
        console.print(f"different option: --{name.replace('_', '-')}: A {first}, B {second}")
    for row in found.rows:
        console.print(_differences(f"{row.name}", row.metrics))
        if row.classes:
            console.print(_differences("IoU of class", _by_change(row)))
    if any(row.classes for row in found.rows):
        console.print(
            "Intervals are 95 % (Welch's t over the seeds): of twenty classes that did not change, "
            "one lies outside by chance."
        )
    if found.missing:
        console.print(f"only in one of the two: {', '.join(found.missing)}")


def _by_change(row: ComparedRow) -> tuple[Difference, ...]:
    return tuple(sorted(row.classes, key=lambda entry: -entry.change))


def _differences(title: str, entries: tuple[Difference, ...]) -> Table:
    table = _table(title)
    for name in ("A", "B", "B - A", "95 %"):
        table.add_column(name, justify="right")
    table.add_column("")
    for entry in entries:
        margin = "" if entry.margin is None else f"± {100 * entry.margin:.1f}"
        table.add_row(
            Text(printable(_NAMES.get(entry.name, entry.name))),
            f"{100 * entry.first:.1f}",
            f"{100 * entry.second:.1f}",
            f"{100 * entry.change:+.1f}",
            margin,
            _VERDICTS[entry.explained],
        )
    return table


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _console(file: TextIO | None = None) -> Console:
    # As text a table has the width that it needs; a terminal's is not known.
    width = None if file is None else _WIDEST
    return Console(file=file or sys.stdout, highlight=False, markup=False, width=width)

"""`leopart evaluate`: scores of a backbone on labelled photos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leopart.cli.display import counted, printable, say, tracker
from leopart.cli.options import parse
from leopart.config import EvaluateConfig

if TYPE_CHECKING:
    from rich.table import Table

    from leopart.evaluation.pipeline import Evaluation


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 0."""
    config = parse(EvaluateConfig, "evaluate", argv)
    from leopart.evaluation.pipeline import evaluate

    found = evaluate(config, track=tracker(config.quiet))
    if not config.quiet:
        _show(found)
    say(f"scores: {config.out.resolve()}", quiet=config.quiet)
    return 0


def _show(found: Evaluation) -> None:
    """Tables on stdout, in percent."""
    from rich.console import Console

    seeds = counted(len(found.scores[0].seeds), "seed")
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(f"overclustering: {found.backbone}, {counted(found.images, 'photo')}, {seeds}, percent")
    console.print(_totals(found))
    console.print(_classes(found))


def _totals(found: Evaluation) -> Table:
    from rich.table import Table

    table = Table("clusters", "matching", box=None, pad_edge=False)
    for name in ("mIoU", "std", "of each seed"):
        table.add_column(name, justify="right")
    for scores in found.scores:
        each = " ".join(f"{100 * value:.1f}" for value in scores.miou)
        row = (str(scores.k), scores.rule, f"{100 * scores.mean:.1f}", f"{100 * scores.std:.1f}", each)
        table.add_row(*row)
    return table


def _classes(found: Evaluation) -> Table:
    """Mean IoU of each class, a column for each number of clusters."""
    from rich.table import Table
    from rich.text import Text

    table = Table("class", box=None, pad_edge=False)
    for scores in found.scores:
        table.add_column(f"IoU, {scores.k} clusters", justify="right")
    columns = [scores.class_iou.mean(0) for scores in found.scores]
    for row, name in enumerate(found.classes):
        table.add_row(Text(printable(name)), *(f"{100 * column[row]:.1f}" for column in columns))
    return table

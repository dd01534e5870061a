"""`leopart evaluate`: scores of a backbone on labelled photos, and two of them side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from leopart.cli.display import say, tracker
from leopart.cli.options import named_first, parse
from leopart.config import TASKS, CompareConfig, EvaluateConfig

_HELP = """\
usage: leopart evaluate TASK --data NAME:PATH --out FILE [--backbone B] …
       leopart evaluate --compare A.json B.json

Score a backbone on labelled photos: writes one JSON file and prints the scores.

tasks:
{tasks}

`leopart evaluate TASK --help` lists the options of a task, `leopart data list` the data sets.
--compare shows two results side by side, and whether the spread over seeds explains the difference.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 0."""
    if list(argv) in (["-h"], ["--help"]):
        rows = "\n".join(f"  {name:<16}{config.ABOUT}" for name, config in TASKS.items())
        sys.stdout.write(_HELP.format(tasks=rows))
        return 0
    if any(word.split("=")[0] == "--compare" for word in argv):
        return _compare(argv)
    config = parse_evaluate(argv)
    from leopart.evaluation.evaluate import evaluate
    from leopart.evaluation.tables import show
    from leopart.processes import is_first_process

    found = evaluate(config, track=tracker(config.quiet))
    if is_first_process():  # torchrun may have started several
        if not config.quiet:
            show(found)
        say(f"scores: {config.out.resolve()}", quiet=config.quiet)
    return 0


def parse_evaluate(argv: Sequence[str]) -> EvaluateConfig:
    """Options of the task, which is the first word or is named in the file of `--config`.

    Raises:
        LeopartError: there is no such task, or a value is invalid.
        SystemExit: see `parse`.
    """
    form = "`leopart evaluate TASK --data DATA --out OUT`"
    task = named_first(argv, "task", "task", form, TASKS)
    return parse(TASKS[task], f"evaluate {task}", argv)


def _compare(argv: Sequence[str]) -> int:
    config = parse(CompareConfig, "evaluate", argv)
    from leopart.evaluation.compare import compare
    from leopart.evaluation.tables import show_comparison

    first, second = map(Path, config.compare)
    show_comparison(compare(first, second))
    return 0

"""`leopart figure`: pictures and curves of a training run."""

from __future__ import annotations

from collections.abc import Sequence

from leopart.cli.display import say
from leopart.cli.options import parse
from leopart.config import FigureConfig


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 0."""
    config = parse(FigureConfig, "figure", argv)
    from leopart.drawing.run_figures import training_figures

    for file in training_figures(config.run, config.out, config.milliseconds):
        say(f"{file.resolve()}", quiet=config.quiet)
    return 0

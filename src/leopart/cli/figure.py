"""`leopart figure`: the figures of the paper, from the user's own photos."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from leopart.cli.display import say, tracker
from leopart.cli.options import named_first, parse
from leopart.config import FIGURES, FigureConfig

_HELP = """\
usage: leopart figure NAME … --out FOLDER

Draw a figure from your own photos: writes FOLDER/NAME.pdf and FOLDER/NAME.png.

figures:
{figures}

`leopart figure NAME --help` lists the options of a figure.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 0."""
    if list(argv) in (["-h"], ["--help"]):
        rows = "\n".join(f"  {name:<16}{config.ABOUT}" for name, config in FIGURES.items())
        sys.stdout.write(_HELP.format(figures=rows))
        return 0
    config = parse_figure(argv)
    from leopart.figures.draw import draw_figure

    for file in draw_figure(config, track=tracker(config.quiet)):
        say(f"{file.resolve()}", quiet=config.quiet)
    return 0


def parse_figure(argv: Sequence[str]) -> FigureConfig:
    """Options of the figure, which is the first word or is named in the file of `--config`.

    Raises:
        LeopartError: there is no such figure, or a value is invalid.
        SystemExit: see `parse`.
    """
    name = named_first(argv, "name", "figure", "`leopart figure NAME … --out OUT`", FIGURES)
    return parse(FIGURES[name], f"figure {name}", argv)

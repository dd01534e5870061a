"""The work of `leopart figure`: options in, files out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from leopart.config import FigureConfig, TrainingFigureConfig
from leopart.drawing.page import Page, require_matplotlib
from leopart.drawing.run_figures import training_figures
from leopart.locks import locked
from leopart.progress import Track, silent

Draw = Callable[[Any, Track], Page]
PAGES = {
    "crops": "crops",
    "cbfe": "segmented",
    "parts": "segmented",
    "communities": "segmented",
    "overclustering": "overclustering",
    "ade-parts": "labels",
}
"""Module with the function `draw` of each figure; imported when needed."""


def draw_figure(config: FigureConfig, *, track: Track = silent) -> list[Path]:
    """Draw a figure into `OUT/NAME.pdf` and `OUT/NAME.png`; of a training, see `training_figures`.

    The same photos, options and seed give the same bytes.

    Returns:
        The files written.

    Raises:
        LeopartError: photos, masks or options do not fit, matplotlib is missing, or a file cannot be written.
    """
    config.check()
    with locked(config.out):
        return _drawn(config, track)


def _drawn(config: FigureConfig, track: Track) -> list[Path]:
    if isinstance(config, TrainingFigureConfig):
        return training_figures(config.run, config.out, config.milliseconds)
    require_matplotlib()  # before the work
    draw: Draw = import_module(f"leopart.figures.{PAGES[config.name]}").draw
    page = draw(config, track)
    return page.save(config.out, config.name)

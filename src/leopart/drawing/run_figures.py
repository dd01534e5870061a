"""The figures of a training run, from its folder."""

from __future__ import annotations

import re
from pathlib import Path

from leopart.drawing.animation import save_animation, strip
from leopart.drawing.curves import draw_curves, read_metrics
from leopart.drawing.page import require_matplotlib, save_figure
from leopart.errors import LeopartError
from leopart.files import whole_file

_SHEET = re.compile(r"step-(\d+)\.png")


def training_figures(run: Path, out: Path, milliseconds: int = 600) -> list[Path]:
    """Draw the figures for which the run has files.

        OUT/  training-sheets.gif     animation of the contact sheets in RUN/sheets
              training-sheets.png     the first, middle and last of them
              training-curves.png     loss, prototypes in use and validation scores, from RUN/metrics.jsonl
              training-curves.pdf

    Args:
        run: folder that `leopart train` wrote.
        out: folder for the figures, made if need be.
        milliseconds: how long the animation shows each sheet.

    Returns:
        The files written.

    Raises:
        LeopartError: the run has neither sheets nor metrics, or a file cannot be read or written.
    """
    if not run.is_dir():
        raise LeopartError(f"there is no folder {run}; give the folder that `leopart train` wrote")
    sheets, metrics = _sheets(run / "sheets"), run / "metrics.jsonl"
    if not sheets and not metrics.is_file():
        raise LeopartError(
            f"{run} has no sheets/ and no metrics.jsonl; give a folder that `leopart train` wrote"
        )
    written = []
    if metrics.is_file():  # before anything is written: matplotlib may be missing
        require_matplotlib()
        written += [out / "training-curves.png", out / "training-curves.pdf"]
        save_figure(draw_curves(read_metrics(metrics)), written)
    if sheets:
        still, moving = out / "training-sheets.png", out / "training-sheets.gif"
        with whole_file(still) as file:
            strip(sheets).save(file, format="PNG")
        save_animation(sheets, moving, milliseconds)
        written += [still, moving]
    return written


def _sheets(folder: Path) -> list[Path]:
    """Contact sheets by step."""
    steps = {int(found[1]): file for file in folder.glob("*.png") if (found := _SHEET.fullmatch(file.name))}
    return [steps[step] for step in sorted(steps)]

"""Options of `figure`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from leopart.config.checks import OptionalPath, require_folder, require_known
from leopart.errors import LeopartError

FIGURES = ("training",)
"""What `leopart figure` draws."""


@dataclass(frozen=True, kw_only=True)
class FigureConfig:
    """Pictures and curves from what a run has left.

    training: an animation of the contact sheets, a strip of the first, middle and last of them, and curves
    of loss, prototypes in use and validation scores.
    """

    name: tyro.conf.Positional[str]
    """Which figure: training."""
    run: tyro.conf.Positional[Path]
    """Folder that `leopart train` wrote."""
    out: Path
    """Folder for the figures; made if need be."""
    milliseconds: int = 600
    """How long the animation shows each sheet; the last one stays three times as long."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_known("figure", self.name, FIGURES)
        if self.milliseconds < 20:
            raise LeopartError(f"--milliseconds must be at least 20, got {self.milliseconds}")
        require_folder(self.out)

"""Progress callbacks: what a training reports to whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepReport:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        total: optimiser steps in total.
        images_per_second: over the steps since the last report, all devices together.
        data_wait: share of that time, in [0, 1], in which the network waited for photos.
        seconds_left: at this rate.
        figures: loss and diagnostics by name.
    """

    step: int
    total: int
    images_per_second: float
    data_wait: float
    seconds_left: float
    figures: dict[str, float]


class ProgressCallback(Protocol):
    """Called while a training runs."""

    def report(self, report: StepReport) -> None:
        """Every few steps."""

    def note(self, text: str) -> None:
        """With a sentence: a photo that cannot be read, a validation score."""


class NoProgress:
    """A progress callback that shows nothing."""

    def report(self, report: StepReport) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


no_progress = NoProgress()

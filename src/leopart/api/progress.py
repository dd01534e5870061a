"""Progress of the functions for Python programs: bars by tqdm, in a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from leopart.progress import Track, bars, silent
from leopart.training.monitoring.progress import ProgressCallback, StepReport, no_progress


def tracker(progress: bool) -> Track:
    """Bars, or nothing."""
    return bars if progress else silent


@contextmanager
def training_progress(progress: bool) -> Iterator[ProgressCallback]:
    """A bar of steps with the loss beside it, or nothing."""
    if not progress:
        yield no_progress
        return
    from tqdm.auto import tqdm

    with tqdm(unit="step") as bar:
        yield _StepBar(bar)


class _StepBar:
    """See `ProgressCallback`."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def report(self, report: StepReport) -> None:
        self.bar.total = report.total
        self.bar.n = report.step
        self.bar.set_postfix(loss=f"{report.figures['loss']:.3f}")

    def note(self, text: str) -> None:
        self.bar.write(text)

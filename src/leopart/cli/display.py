"""Output of commands while they work and when they are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from leopart.progress import Track, silent
from leopart.wording import counted, duration, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from leopart.training.monitoring.progress import ProgressCallback, StepReport

__all__ = ["counted", "duration", "printable", "say", "say_failures", "tracker", "training_progress"]

T = TypeVar("T")
_FAILURES = 20
#: Seconds between two lines of progress, where there is no terminal.
_EVERY = 10.0


def tracker(quiet: bool) -> Track:
    """Progress on stderr: bars on a terminal, elsewhere a line every ten seconds; nothing when quiet."""
    if quiet:
        return silent
    return _bars if sys.stderr.isatty() else _lines


def _lines(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """The items; what is done within the first ten seconds is not worth a line."""
    start = shown = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= _EVERY:
            shown, rate = now, count / (now - start)
            left = f", {duration((total - count) / rate)} left" if total >= count else ""
            say(f"{title} {count}/{total}  {rate:.1f} /s{left}")


def _bars(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, rate="")
        for item in items:
            yield item
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f"{speed:.1f} /s" if speed else "")


@contextmanager
def training_progress(quiet: bool) -> Iterator[ProgressCallback]:
    """Progress of a training: a bar on a terminal, a line now and then elsewhere."""
    if quiet:
        from leopart.training.monitoring.progress import no_progress

        yield no_progress
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield _Bar(progress, progress.add_task("", total=None))


class _Bar:
    """A bar of steps, with the figures beside it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def report(self, report: StepReport) -> None:
        self.progress.update(
            self.task, completed=report.step, total=report.total, description=_described(report)
        )

    def note(self, text: str) -> None:
        self.progress.console.print(printable(text), markup=False, highlight=False)


class _Lines:
    """A line at the first report, then at least `_EVERY` seconds apart, and at the last step."""

    _EVERY = 30.0

    def __init__(self) -> None:
        self.shown = -self._EVERY

    def report(self, report: StepReport) -> None:
        now = time.monotonic()
        if now - self.shown >= self._EVERY or report.step == report.total:
            self.shown = now
            say(f"step {report.step}/{report.total}  {_described(report)}")

    def note(self, text: str) -> None:
        say(text)


def _described(report: StepReport) -> str:
    """Rates and figures of a training in one line."""
    figures = report.figures
    words = [f"{duration(report.seconds_left)} left"]  # first: a narrow terminal cuts the rest off
    words += [f"{report.images_per_second:.1f} images/s", f"{report.data_wait:.0%} waiting"]
    words.append(f"loss {figures['loss']:.3f}")
    known = {
        "perplexity": "{:.0f} prototypes in use",
        "foreground": "{:.0%} foreground",
        "dense_contrastive_accuracy": "{:.0%} contrastive accuracy of cells",
        "queue_fill": "queue {:.0%}",
    }
    words += [wording.format(figures[name]) for name, wording in known.items() if name in figures]
    return "  ".join(words)


def say(text: str, *, quiet: bool = False) -> None:
    """A line for people, on stderr."""
    if not quiet:
        sys.stderr.write(printable(text) + "\n")


def say_failures(reasons: Sequence[str], where: Path) -> None:
    """A line for each photo that could not be used, at most 20; `where` is the file that has them all."""
    for reason in reasons[:_FAILURES]:
        say(f"leopart: {reason}")
    if len(reasons) > _FAILURES:
        say(f"leopart: and {len(reasons) - _FAILURES:,} more; all are in {where}")

"""What commands show while they work and when they are done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from leopart.progress import Track, silent

T = TypeVar("T")


def tracker(quiet: bool) -> Track:
    """Progress bars with rates and time left on stderr; none when quiet, or when stderr is no terminal."""
    return silent if quiet or not sys.stderr.isatty() else _bars


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


def say(text: str, *, quiet: bool = False) -> None:
    """A line for people, on stderr."""
    if not quiet:
        sys.stderr.write(printable(text) + "\n")


def counted(number: int, thing: str) -> str:
    """`1 photo`, `2 photos`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def printable(text: str) -> str:
    """One line that any terminal shows as it is: file names may hold line breaks and escape sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

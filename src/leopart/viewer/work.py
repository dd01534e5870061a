"""Work of the page's server that takes longer than a request: counting masks, and writing label masks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from leopart.errors import LeopartError
from leopart.labels.rules import Labels
from leopart.locks import locked
from leopart.progress import Track
from leopart.segment.labelling import apply_labels
from leopart.viewer.run import Run
from leopart.viewer.statistics import Statistics, statistics_of, suggestions

T = TypeVar("T")


class BackgroundJob:
    """One piece of work in a thread of its own, and how far it is."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.done, self.total, self.message = 0, 0, ""

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    def state(self) -> dict[str, Any]:
        """How far it is, in JSON types."""
        return {"running": self.running, "done": self.done, "total": self.total, "message": self.message}

    def start(self, work: Callable[[Track], str]) -> None:
        """Begin; `work` is given a track, and returns what to say when it is done."""
        self.done, self.total, self.message = 0, 0, ""

        def run() -> None:
            try:
                self.message = work(self._counted)
            except LeopartError as error:
                self.message = str(error)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is done."""
        if self._thread is not None:
            self._thread.join()

    def _counted(self, items: Iterable[T], total: int, title: str) -> Iterable[T]:  # noqa: ARG002 - a Track
        self.total = total
        for item in items:
            yield item
            self.done += 1


class Work:
    """All work of a run's page.

    Args:
        run: opened.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.counting, self.applying = BackgroundJob(), BackgroundJob()
        self.statistics: Statistics | None = None
        self.suggestions: list[dict[str, Any]] = []

    def count(self) -> None:
        """Begin to count what the masks hold."""
        self.counting.start(self._count)

    def _count(self, track: Track) -> str:
        found = statistics_of(self._run, track=track)
        self.suggestions = suggestions(self._run, found)
        self.statistics = found
        return ""

    def apply(self, labels: Labels) -> None:
        """Begin to write label masks, as `leopart label` does."""

        def work(track: Track) -> str:
            with locked(self._run.out, "save again when it has ended"):
                found = apply_labels(self._run.out, labels, track=track)
            if not found.failures:
                return f"{found.written} label masks are written."
            first = found.failures[0].reason
            return f"{found.written} label masks are written, {len(found.failures)} photos failed: {first}"

        self.applying.start(work)

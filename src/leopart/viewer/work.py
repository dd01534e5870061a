"""Work of the page's server that takes longer than a request: counting masks, and writing into the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from leopart.config import ExportConfig
from leopart.errors import LeopartError
from leopart.labels.rules import Labels
from leopart.locks import locked
from leopart.progress import Track
from leopart.segment.labelling import apply_labels
from leopart.viewer.exports import export
from leopart.viewer.run import Run
from leopart.viewer.statistics import Statistics, statistics_of, suggestions

T = TypeVar("T")


@dataclass(frozen=True)
class JobOutcome:
    """What a piece of work left behind."""

    message: str = ""
    """A sentence for the user."""
    notes: tuple[str, ...] = ()
    """More of them: what failed, and what somebody may not expect."""
    exported: str | None = None
    """Format of an export that can be fetched now."""


class BackgroundJob:
    """One piece of work at a time in a thread of its own, and how far it is."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self.title, self.done, self.total = "", 0, 0
        self.outcome = JobOutcome()

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    def state(self) -> dict[str, Any]:
        """How far it is, in JSON types."""
        far = {"running": self.running, "title": self.title, "done": self.done, "total": self.total}
        return far | asdict(self.outcome)

    def start(self, title: str, work: Callable[[Track], JobOutcome]) -> None:
        """Begin.

        Args:
            title: what is being done, such as `Writing masks`.
            work: is given a track.

        Raises:
            LeopartError: the piece before is not done yet.
        """
        if self.running:
            raise LeopartError(f"{self.title.lower()} is not done yet; wait for it to end")
        self.title, self.done, self.total, self.outcome = title, 0, 0, JobOutcome()

        def run() -> None:
            try:
                self.outcome = work(self._counted)
            except LeopartError as error:
                self.outcome = JobOutcome(str(error))

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is done."""
        if self._thread is not None:
            self._thread.join()

    def _counted(self, items: Iterable[T], total: int, title: str) -> Iterable[T]:  # noqa: ARG002 - a Track
        self.done, self.total = 0, total
        for item in items:
            yield item
            self.done += 1


class Work:
    """All work of a run's page.

    Attributes:
        run: as it was opened last.
        counting: of its masks.
        writing: into its folder.
        statistics: None until the masks are counted.
        suggestions: pairs of parts that may belong together.

    Args:
        run: opened.
    """

    def __init__(self, run: Run) -> None:
        self.writing = BackgroundJob()
        self._take(run)

    def _take(self, run: Run) -> None:
        self.run, self.counting = run, BackgroundJob()
        self.statistics: Statistics | None = None
        self.suggestions: list[dict[str, Any]] = []

    def open(self, run: Run) -> None:
        """Go on with the same run, opened anew; its masks are counted again."""
        self._take(run)
        self.count()

    def count(self) -> None:
        """Begin to count what the masks hold."""
        run = self.run

        def work(track: Track) -> JobOutcome:
            found = statistics_of(run, track=track)
            offered = suggestions(run, found)
            if run is self.run:
                self.suggestions, self.statistics = offered, found
            return JobOutcome()

        self.counting.start("Counting", work)

    def apply(self, labels: Labels) -> None:
        """Begin to write label masks, as `leopart label` does.

        Raises:
            LeopartError: other work is not done yet.
        """
        run = self.run

        def work(track: Track) -> JobOutcome:
            with locked(run.out, "save again when it has ended"):
                found = apply_labels(run.out, labels, track=track)
            if not found.failures:
                return JobOutcome(f"{found.written} label masks are written.")
            first = found.failures[0].reason
            return JobOutcome(
                f"{found.written} label masks are written, {len(found.failures)} photos failed: {first}"
            )

        self.writing.start("Writing masks", work)

    def export(self, config: ExportConfig) -> None:
        """Begin to write masks for another program, as `leopart export` does.

        Raises:
            LeopartError: other work is not done yet.
        """

        def work(track: Track) -> JobOutcome:
            message, notes = export(self.run, config, track)
            return JobOutcome(message, notes, config.format)

        self.writing.start("Exporting", work)

"""A run while its page is open: opened anew when its segmenter has other ids than before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from leopart.config import LabelConfig
from leopart.errors import LeopartError
from leopart.labels.rules import Labels
from leopart.progress import Track
from leopart.segment.label_run import label_run
from leopart.segment.labelling import ids_of
from leopart.viewer.draft import ConflictError, LabelDraft
from leopart.viewer.run import Run, open_run
from leopart.viewer.work import JobOutcome, Work


class Session:
    """The run, its labels while they are edited, and what is written into it.

    Attributes:
        work: its background work.
        draft: its labels.

    Args:
        work: of the run, opened.

    Raises:
        LeopartError: labels.yaml cannot be used.
    """

    def __init__(self, work: Work) -> None:
        self.work, self.draft = work, LabelDraft(work.run)
        self._lock, self._is_splitting = threading.RLock(), False
        self._after_split: str | None = None

    @property
    def run(self) -> Run:
        """As it was opened last."""
        return self.work.run

    def state(self) -> dict[str, Any]:
        """Labels and history, see `LabelDraft.state`, and whether undo takes a split back."""
        return self.draft.state() | {"unsplit": self._can_unsplit()}

    def change(self, version: int, action: str, values: dict[str, str]) -> list[str]:
        """See `LabelDraft.change`."""
        with self._lock:
            if self._is_splitting:
                raise ConflictError("a part is being split; wait for it to end, then try again")
            return self.draft.change(version, action, values)

    def save(self, version: int, *, overwrite: bool) -> None:
        """Write labels.yaml, and begin to write label masks.

        Raises:
            ConflictError: other work is not done yet, or see `LabelDraft.save`.
            LeopartError: the run was segmented anew.
        """
        with self._lock:
            if self.work.writing.running:
                what = self.work.writing.title.lower()
                raise ConflictError(f"{what} is not done yet; your changes are kept, save them then")
            self._refuse_stale()
            labels: Labels = self.draft.save(version, overwrite=overwrite)
            self.work.apply(labels)

    def split(self, version: int, part: int, into: int) -> None:
        """Begin to split a part, as `leopart label OUT --split part:ID --into N` does.

        Raises:
            LeopartError: there are changes that are not saved, or the values do not fit.
        """
        config = LabelConfig(out=self.run.out, split=f"part:{part}", into=into)
        config.check()
        self._relabel(version, config, "Splitting")

    def unsplit(self, version: int) -> None:
        """Begin to take the last split back, as `leopart label OUT --undo` does.

        Raises:
            LeopartError: the last change on disk is no split.
        """
        if not self._can_unsplit():
            raise LeopartError("the last change that was saved is no split; use `leopart label OUT --undo`")
        self._relabel(version, LabelConfig(out=self.run.out, undo=True), "Taking a split back")

    def reopen(self, *notes: str) -> None:
        """Open the run anew, with a new history of its labels.

        Args:
            notes: for the user.
        """
        run = open_run(self.run.out)
        draft = LabelDraft(run, version=self.draft.version + 1)
        draft.notes += notes
        self.draft, self._after_split = draft, None
        self.work.open(run)

    def reopen_if_stale(self) -> None:
        """Open the run anew where it was segmented, or a part of it split, by another program."""
        with self._lock:
            if not self.work.writing.running and _ids(self.run.out) not in (None, self.run.ids.fingerprint):
                self.reopen("The run has other parts than before; it was opened anew.")

    def _relabel(self, version: int, config: LabelConfig, title: str) -> None:
        with self._lock:
            self._refuse_stale()
            self.draft.refuse_unsaved(version)

            def work(track: Track) -> JobOutcome:
                try:
                    done = label_run(config, track=track)
                    self.reopen(*done.notes)
                    self._after_split = self.draft.on_disk if config.split else None
                    return JobOutcome(" ".join(done.notes) or "The split is taken back.")
                finally:
                    self._is_splitting = False

            self._is_splitting = True
            try:
                self.work.writing.start(title, work)
            except LeopartError:
                self._is_splitting = False
                raise

    def _can_unsplit(self) -> bool:
        return self._after_split is not None and self._after_split == self.draft.on_disk

    def _refuse_stale(self) -> None:
        if _ids(self.run.out) != self.run.ids.fingerprint:
            raise LeopartError(
                f"{self.run.out.name} has other parts than before; reload the page, your draft is kept"
            )


def _ids(out: Path) -> str | None:
    """Fingerprint of the segmenter on disk; None while it is being written."""
    try:
        return ids_of(out).fingerprint
    except LeopartError:
        return None

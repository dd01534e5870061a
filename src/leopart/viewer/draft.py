"""Labels while they are edited: changes through `leopart.labels.edits`, undo, redo, and a draft on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leopart.errors import LeopartError
from leopart.files import sha256, write_text
from leopart.labels import edits
from leopart.labels.file import LABELS, colour_of, labels_text, read_labels, write_labels
from leopart.labels.rules import Claim, Labels, claim_of
from leopart.locks import locked
from leopart.segment.labelling import labels_in
from leopart.viewer.run import Run

BUSY = "your changes are kept as a draft, save them when it has ended"
"""What to do while a run holds the folder."""


class ConflictError(LeopartError):
    """Somebody else has changed what is being changed."""


class LabelDraft:
    """The labels of a run as the page has them.

    A change goes into `OUT/.view/draft.yaml` at once; `save` alone writes `labels.yaml`. Every change names
    the version that it was made from, so that of two windows the second is told.

    Args:
        run: opened.
        version: of the first state; above those that the page has seen of the same run.

    Raises:
        LeopartError: labels.yaml cannot be used.
    """

    def __init__(self, run: Run, version: int = 0) -> None:
        self._run, self._lock = run, threading.RLock()
        self.version = version
        self.notes: list[str] = []
        self._saved = labels_in(run.out, run.ids)
        self._base = _state(run.out / LABELS)
        self._states, self._at = [self._saved], 0
        self._take_draft()

    @property
    def labels(self) -> Labels:
        """As they are in the page."""
        return self._states[self._at]

    @property
    def on_disk(self) -> str | None:
        """Fingerprint of labels.yaml; None where there is none."""
        return _state(self._run.out / LABELS)

    @property
    def _path(self) -> Path:
        return self._run.cache / "draft.yaml"

    def _take_draft(self) -> None:
        """Go on with a draft that was not saved, unless labels.yaml has been written since."""
        if not self._path.is_file():
            return
        path = self._run.out / LABELS
        newer = path.is_file() and path.stat().st_mtime_ns > self._path.stat().st_mtime_ns
        try:
            draft = read_labels(self._path, self._run.ids.fingerprint)
            draft.table(self._run.ids.n_objects, self._run.ids.n_parts)
        except LeopartError as error:
            self.notes.append(f"An unsaved draft could not be used: {error}")
            newer = True
        if newer:
            self._path.replace(self._path.with_name("draft.old.yaml"))
            self.notes.append(
                f"{LABELS} was written after an unsaved draft; the draft is kept as draft.old.yaml."
            )
        elif draft != self._saved:
            self._states, self._at = [self._saved, draft], 1
            self.notes.append("Unsaved changes of last time are here again; Save keeps them.")

    def state(self) -> dict[str, Any]:
        """Labels, history and what is saved, in JSON types."""
        with self._lock:
            labels = self.labels
            table = labels.table(self._run.ids.n_objects, self._run.ids.n_parts)
            return {
                "version": self.version,
                "labels": [
                    {"id": one.id, "name": one.name, "colour": "#{:02x}{:02x}{:02x}".format(*one.colour)}
                    | _ids(one.claim)
                    for one in labels
                ],
                "ignored": _ids(labels.ignored),
                "table": table.tolist(),
                "undo": self._at,
                "redo": len(self._states) - 1 - self._at,
                "saved": labels == self._saved,
                "notes": self.notes,
            }

    def change(self, version: int, action: str, values: dict[str, str]) -> list[str]:
        """Make one change.

        Args:
            version: of the labels that the page showed.
            action: `undo`, `redo`, `reload`, or a key of `ACTIONS`.
            values: texts that it needs.

        Returns:
            Sentences about what moved from one label to another.

        Raises:
            ConflictError: another window has changed the labels meanwhile.
            LeopartError: the change is not possible; nothing has changed.
        """
        with self._lock:
            self._refuse_old(version)
            notes: list[str] = []
            if action == "undo":
                self._at = max(0, self._at - 1)
            elif action == "redo":
                self._at = min(len(self._states) - 1, self._at + 1)
            elif action == "reload":
                self._saved = labels_in(self._run.out, self._run.ids)
                self._base = _state(self._run.out / LABELS)
                self._push(self._saved)
            elif action in ACTIONS:
                changed, notes = ACTIONS[action](self.labels, values)
                changed.table(self._run.ids.n_objects, self._run.ids.n_parts)
                self._push(changed)
            else:
                raise LeopartError(f"there is no action {action!r}; reload the page")
            self.version += 1
            write_text(self._path, labels_text(self.labels, self._run.ids.fingerprint))
            return notes

    def save(self, version: int, *, overwrite: bool = False) -> Labels:
        """Write labels.yaml; the version before is kept beside it.

        Raises:
            ConflictError: another window, or another program, has changed the labels meanwhile.
            LeopartError: the folder cannot be written.
        """
        with self._lock:
            self._refuse_old(version)
            path = self._run.out / LABELS
            if _state(path) != self._base and not overwrite:
                raise ConflictError(
                    f"{LABELS} was changed by another program; take its labels, or save yours over it"
                )
            with locked(self._run.out, BUSY):
                write_labels(self._run.out, self.labels, self._run.ids.fingerprint)
            self._saved, self._base = self.labels, _state(path)
            self._path.unlink(missing_ok=True)
            self.version += 1
            return self.labels

    def refuse_unsaved(self, version: int) -> None:
        """See that nothing would be lost if the labels were read from disk again.

        Raises:
            ConflictError: another window has changed the labels meanwhile.
            LeopartError: there are changes that are not saved.
        """
        with self._lock:
            self._refuse_old(version)
            if self.labels != self._saved:
                raise LeopartError("save your changes or undo them first: a split is written at once")
            self._path.unlink(missing_ok=True)  # it says what is saved

    def _push(self, labels: Labels) -> None:
        if labels != self.labels:
            self._states = [*self._states[: self._at + 1], labels]
            self._at += 1

    def _refuse_old(self, version: int) -> None:
        if version != self.version:
            raise ConflictError("another window has changed the labels; they are shown here now, try again")


def _name(labels: Labels, values: dict[str, str]) -> edits.Edited:
    return edits.name(labels, values["name"].strip(), claim_of(values["ids"]))


def _split(labels: Labels, values: dict[str, str]) -> edits.Edited:
    """Give every part or object of a label a label of its own, named after it."""
    label = labels.named(values["name"])
    if label is None:
        raise LeopartError(f"there is no label {values['name']!r}; reload the page")
    pieces = [Claim(objects=frozenset([one])) for one in sorted(label.claim.objects)]
    pieces += [Claim(parts=frozenset([one])) for one in sorted(label.claim.parts)]
    pieces += [Claim(parts_of_objects=frozenset([one])) for one in sorted(label.claim.parts_of_objects)]
    for piece in pieces[1:]:
        words = str(piece).replace("objects:", "object ").replace("parts:", "part ")
        labels, _ = edits.name(labels, f"{label.name} {words}", piece)
    return labels, []


def _move(labels: Labels, values: dict[str, str]) -> edits.Edited:
    """Give parts the label of an object."""
    moved, goal = claim_of(values["ids"]), claim_of(f"object:{values['object']}")
    owner = next((label for label in labels if goal.objects <= label.claim.objects), None)
    if owner is None:
        raise LeopartError(f"object {values['object']} has no label; name it first")
    return edits.name(labels, owner.name, moved)


def _ignore(labels: Labels, values: dict[str, str]) -> edits.Edited:
    return edits.ignore(labels, claim_of(values["ids"]))


def _merge(labels: Labels, values: dict[str, str]) -> edits.Edited:
    names = [values["first"], values["second"]]
    return edits.merge(labels, values["name"].strip(), names)


def _rename(labels: Labels, values: dict[str, str]) -> edits.Edited:
    return edits.rename(labels, values["old"], values["name"].strip()), []


def _recolour(labels: Labels, values: dict[str, str]) -> edits.Edited:
    return edits.recolour(labels, values["name"], colour_of(values["colour"])), []


def _remove(labels: Labels, values: dict[str, str]) -> edits.Edited:
    return edits.remove(labels, values["name"]), []


ACTIONS: dict[str, Callable[[Labels, dict[str, str]], edits.Edited]] = {
    "name": _name,
    "ignore": _ignore,
    "merge": _merge,
    "rename": _rename,
    "recolour": _recolour,
    "remove": _remove,
    "split": _split,
    "move": _move,
}
"""What can be done to labels; each is what an option of `leopart label` does."""


def _ids(claim: Claim) -> dict[str, Any]:
    within = [list(pair) for pair in sorted(claim.parts_of_objects)]
    return {"objects": sorted(claim.objects), "parts": sorted(claim.parts), "within": within}


def _state(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None

"""What `leopart label` does, from its options to what it tells."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from leopart.config import LabelConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.errors import LeopartError
from leopart.labels import edits
from leopart.labels.file import colour_of, made_for, read_labels, undo, version_before
from leopart.labels.rules import Labels, claim_of
from leopart.labels.votes import Ballot, Vote
from leopart.locks import locked
from leopart.progress import Track, silent
from leopart.segment.labelling import (
    Applied,
    Ids,
    apply_labels,
    count_votes,
    ids_of,
    labels_in,
    named_by_votes,
    record_names,
)


@dataclass(frozen=True)
class LabelRun:
    """What came out.

    Attributes:
        labels: in force; with `dry_run`, those that would be.
        notes: sentences for the user: what moved, and what labelled photos said.
        applied: masks that were written; None with `dry_run`.
    """

    labels: Labels
    notes: list[str] = field(default_factory=list)
    applied: Applied | None = None


def label_run(config: LabelConfig, *, track: Track = silent) -> LabelRun:
    """Change labels as asked for, and apply them.

    Raises:
        LeopartError: labels contradict each other, or the run's folder cannot be used.
    """
    ids = ids_of(config.out)  # before the lock: a folder of something else is left as it is
    with nullcontext() if config.dry_run else locked(config.out, "wait for it to end"):
        return _changed(config, ids, track)


def _changed(config: LabelConfig, ids: Ids, track: Track) -> LabelRun:
    if config.split is not None:
        return _split(config, config.split, track)
    labels = _before(config.out, ids) if config.undo else labels_in(config.out, ids)
    notes: list[str] = []
    votes = 0
    if config.from_ is not None:
        labels, notes, votes = _voted(config, config.from_, ids, labels, track)
    labels = _edited(config, labels, notes)
    labels.table(ids.n_objects, ids.n_parts)
    if config.dry_run:
        return LabelRun(labels, notes)
    if config.undo:
        _go_back(config.out, ids, track)
    elif ids.before:
        from leopart.segment.splitting import finish_split  # as in `_go_back`

        finish_split(config.out, device=config.device, track=track)
    applied = apply_labels(config.out, labels, track=track)
    if votes and config.from_ is not None:
        record_names(config.out, config.from_, votes)
    return LabelRun(labels, notes, applied)


def _split(config: LabelConfig, words: str, track: Track) -> LabelRun:
    from leopart.segment.splitting import split

    claim = claim_of(words)
    if len(claim.parts) != 1 or claim.objects or claim.parts_of_objects:
        raise LeopartError(f"--split {words!r} is not one part; write part:12")
    (part,) = claim.parts
    found = split(config.out, part, config.into, device=config.device, dry_run=config.dry_run, track=track)
    pieces = ", ".join(f"{number} ({share:.0%} of its cells)" for number, share in found.shares.items())
    notes = [f"part {part}, in {found.photos} photos, {'would be' if config.dry_run else 'is now'}: {pieces}"]
    labels = labels_in(config.out, ids_of(config.out))
    if config.dry_run:
        return LabelRun(labels, notes)
    return LabelRun(labels, notes, apply_labels(config.out, labels, track=track))


def _before(out: Path, ids: Ids) -> Labels:
    """Labels of the version before, which may be of the segmenter before a part was split."""
    version = version_before(out)
    segmenter = made_for(version)
    return read_labels(version, segmenter if segmenter in ids.before else ids.fingerprint)


def _go_back(out: Path, ids: Ids, track: Track) -> None:
    """Bring the version before back, and the segmenter that it is of."""
    segmenter = made_for(version_before(out))
    if segmenter in ids.before:
        from leopart.segment.splitting import undo_split  # needs torch, which takes seconds

        for _ in ids.before[ids.before.index(segmenter) :]:
            undo_split(out, track=track)
    undo(out)


def _voted(
    config: LabelConfig, source: str, ids: Ids, labels: Labels, track: Track
) -> tuple[Labels, list[str], int]:
    """Labels after a vote of labelled photos, what it said, and the number of photos."""
    from leopart.segment.segmenter import Segmenter

    labelled = labelled_photos(source, config.masks)
    segmenter = Segmenter.load(config.out, device=config.device)
    counts = count_votes(segmenter, ids, labelled, track=track)
    voted, ballot = named_by_votes(labels, labelled, counts, config.min_agreement)
    return voted, _told(ballot, list(labelled.classes.values()), config.min_agreement), len(labelled.pairs)


def _told(ballot: Ballot, classes: list[str], least: float) -> list[str]:
    def line(vote: Vote) -> str:
        share = f"{vote.agreement:.0%} of {vote.pixels} labelled pixels"
        return f"{vote.claim}: {classes[vote.winner]}, {share}"

    notes = [line(vote) for vote in ballot.accepted]
    if ballot.unnamed:
        notes.append(
            f"fewer than {least:.0%} agree; these parts take the name of their object, if it has one:"
        )
        notes += [line(vote) for vote in ballot.unnamed]
    if ballot.unseen:
        notes.append(f"parts that no labelled photo shows: {', '.join(map(str, ballot.unseen))}")
    return notes


def _edited(config: LabelConfig, labels: Labels, notes: list[str]) -> Labels:
    """Labels after the options, in the order in which `--help` lists them; adds to `notes`."""
    for given in config.name:
        text, _, words = given.rpartition("=")
        labels, told = edits.name(labels, text, claim_of(words))
        notes += told
    for given in config.merge:
        text, _, words = given.rpartition("=")
        labels, told = edits.merge(labels, text, [one.strip() for one in words.split(",")])
        notes += told
    for given in config.rename:
        old, _, new = given.rpartition("=")
        labels = edits.rename(labels, old, new)
    for given in config.colour:
        text, _, colour = given.rpartition("=")
        labels = edits.recolour(labels, text, colour_of(colour))
    for words in config.ignore:
        labels, told = edits.ignore(labels, claim_of(words))
        notes += told
    for text in config.remove:
        labels = edits.remove(labels, text)
    return labels

"""Changes to labels, one function each: name, ignore, merge. What they change on the way is told in notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from leopart.drawing.palette import colours
from leopart.errors import LeopartError
from leopart.labels.file import rgb, starter_name
from leopart.labels.rules import Claim, Colour, Label, Labels

Edited = tuple[Labels, list[str]]
"""Labels after a change, and a sentence for each thing that somebody may not expect."""


def name(labels: Labels, text: str, claim: Claim, colour: Colour | None = None) -> Edited:
    """Call what is claimed by a name; a label of that name gets it in addition.

    An object that nobody has named keeps the id and colour it has had. What other labels claimed moves.

    Args:
        labels: as they are.
        text: the name.
        claim: what it is to be the name of.
        colour: of a new label; None = the next of the palette.

    Raises:
        LeopartError: the name is not allowed.
    """
    notes = _moves(labels, claim, text)
    starting = [one for one in labels if one.claim == claim and one.name in map(starter_name, claim.objects)]
    known = labels.named(text)
    rest = labels.moved(claim)
    if known is not None:
        grown = replace(known, claim=known.claim | claim, colour=colour or known.colour)
        return _with(rest, grown), notes
    number = starting[0].id if starting else labels.next_id
    tint = colour or (starting[0].colour if starting else rgb(colours(number + 1)[number]))
    return _with(rest, Label(number, text, tint, claim)), [] if starting else notes


def ignore(labels: Labels, claim: Claim) -> Edited:
    """Make what is claimed background."""
    moved = labels.moved(claim)
    return replace(moved, ignored=moved.ignored | claim), _moves(labels, claim, "ignore")


def merge(labels: Labels, text: str, names: Sequence[str]) -> Edited:
    """Make several labels one, which has the id and colour of the label of that name, or else of the first.

    Args:
        labels: as they are.
        text: name of the one.
        names: of labels that become part of it; they go.

    Raises:
        LeopartError: a name is not there.
    """
    merged = [_known(labels, one) for one in names]
    keeper = labels.named(text) or merged[0]
    gone = {one.id for one in [*merged, keeper]}
    claim = keeper.claim
    for one in merged:
        claim |= one.claim
    rest = replace(labels, labels=tuple(one for one in labels if one.id not in gone))
    return _with(rest, replace(keeper, name=text, claim=claim)), []


def rename(labels: Labels, old: str, new: str) -> Labels:
    """Give a label another name; its id, colour and claim stay."""
    known = _known(labels, old)
    return _with(labels, replace(known, name=new))


def recolour(labels: Labels, text: str, colour: Colour) -> Labels:
    """Give a label another colour."""
    return _with(labels, replace(_known(labels, text), colour=colour))


def remove(labels: Labels, text: str) -> Labels:
    """Take a label away; what it claimed is background."""
    gone = _known(labels, text)
    return replace(labels, labels=tuple(one for one in labels if one.id != gone.id))


def with_pieces(labels: Labels, ids: Sequence[int]) -> Labels:
    """Labels after a part was split: what claimed the part claims its pieces, within objects too.

    Args:
        labels: as they are.
        ids: of the pieces; the first is that of the part.
    """
    return replace(
        labels,
        labels=tuple(replace(one, claim=_grown(one.claim, ids)) for one in labels),
        ignored=_grown(labels.ignored, ids),
    )


def _grown(claim: Claim, ids: Sequence[int]) -> Claim:
    part, *pieces = ids
    within = {(obj, piece) for obj, number in claim.parts_of_objects if number == part for piece in pieces}
    parts = frozenset(pieces if part in claim.parts else ())
    return claim | Claim(parts=parts, parts_of_objects=frozenset(within))


def _known(labels: Labels, text: str) -> Label:
    label = labels.named(text)
    if label is None:
        there = ", ".join(one.name for one in labels) or "none"
        raise LeopartError(f"there is no label {text!r}; there is: {there}")
    return label


def _with(labels: Labels, label: Label) -> Labels:
    others = tuple(one for one in labels if one.id != label.id)
    return replace(labels, labels=(*others, label))


def _moves(labels: Labels, claim: Claim, target: str) -> list[str]:
    owners = [(one.name, one.claim & claim) for one in labels if one.name != target]
    owners += [("ignore", labels.ignored & claim)] if target != "ignore" else []
    return [f"{both} was {owner!r} and is {target!r} now" for owner, both in owners if both]

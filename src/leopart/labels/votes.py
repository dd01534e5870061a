"""Names from a few labelled photos: what most pixels of a part are there, it is called everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leopart.labels.rules import Claim

Counts = NDArray[np.integer]


@dataclass(frozen=True)
class Vote:
    """What the labelled pixels of some ids say.

    Attributes:
        claim: the ids.
        winner: class that most pixels have; of equal ones the first.
        agreement: share of the pixels that have it, above 0 and at most 1.
        pixels: labelled pixels.
    """

    claim: Claim
    winner: int
    agreement: float
    pixels: int


@dataclass(frozen=True)
class Ballot:
    """Result of a majority vote.

    Attributes:
        accepted: claims with a class each; special ones only where they differ from general ones.
        unnamed: parts whose pixels do not agree enough, in any object.
        unseen: parts of which no labelled photo shows a pixel.
    """

    accepted: tuple[Vote, ...]
    unnamed: tuple[Vote, ...]
    unseen: tuple[int, ...]

    def claims(self, n_classes: int) -> list[Claim]:
        """What each class has won."""
        won = [Claim() for _ in range(n_classes)]
        for vote in self.accepted:
            won[vote.winner] |= vote.claim
        return won


def majority_vote(counts: Counts, least: float) -> Ballot:
    """Name objects, parts, and parts within objects after the class that most of their pixels have.

    Naively: a part is named after its majority class if at least `least` of its pixels have it. Within an
    object where its pixels agree on another class, it is named after that one. An object is named, too, so
    that parts of it that the labelled photos do not show have a name.

    Args:
        counts: labelled pixels of every object (0 = none), part (0 = background) and class,
            [M + 1, K + 1, C].
        least: share of the pixels that must agree, 0 to 1.

    Returns:
        Votes; background pixels (part 0) have none.
    """
    votes = np.asarray(counts, np.int64)[:, 1:]
    accepted: list[Vote] = []
    unnamed: list[Vote] = []
    for obj, table in enumerate(votes[1:].sum(1), start=1):
        vote = _vote(Claim(objects=frozenset([obj])), table)
        if vote is not None and vote.agreement >= least:
            accepted.append(vote)
    for part, tables in enumerate(votes.transpose(1, 0, 2), start=1):
        whole = _vote(Claim(parts=frozenset([part])), tables.sum(0))
        if whole is None:
            continue
        within = [
            vote
            for obj, table in enumerate(tables)
            if obj and (vote := _vote(Claim(parts_of_objects=frozenset([(obj, part)])), table)) is not None
            and vote.agreement >= least
        ]  # fmt: skip
        if whole.agreement >= least:
            accepted.append(whole)
            accepted += [vote for vote in within if vote.winner != whole.winner]
        elif within:
            accepted += within
        else:
            unnamed.append(whole)
    unseen = 1 + np.flatnonzero(votes.sum((0, 2)) == 0)
    return Ballot(tuple(accepted), tuple(unnamed), tuple(int(part) for part in unseen))


def _vote(claim: Claim, table: Counts) -> Vote | None:
    """The vote of pixels of each class [C]; None where there is no pixel."""
    pixels = int(table.sum())
    if not pixels:
        return None
    winner = int(table.argmax())
    return Vote(claim, winner, float(table[winner] / pixels), pixels)

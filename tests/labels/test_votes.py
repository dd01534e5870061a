"""Majority votes of labelled pixels."""

from __future__ import annotations

import numpy as np

from leopart.labels.rules import Claim
from leopart.labels.votes import majority_vote


def counted(rows: dict[tuple[int, int], list[int]], n_objects: int, n_parts: int) -> np.ndarray:
    counts = np.zeros((n_objects + 1, n_parts + 1, 3), np.int64)
    for (obj, part), pixels in rows.items():
        counts[obj, part] = pixels
    return counts


def test_a_part_is_named_after_what_most_of_its_pixels_are():
    ballot = majority_vote(counted({(1, 1): [1, 9, 0], (1, 2): [8, 1, 1]}, 1, 2), 0.6)

    assert {(vote.claim, vote.winner) for vote in ballot.accepted} == {
        (Claim(parts=frozenset([1])), 1),
        (Claim(parts=frozenset([2])), 0),
    }
    assert {round(vote.agreement, 3) for vote in ballot.accepted} == {0.9, 0.8}


def test_a_part_within_an_object_can_have_a_name_of_its_own():
    ballot = majority_vote(counted({(1, 1): [0, 90, 0], (2, 1): [0, 0, 20]}, 2, 1), 0.6)
    won = ballot.claims(3)

    assert won[1] == Claim(frozenset([1]), frozenset([1]))
    assert won[2] == Claim(frozenset([2]), parts_of_objects=frozenset([(2, 1)]))


def test_parts_that_do_not_agree_stay_unnamed_and_unseen_ones_are_told():
    ballot = majority_vote(counted({(0, 1): [5, 5, 0]}, 1, 2), 0.6)

    assert not ballot.accepted
    assert [(vote.claim, vote.pixels) for vote in ballot.unnamed] == [(Claim(parts=frozenset([1])), 10)]
    assert ballot.unseen == (2,)


def test_background_pixels_have_no_vote():
    ballot = majority_vote(counted({(0, 0): [100, 0, 0]}, 1, 1), 0.0)

    assert not ballot.accepted
    assert ballot.unseen == (1,)

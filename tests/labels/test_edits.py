"""Changes to labels."""

from __future__ import annotations

import numpy as np
import pytest

from leopart.errors import LeopartError
from leopart.labels import edits
from leopart.labels.file import starter
from leopart.labels.rules import claim_of


def test_a_named_object_keeps_the_id_and_colour_it_had():
    before = starter(3)
    after, notes = edits.name(before, "car", claim_of("objects:2"))

    assert after.classes == {0: "background", 1: "object 1", 2: "car", 3: "object 3"}
    assert (after.palette == before.palette).all()
    assert not notes


def test_a_new_name_gets_a_new_id_and_old_ones_keep_theirs():
    labels, _ = edits.name(starter(2), "shirt", claim_of("parts:3,7"))
    labels, _ = edits.name(labels, "shirt", claim_of("parts:9"))

    assert labels.classes == {0: "background", 1: "object 1", 2: "object 2", 3: "shirt"}
    assert labels.named("SHIRT").claim == claim_of("parts:3,7,9")


def test_what_another_label_claimed_moves_and_this_is_told():
    labels, _ = edits.name(starter(1), "shirt", claim_of("parts:3,7"))
    labels, notes = edits.name(labels, "coat", claim_of("parts:7"))

    assert labels.named("shirt").claim == claim_of("parts:3")
    assert notes == ["parts:7 was 'shirt' and is 'coat' now"]
    labels, notes = edits.ignore(labels, claim_of("parts:3"))
    assert labels.named("shirt") is None
    assert labels.ignored == claim_of("parts:3")
    assert notes == ["parts:3 was 'shirt' and is 'ignore' now"]
    labels, _ = edits.name(labels, "shirt", claim_of("parts:3"))
    assert not labels.ignored


def test_merged_labels_are_one_with_everything_they_claimed():
    labels, _ = edits.merge(starter(4), "vehicle", ["object 2", "object 4"])

    assert labels.classes == {0: "background", 1: "object 1", 2: "vehicle", 3: "object 3"}
    assert labels.named("vehicle").claim == claim_of("objects:2,4")
    labels, _ = edits.merge(labels, "vehicle", ["object 3"])
    assert labels.named("vehicle").claim == claim_of("objects:2,3,4")
    assert labels.next_id == 5


def test_labels_are_renamed_recoloured_and_removed_by_name():
    labels = edits.rename(starter(2), "object 1", "sky")
    labels = edits.recolour(labels, "sky", (1, 2, 3))
    assert labels.palette[1].tolist() == [1, 2, 3]
    assert edits.remove(labels, "sky").classes == {0: "background", 2: "object 2"}
    with pytest.raises(LeopartError, match="no label 'sea'; there is: sky, object 2"):
        edits.remove(labels, "sea")


def test_pieces_of_a_split_part_have_its_label_within_objects_too():
    labels, _ = edits.name(starter(3), "shirt", claim_of("parts:3"))
    labels, _ = edits.name(labels, "sleeve", claim_of("parts:3@2,4@2"))
    labels = edits.ignore(labels, claim_of("parts:3@1"))[0]
    after = edits.with_pieces(labels, (3, 8, 9))

    assert after.named("shirt").claim == claim_of("parts:3,8,9")
    assert after.named("sleeve").claim == claim_of("parts:3@2,4@2,8@2,9@2")
    assert after.ignored == claim_of("parts:3@1,8@1,9@1")
    before = labels.table(3, 7)
    table = after.table(3, 9)
    np.testing.assert_array_equal(table[:, :8], before)
    np.testing.assert_array_equal(table[:, 8:], before[:, [3, 3]])

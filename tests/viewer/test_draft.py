"""Labels while they are edited in the page."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.errors import LeopartError
from leopart.labels import edits
from leopart.labels.file import read_labels, starter, write_labels
from leopart.labels.rules import claim_of
from leopart.locks import locked
from leopart.segment.labelling import apply_labels
from leopart.viewer.draft import ConflictError, LabelDraft
from leopart.viewer.run import Run, open_run
from run_folders import make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(make_run(tmp_path))


def change(draft: LabelDraft, action: str, **values: str) -> list[str]:
    return draft.change(draft.version, action, values)


def test_changes_are_those_of_the_command_line(run):
    draft = LabelDraft(run)
    change(draft, "name", name="shirt", ids="parts:1,3")
    change(draft, "ignore", ids="parts:6")
    change(draft, "rename", old="object 2", name="dog")
    change(draft, "recolour", name="dog", colour="#102030")
    expected, _ = edits.name(starter(2), "shirt", claim_of("parts:1,3"))
    expected, _ = edits.ignore(expected, claim_of("parts:6"))
    expected = edits.recolour(edits.rename(expected, "object 2", "dog"), "dog", (16, 32, 48))
    assert draft.labels == expected


def test_undo_and_redo_walk_through_every_state(run):
    draft = LabelDraft(run)
    states = [draft.labels]
    for part in range(1, 7):
        change(draft, "name", name=f"name {part}", ids=f"parts:{part}")
        states.append(draft.labels)
    for expected in states[-2::-1]:
        change(draft, "undo")
        assert draft.labels == expected
    change(draft, "undo")
    assert draft.labels == states[0]
    for expected in states[1:]:
        change(draft, "redo")
        assert draft.labels == expected
    change(draft, "undo")
    change(draft, "ignore", ids="parts:1")
    assert draft.state()["redo"] == 0


def test_splitting_gives_each_part_a_label_and_keeps_the_first(run):
    draft = LabelDraft(run)
    change(draft, "name", name="shirt", ids="parts:1,3,5")
    change(draft, "split", name="shirt")
    claims = {label.name: str(label.claim) for label in draft.labels}
    assert claims["shirt"] == "parts:1"
    assert claims["shirt part 3"] == "parts:3"
    assert claims["shirt part 5"] == "parts:5"


def test_moving_a_part_to_an_object_gives_it_the_label_of_the_object(run):
    draft = LabelDraft(run)
    change(draft, "name", name="dog", ids="objects:2")
    change(draft, "move", ids="parts:1,3@1", object="2")
    expected, _ = edits.name(starter(2), "dog", claim_of("objects:2"))
    expected, _ = edits.name(expected, "dog", claim_of("parts:1,3@1"))
    assert draft.labels == expected
    change(draft, "remove", name="dog")
    for nowhere in ("2", "7", "1-2", "x", "2 parts:1", ""):
        with pytest.raises(LeopartError):
            change(draft, "move", ids="parts:4", object=nowhere)


def test_a_draft_that_was_not_saved_is_there_at_the_next_start(run):
    change(LabelDraft(run), "name", name="shirt", ids="parts:1")
    again = LabelDraft(run)
    assert again.labels.named("shirt")
    assert not again.state()["saved"]
    assert "Unsaved changes" in again.notes[0]
    assert not (run.out / "labels.yaml").exists()


def test_a_draft_older_than_the_labels_gives_way_and_is_kept(run):
    change(LabelDraft(run), "name", name="shirt", ids="parts:1")
    os.utime(run.cache / "draft.yaml", (1, 1))
    write_labels(run.out, starter(2), run.ids.fingerprint)
    again = LabelDraft(run)
    assert again.labels == starter(2)
    assert (run.cache / "draft.old.yaml").exists()
    assert "draft.old.yaml" in again.notes[0]


def test_a_damaged_draft_is_put_aside_and_told(run):
    change(LabelDraft(run), "name", name="shirt", ids="parts:1")
    (run.cache / "draft.yaml").write_text("labels: [")
    again = LabelDraft(run)
    assert again.labels == starter(2)
    assert "could not be used" in again.notes[0]


def test_saving_writes_the_labels_and_ends_the_draft(run):
    draft = LabelDraft(run)
    change(draft, "name", name="<script>", ids="parts:1")
    draft.save(draft.version)
    assert read_labels(run.out / "labels.yaml", run.ids.fingerprint) == draft.labels
    assert not (run.cache / "draft.yaml").exists()
    assert draft.state()["saved"]


def test_the_second_of_two_windows_is_told(run):
    draft = LabelDraft(run)
    seen = draft.version
    draft.change(seen, "ignore", {"ids": "parts:1"})
    with pytest.raises(ConflictError, match="another window"):
        draft.change(seen, "ignore", {"ids": "parts:2"})
    with pytest.raises(ConflictError, match="another window"):
        draft.save(seen)


def test_labels_that_another_program_wrote_are_not_written_over_unasked(run):
    draft = LabelDraft(run)
    change(draft, "name", name="mine", ids="parts:1")
    theirs, _ = edits.name(starter(2), "theirs", claim_of("parts:2"))
    write_labels(run.out, theirs, run.ids.fingerprint)
    with pytest.raises(ConflictError, match="another program"):
        draft.save(draft.version)
    assert read_labels(run.out / "labels.yaml", run.ids.fingerprint) == theirs
    draft.save(draft.version, overwrite=True)
    kept = [read_labels(path, run.ids.fingerprint) for path in run.out.glob("labels.*.yaml")]
    assert theirs in kept


def test_taking_their_labels_can_be_undone(run):
    draft = LabelDraft(run)
    change(draft, "name", name="mine", ids="parts:1")
    theirs, _ = edits.name(starter(2), "theirs", claim_of("parts:2"))
    write_labels(run.out, theirs, run.ids.fingerprint)
    change(draft, "reload")
    assert draft.labels == theirs
    change(draft, "undo")
    assert draft.labels.named("mine")


def test_a_change_that_is_refused_changes_nothing(run):
    draft = LabelDraft(run)
    before = draft.state()
    for values in ({"name": "x", "ids": "parts:99"}, {"name": "background", "ids": "parts:1"}):
        with pytest.raises(LeopartError):
            change(draft, "name", **values)
    assert draft.state() == before


def test_the_table_of_the_page_gives_the_masks_of_the_command(run):
    draft = LabelDraft(run)
    change(draft, "name", name="shirt", ids="parts:1,3")
    change(draft, "ignore", ids="parts:2")
    table = np.array(draft.state()["table"])
    apply_labels(run.out, draft.labels)
    for entry in run.entries:
        parts, objects = run.masks(entry)
        written = np.asarray(Image.open(run.out / "labels" / f"{entry.mask}.png"))
        assert (table[objects, parts] == written).all()


def test_a_run_at_work_in_the_folder_is_told_and_nothing_is_written(run):
    draft = LabelDraft(run)
    change(draft, "ignore", ids="parts:1")
    with locked(run.out), pytest.raises(LeopartError, match="save them when it has ended"):
        draft.save(draft.version)
    assert not (run.out / "labels.yaml").exists()
    draft.save(draft.version)
    assert (run.out / "labels.yaml").exists()

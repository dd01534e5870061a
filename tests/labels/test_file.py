"""`labels.yaml`: what is written is read, versions are kept, damaged files are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from leopart.errors import LeopartError
from leopart.labels.file import LABELS, read_labels, starter, undo, write_labels
from leopart.labels.rules import Claim, Label, Labels, claim_of

OWN = "fingerprint"
LABELLED = Labels(
    (
        Label(1, "シャツ: a/b", (1, 2, 3), claim_of("parts:3,7 objects:2")),
        Label(300, "car", (255, 0, 16), claim_of("parts:3@1,4@1")),
    ),
    ignored=claim_of("parts:12 objects:5"),
    last_id=400,
)


def test_labels_are_read_as_they_were_written(tmp_path: Path):
    assert read_labels(write_labels(tmp_path, LABELLED, OWN), OWN) == LABELLED


def test_every_application_keeps_the_version_before_and_undo_goes_back(tmp_path: Path):
    first, second, third = starter(1), starter(2), starter(3)
    for labels in (first, second, second, third):
        write_labels(tmp_path, labels, OWN)

    assert sorted(path.name for path in tmp_path.glob("lab*")) == ["labels.1.yaml", "labels.2.yaml", LABELS]
    assert read_labels(undo(tmp_path), OWN) == second
    assert read_labels(undo(tmp_path), OWN) == first
    with pytest.raises(LeopartError, match="no earlier version"):
        undo(tmp_path)


def test_a_change_by_hand_keeps_its_comments_and_the_version_before_it(tmp_path: Path):
    path = write_labels(tmp_path, starter(2), OWN)
    by_hand = path.read_text("utf-8").replace("object 2", "dog") + "# a dog\n"
    path.write_text(by_hand, "utf-8")
    dog = read_labels(path, OWN)

    write_labels(tmp_path, dog, OWN)
    assert path.read_text("utf-8") == by_hand
    assert read_labels(undo(tmp_path), OWN) == starter(2)

    write_labels(tmp_path, dog, OWN)
    path.write_text("not applied, and not even labels", "utf-8")
    write_labels(tmp_path, LABELLED, OWN)
    assert undo(tmp_path).read_text("utf-8").startswith("not applied")
    assert read_labels(undo(tmp_path), OWN) == dog


def test_a_starter_names_every_object_and_leaves_out_the_id_of_no_label():
    labels = starter(256)

    assert [label.id for label in labels] == [*range(1, 255), 256, 257]
    assert labels.labels[254] == Label(256, "object 255", labels.labels[254].colour, Claim(frozenset([255])))


def test_a_file_of_another_segmenter_is_refused(tmp_path: Path):
    with pytest.raises(LeopartError, match="another segmenter"):
        read_labels(write_labels(tmp_path, LABELLED, "other"), OWN)


def body(labels: str, ignore: str = "{}") -> str:
    return f"format: 1\nsegmenter: {OWN}\nlabels: {labels}\nignore: {ignore}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (body("[{id: 1, name: a, colour: '#000000', parts: [3, 3]}]"), "comes twice in parts"),
        (body("[{id: 1, name: a, colour: red, parts: [3]}]"), "'red' is no colour"),
        (body("[{id: 1, name: a, colour: '#000000'}]"), "claims nothing"),
        (body("[{id: 1, name: a, colour: '#000000', parts: [x]}]"), r"labels.0.parts.0"),
        (body("[{id: 1, name: a, colour: '#000000', parts_of_objects: {a: [1]}}]"), "'a' is no object"),
        (body("[{id: 1, name: a, colour: '#000000', parts: [1]}]", "{parts: [1]}"), "both claim parts:1"),
        (body("[&x {id: 1, name: a, colour: '#000000', parts: [1]}, *x]"), "cannot be used, two labels"),
        ("format: 2\nsegmenter: x\n", "format 2"),
        ("\tformat: 1", "not YAML"),
        ("[]", "cannot be used"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_name(tmp_path: Path, text: str, told: str):
    path = tmp_path / LABELS
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LeopartError, match=told) as error:
        read_labels(path, OWN)
    assert LABELS in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_hindrance_and_other_encodings_are_told(tmp_path: Path):
    path = write_labels(tmp_path, LABELLED, OWN)
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert read_labels(path, OWN) == LABELLED
    path.write_bytes(content.decode().encode("utf-16"))
    with pytest.raises(LeopartError, match="UTF-16"):
        read_labels(path, OWN)

"""Label masks of a run: what is written is what the labels say of part and object masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.datasets.folder import open_folder
from leopart.data.photo_list import PhotoEntry, write_photo_list
from leopart.errors import LeopartError
from leopart.labels import edits
from leopart.labels.file import LABELS, read_labels, starter, write_labels
from leopart.labels.rules import Claim, Label, Labels, claim_of
from leopart.segment.labelling import (
    Ids,
    LabelTable,
    apply_labels,
    ids_of,
    labels_in,
    named_by_votes,
    start_labels,
)

IDS = Ids("abc", 4, 3)
SHIRT = Labels(
    (
        Label(1, "car", (0, 0, 255), claim_of("objects:1")),
        Label(2, "シャツ / shirt", (255, 0, 0), claim_of("parts:3")),
        Label(300, "left sleeve", (0, 255, 0), claim_of("parts:3@2")),
    ),
    ignored=claim_of("parts:4@1"),
)


def card(out: Path, fingerprint: str = "abc") -> None:
    (out / "segmenter").mkdir(parents=True, exist_ok=True)
    content = {"arrays sha256": fingerprint, "parts": 4, "objects": [{}, {}, {}]}
    (out / "segmenter" / "segmenter.json").write_text(json.dumps(content))


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part and object ids of a photo; an object of a part differs from pixel to pixel."""
    rng = np.random.default_rng(seed)
    parts = rng.integers(0, 5, (5, 7))
    return parts, np.where(parts > 0, rng.integers(0, 4, (5, 7)), 0)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of two photos, one of them in a folder."""
    out = tmp_path / "out"
    card(out)
    entries = []
    for seed, stem in enumerate(("a", "trip/b")):
        photo = tmp_path / "photos" / f"{stem}.png"
        for file, ids in ((photo, None), *zip((out / "parts", out / "objects"), masks(seed), strict=True)):
            path = photo if ids is None else file / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((5, 7, 3), np.uint8) if ids is None else ids.astype(np.uint8)).save(path)
        entries.append(PhotoEntry.of(f"{stem}.png", photo, stem, (5, 7)))
    write_photo_list(out, entries)
    return out


def expected(seed: int) -> np.ndarray:
    """`SHIRT`, pixel by pixel."""
    found = np.zeros((5, 7), int)
    for place, part in np.ndenumerate(masks(seed)[0]):
        obj = masks(seed)[1][place]
        if part == 3:
            found[place] = 300 if obj == 2 else 2
        elif part and obj == 1 and part != 4:
            found[place] = 1
    return found


def test_label_masks_say_what_the_labels_say_of_every_pixel(out: Path):
    applied = apply_labels(out, SHIRT)

    for seed, stem in enumerate(("a", "trip/b")):
        mask = np.asarray(Image.open(out / "labels" / f"{stem}.png"))
        np.testing.assert_array_equal(mask, expected(seed))
    for label in (0, 1, 2, 300):
        shown = [int((expected(seed) == label).sum()) for seed in (0, 1)]
        assert (applied.pixels[label], applied.photos[label]) == (sum(shown), sum(map(bool, shown)))
    assert applied.written == 2
    assert (out / "classes.txt").read_text("utf-8").splitlines() == [
        "0\tbackground",
        "1\tcar",
        "2\tシャツ / shirt",
        "300\tleft sleeve",
    ]


def test_masks_of_few_labels_have_a_palette_of_their_colours(out: Path):
    apply_labels(out, edits.remove(SHIRT, "left sleeve"))
    image = Image.open(out / "labels" / "a.png")

    assert image.mode == "P"
    assert image.getpalette()[3:9] == [0, 0, 255, 255, 0, 0]


def test_a_labelled_run_is_a_labelled_set_of_the_folder_layout(out: Path):
    with pytest.raises(LeopartError, match="leopart label"):
        open_folder(out)
    apply_labels(out, SHIRT)
    labelled = open_folder(out)

    assert labelled.classes == SHIRT.classes
    assert [photo.name for photo, _ in labelled.pairs] == ["a.png", "trip/b.png"]
    np.testing.assert_array_equal(labelled.read_mask(*labelled.pairs[1]), expected(1))

    (out.parent / "photos" / "a.png").rename(out.parent / "b.png")
    with pytest.raises(LeopartError, match=r"a\.png"):
        open_folder(out)


def test_the_starter_names_objects_and_makes_label_masks_of_them(out: Path):
    assert start_labels(out) == []
    apply_labels(out, labels_in(out, ids_of(out)))

    np.testing.assert_array_equal(np.asarray(Image.open(out / "labels" / "a.png")), masks(0)[1])


def test_labels_of_the_same_segmenter_stay_and_others_are_put_aside(out: Path):
    apply_labels(out, SHIRT)
    assert start_labels(out) == []
    assert labels_in(out, IDS) == SHIRT

    card(out, "another")
    (note,) = start_labels(out)
    assert "kept under another name" in note
    assert read_labels(out / LABELS, "another") == starter(3)
    assert read_labels(out / "labels.1.yaml", "abc") == SHIRT
    assert not (out / "labels").exists()
    assert not (out / "classes.txt").exists()


def test_the_page_shows_labels_and_photos_and_takes_names_as_text(out: Path):
    labels = edits.rename(SHIRT, "car", "<script>car</script>")
    apply_labels(out, labels)
    page = (out / "labels.html").read_text("utf-8")

    assert "<script" not in page
    assert "&lt;script&gt;car" in page
    assert "シャツ / shirt" in page
    assert page.count("data:image/jpeg") == 2
    assert "parts:4@1" in page  # ignored

    (out.parent / "photos" / "a.png").unlink()
    apply_labels(out, labels)
    assert (out / "labels.html").read_text("utf-8").count("data:image/jpeg") == 1
    assert (out / "labels" / "a.png").is_file()  # masks need no photo


def test_a_photo_whose_masks_cannot_be_read_is_left_out_and_named(out: Path):
    (out / "parts" / "a.png").write_bytes(b"no image")
    applied = apply_labels(out, SHIRT)

    assert applied.written == 1
    assert [failure.name for failure in applied.failures] == ["a.png"]
    assert (out / "labels" / "trip" / "b.png").is_file()


@pytest.mark.parametrize(("claim", "told"), [("parts:5", "part 5"), ("objects:4", "object 4")])
def test_ids_that_the_segmenter_lacks_are_refused_before_anything_is_written(
    out: Path, claim: str, told: str
):
    labels, _ = edits.name(SHIRT, "roof", claim_of(claim))
    with pytest.raises(LeopartError, match=f"'roof' claims {told}, which is not there"):
        apply_labels(out, labels)
    assert not (out / "labels").exists()


def test_masks_that_do_not_fit_are_refused():
    table = LabelTable(SHIRT, IDS)
    with pytest.raises(LeopartError, match="differ in size"):
        table.of(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(LeopartError, match="ids that the segmenter lacks"):
        table.of(np.full((2, 2), 5), np.zeros((2, 2), int))


def test_labels_of_another_segmenter_are_refused(out: Path):
    write_labels(out, SHIRT, "another")
    with pytest.raises(LeopartError, match="another segmenter"):
        labels_in(out, ids_of(out))


def test_a_run_of_an_earlier_version_says_how_to_get_its_list_of_photos(out: Path):
    (out / "photos.jsonl").unlink()
    with pytest.raises(LeopartError, match="run the same `leopart segment`"):
        apply_labels(out, SHIRT)


class Classes:
    """What a vote needs of labelled photos."""

    classes = {0: "background", 5: "roof", 9: "wall"}  # noqa: RUF012
    background = 0


def votes(*cells: tuple[int, int, int, int]) -> np.ndarray:
    """Counts from (object, part, row of class, pixels)."""
    counts = np.zeros((4, 5, 3), np.int64)
    for obj, part, row, pixels in cells:
        counts[obj, part, row] += pixels
    return counts


def test_votes_name_what_the_starter_named_and_make_the_sets_background_background():
    counts = votes((1, 1, 1, 90), (1, 1, 2, 10), (2, 2, 2, 60), (2, 3, 0, 50))
    labels, _ = named_by_votes(starter(3), Classes, counts, 0.5)  # type: ignore[arg-type]
    names = labels.classes

    table = np.vectorize(names.get)(labels.table(3, 4))
    assert table[1, 1] == "roof"
    assert table[2, 2] == "wall"
    assert table[2, 3] == "background"
    assert set(names.values()) == {"background", "roof", "wall"}


def test_votes_never_change_what_a_person_has_named_or_ignored():
    own, _ = edits.name(starter(3), "dog", claim_of("objects:1"))
    own = edits.ignore(own, claim_of("parts:2@2 objects:3"))[0]
    counts = votes(
        (1, 1, 1, 90), (2, 1, 1, 90), (2, 2, 2, 60), (1, 2, 2, 10), (3, 1, 1, 9), (3, 3, 1, 5), (0, 3, 2, 9)
    )
    labels, _ = named_by_votes(own, Classes, counts, 0.5)  # type: ignore[arg-type]

    before, after = own.table(3, 4), labels.table(3, 4)
    dog = own.named("dog")
    assert dog is not None
    assert (after[before == dog.id] == dog.id).all()
    assert labels.named("dog") is not None
    assert (after[own.ignored_table(3, 4)] == 0).all()
    assert labels.classes[after[2, 1]] == "roof"  # what nobody has named takes the vote
    assert labels.classes[after[0, 3]] == "wall"


def test_an_ignored_table_knows_background_that_was_asked_for():
    table = SHIRT.ignored_table(3, 4)
    assert np.argwhere(table).tolist() == [[1, 4]]
    assert Labels(ignored=Claim(parts=frozenset([2]))).ignored_table(1, 2).tolist() == [
        [False, False, True],
        [False, False, True],
    ]

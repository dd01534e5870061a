"""`leopart label`: from a run to named masks, and what a user may get wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import leopart
from leopart.labels.file import LABELS


def ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def state(out: Path) -> dict[str, bytes]:
    """Every file of a run but its overlays."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(segmented: Path, tmp_path: Path) -> Path:
    """A copy of a run whose parts nobody has named."""
    shutil.copytree(segmented, tmp_path / "out")
    return tmp_path / "out"


def test_names_merges_and_undo_from_the_command_line(run: Callable, out: Path):
    named = run("label", out, "--name", "ball=parts:1,2", "--name", "box=objects:2", "--ignore", "parts:3")
    assert named.status == 0, named.err
    parts, objects = ids(out / "parts" / "0.png"), ids(out / "objects" / "0.png")
    box = 2 * ((objects == 2) & ~np.isin(parts, (1, 2, 3)))
    ball = 3 * np.isin(parts, (1, 2))
    rest = (objects == 1) & ~np.isin(parts, (1, 2, 3))
    np.testing.assert_array_equal(ids(out / "labels" / "0.png"), box + ball + rest)

    assert run("label", out, "--merge", "toy=ball,box", "--colour", "toy=#ff0000").status == 0
    np.testing.assert_array_equal(ids(out / "labels" / "0.png"), np.where(box + ball, 3, rest))
    assert Image.open(out / "labels" / "0.png").getpalette()[9:12] == [255, 0, 0]

    assert run("label", out, "--undo").status == 0
    np.testing.assert_array_equal(ids(out / "labels" / "0.png"), box + ball + rest)
    assert "3\tball" in (out / "classes.txt").read_text("utf-8")


def test_a_labelled_run_is_checked_and_evaluated_as_a_set(run: Callable, out: Path, small: tuple[str, ...]):
    assert run("label", out, "--quiet").err == ""
    checked = run("data", "check", f"folder:{out}")
    assert checked.status == 0, checked.err
    assert "object 1" in checked.out + checked.err
    scores = out.parent / "scores.json"
    words = ("--data", f"folder:{out}", "--k", "4", "--seeds", "1", "--out", scores)
    evaluated = run("evaluate", "overclustering", *words, *small)
    assert evaluated.status == 0, evaluated.err
    assert "object 1" in scores.read_text("utf-8")


def test_three_labelled_photos_name_the_parts(run: Callable, out: Path, segmented: Path, tmp_path: Path):
    few = tmp_path / "few"
    for number in range(3):
        for folder in ("images", "masks"):
            (few / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(segmented.parent / "photos" / f"{number}.png", few / "images")
        truth = (ids(out / "parts" / f"{number}.png") > 3) + 1
        truth[ids(out / "parts" / f"{number}.png") == 0] = 255
        Image.fromarray(truth.astype(np.uint8)).save(few / "masks" / f"{number}.png")
    (few / "classes.txt").write_text("1\tlow\n2\thigh\n")

    named = run("label", out, "--from", f"folder:{few}", "--device", "cpu")
    assert named.status == 0, named.err
    assert "parts:1: low, 100% of" in named.err.replace("parts:1 ", "parts:1")
    names = dict(line.split("\t") for line in (out / "classes.txt").read_text().splitlines())
    for number in range(3):
        parts = ids(out / "parts" / f"{number}.png")
        found = np.vectorize(names.get)(ids(out / "labels" / f"{number}.png").astype(str))
        for part in np.unique(parts[parts > 0]):
            assert set(found[parts == part]) == {"low" if part <= 3 else "high"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["labels used for names"] == f"folder:{few} (3 photos)"


def test_a_dry_run_tells_and_writes_nothing(run: Callable, out: Path):
    before = state(out)
    told = run("label", out, "--name", "ball=parts:1", "--dry-run")
    assert told.status == 0
    assert "ball" in told.err
    assert state(out) == before


def test_more_photos_get_the_same_labels(run: Callable, out: Path, draw: Callable, tmp_path: Path):
    assert run("label", out, "--name", "ball=parts:1,2", "--quiet").status == 0
    (tmp_path / "more" / "trip").mkdir(parents=True)
    draw(50).save(tmp_path / "more" / "trip" / "x.png")
    draw(51).save(tmp_path / "more" / "y.png")
    predicted = run("predict", out, tmp_path / "more", "--out", tmp_path / "out2", "--device", "cpu")
    assert predicted.status == 0, predicted.err

    assert (tmp_path / "out2" / LABELS).read_bytes() == (out / LABELS).read_bytes()
    assert (tmp_path / "out2" / "classes.txt").read_bytes() == (out / "classes.txt").read_bytes()
    mask = ids(tmp_path / "out2" / "labels" / "trip" / "x.png")
    np.testing.assert_array_equal(
        mask == 3, np.isin(ids(tmp_path / "out2" / "parts" / "trip" / "x.png"), (1, 2))
    )
    segmenter = leopart.Segmenter.load(out, device="cpu")
    assert segmenter.labels_ is not None
    np.testing.assert_array_equal(segmenter.predict(tmp_path / "more" / "trip" / "x.png").labels, mask)
    assert run("data", "check", f"folder:{tmp_path / 'out2'}").status == 0


def test_without_applied_labels_predict_writes_none(run: Callable, out: Path, draw: Callable, tmp_path: Path):
    draw(50).save(tmp_path / "x.png")
    assert run("predict", out, tmp_path / "x.png", "--out", tmp_path / "out2", "--device", "cpu").status == 0
    assert not (tmp_path / "out2" / "labels").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "ball"), "--name 'ball' has no name on both sides"),
        (("--name", "ball=7"), "'7' names no parts or objects"),
        (("--name", "ball=parts:7"), "'ball' claims part 7, which is not there; parts are 1 to 6"),
        (("--name", "ball=objects:9"), "'ball' claims object 9"),
        (("--name", "a\nb=parts:1"), "control character"),
        (("--name", "Background=parts:1"), "cannot be used"),
        (("--merge", "toy=ball,box"), "there is no label 'ball'"),
        (("--rename", "object 1=object 2"), "two labels have it"),
        (("--colour", "object 1=red"), "'red' is no colour"),
        (("--ignore", "part3"), "names no parts or objects"),
        (("--undo",), "nothing can be undone"),
        (("--undo", "--remove", "object 1"), "--undo goes back by one version"),
        (("--min-agreement", "2"), "--min-agreement"),
        (("--from", "folder:nowhere"), "nowhere"),
    ],
)
def test_wrong_options_are_one_sentence_and_change_nothing(run: Callable, out: Path, words: tuple, told: str):
    before = state(out)
    ran = run("label", out, *words)

    assert ran.status == 2
    assert told in ran.err
    assert len(ran.lines) == 1
    assert state(out) == before


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("objects: [2]", "objects: [1]"), "both claim objects:1"),
        (lambda text: text.replace("objects: [2]", "parts: [9]"), "claims part 9"),
        (lambda text: text.replace("object 2", "object 1"), "two labels have it"),
        (lambda text: text.replace("segmenter: ", "segmenter: f"), "another segmenter"),
        (lambda text: "\t" + text, "not YAML"),
        (lambda text: text.replace("- id: 2\n", "- id: 255\n"), "255"),
    ],
)
def test_a_file_that_was_mended_badly_is_refused(run: Callable, out: Path, damage: Callable, told: str):
    path = out / LABELS
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    before = state(out)
    ran = run("label", out)

    assert (ran.status, len(ran.lines)) == (2, 1)
    assert told in ran.err
    assert LABELS in ran.err or "claims" in ran.err
    assert state(out) == before


def test_a_folder_without_a_run_is_refused(run: Callable, tmp_path: Path):
    ran = run("label", tmp_path)
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "segmenter.json" in ran.err


def test_more_than_255_labels_make_masks_of_16_bits(run: Callable, out: Path):
    path = out / LABELS
    path.write_text(path.read_text("utf-8").replace("- id: 2\n", "- id: 4000\n"), "utf-8")
    assert run("label", out).status == 0
    mask = ids(out / "labels" / "0.png")
    np.testing.assert_array_equal(mask == 4000, ids(out / "objects" / "0.png") == 2)

"""`leopart label --split`: a part in pieces, in masks, segmenter and labels; and back."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import leopart
from leopart.errors import LeopartError
from leopart.labels.file import LABELS, read_labels
from leopart.segment import saved, splitting
from leopart.segment.labelling import ids_of

PART = 2


def ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def state(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def out(segmented: Path, tmp_path: Path, run: Callable) -> Path:
    """A copy of a run with a named part."""
    shutil.copytree(segmented, tmp_path / "out")
    assert run("label", tmp_path / "out", "--name", f"thing=parts:{PART}", "--quiet").status == 0
    return tmp_path / "out"


@pytest.fixture
def split(run: Callable) -> Callable:
    def go(out: Path, *words: object) -> str:
        done = run("label", out, "--split", f"part:{PART}", "--device", "cpu", *words)
        assert done.status == 0, done.err
        return done.err

    return go


def test_only_pixels_of_the_part_change_and_labels_stay(out: Path, split: Callable):
    before = state(out)
    told = split(out)
    after = state(out)

    assert "part 2, in " in told
    assert "is now: 2 (" in told
    shown = set()
    for number in range(6):
        name = f"parts/{number}.png"
        new = ids(out / name)
        earlier = np.asarray(Image.open(io.BytesIO(before[name])))
        np.testing.assert_array_equal(np.where(new == 7, PART, new), earlier)
        shown |= set(new[earlier == PART].tolist())
        assert after[f"objects/{number}.png"] == before[f"objects/{number}.png"]
        assert after[f"labels/{number}.png"] == before[f"labels/{number}.png"]
    assert shown == {PART, 7}
    assert ids_of(out).n_parts == 7
    labels = read_labels(out / LABELS, ids_of(out).fingerprint)
    thing = labels.named("thing")
    assert thing is not None
    assert thing.claim.parts == {PART, 7}
    assert json.loads(after["summary.json"])["counts"]["parts"] == 7
    assert not (out / ".features").exists()


def test_more_photos_and_the_same_ones_get_the_pieces(out: Path, split: Callable, run: Callable):
    split(out)
    again = out.parent / "again"
    photos = json.loads((out / "photos.jsonl").read_text().splitlines()[0])["path"]
    predicted = run("predict", out, Path(photos).parent, "--out", again, "--device", "cpu")
    assert predicted.status == 0, predicted.err

    for kind in ("parts", "objects", "labels"):
        for number in range(6):
            np.testing.assert_array_equal(
                ids(again / kind / f"{number}.png"), ids(out / kind / f"{number}.png")
            )
    segmenter = leopart.Segmenter.load(out, device="cpu")
    np.testing.assert_array_equal(segmenter.predict(photos).parts, ids(out / "parts" / "0.png"))


def test_every_cell_of_the_part_is_of_the_nearest_piece(out: Path, split: Callable):
    before = leopart.Segmenter.load(out, device="cpu").model_
    split(out, "--into", "3")
    segmenter = leopart.Segmenter.load(out, device="cpu")
    model, numbers = segmenter.model_, [PART, 7, 8]
    assert [split.ids.tolist() for split in model.splits] == [numbers]
    assert model.object_of_part[7] == model.object_of_part[8] == model.object_of_part[PART]
    centroids = [model.centroids[number - 1].numpy().astype(float) for number in numbers]
    distances = [np.linalg.norm(one - before.centroids[PART - 1].numpy()) for one in centroids]
    assert np.argmin(distances) == 0  # the piece nearest to the old centroid keeps the id

    seen = set()
    for line in (out / "photos.jsonl").read_text().splitlines():
        photo = segmenter.extractor.prepare(Path(json.loads(line)["path"]))
        ((tokens, _),) = segmenter.extractor.forward([photo])
        embeddings = model.embed(tokens).numpy().astype(float)
        expected = before.label(tokens)
        for cell in zip(*np.nonzero(expected == PART), strict=True):
            expected[cell] = numbers[
                int(np.argmin([((embeddings[cell] - one) ** 2).sum() for one in centroids]))
            ]
        found = model.label(tokens)
        assert (found == expected).mean() > 0.999  # where two centroids are equally near, a last bit decides
        whole = before.label(tokens)
        np.testing.assert_array_equal(np.where(found > 6, PART, found), whole)
        np.testing.assert_array_equal(model.object_table(found)[found], before.object_table(whole)[whole])
        seen |= set(found.ravel().tolist())
    assert set(numbers) <= seen


def test_undo_brings_back_every_byte_of_two_splits(out: Path, split: Callable, run: Callable):
    first = state(out)
    split(out)
    second = state(out)
    split(out, "--into", "3")
    assert run("label", out, "--name", "new=parts:9", "--quiet").status == 0

    for expected in (None, second, first):
        assert run("label", out, "--undo", "--device", "cpu").status == 0
        if expected is not None:
            found = state(out)
            assert {name for name in expected if found.get(name) != expected[name]} <= {"labels.html"}
            assert set(found) == set(expected)


def test_the_same_seed_gives_the_same_bytes(out: Path, split: Callable):
    shutil.copytree(out, out.parent / "other")
    split(out)
    split(out.parent / "other")
    assert state(out) == state(out.parent / "other")


def test_features_that_were_kept_give_the_same_pieces(
    out: Path, split: Callable, run: Callable, quick: tuple[str, ...], segmented: Path
):
    kept, folder = out.parent / "kept", out.parent / "features"
    words = ("--out", kept, *quick, "--features", folder, "--quiet")
    assert run("segment", segmented.parent / "photos", *words).status == 0
    assert run("label", kept, "--name", f"thing=parts:{PART}", "--quiet").status == 0
    split(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leopart.features.extract.Extractor.forward", None)  # no tokens are computed
        split(kept)

    assert folder.is_dir()
    name = "segmenter/segmenter.json"
    assert json.loads((kept / name).read_text())["splits"] == json.loads((out / name).read_text())["splits"]
    assert (kept / "parts" / "0.png").read_bytes() == (out / "parts" / "0.png").read_bytes()


def test_an_interrupted_split_is_finished_by_the_next_command(
    out: Path, split: Callable, run: Callable, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(out, out.parent / "undisturbed")
    split(out.parent / "undisturbed")
    written, save = [], splitting.save_mask

    def stop(path: Path, *rest: object) -> None:
        if written:
            raise LeopartError("no room")
        written.append(path)
        save(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(splitting, "save_mask", stop)
        assert run("label", out, "--split", f"part:{PART}", "--device", "cpu").status == 2
    assert saved.read(out / "segmenter")[1].n_parts == 7
    assert run("label", out, "--device", "cpu").status == 0
    assert state(out) == state(out.parent / "undisturbed")


def test_a_dry_run_says_what_the_pieces_would_be(out: Path, split: Callable):
    before = state(out)
    assert "would be: 2 (" in split(out, "--dry-run")
    assert state(out) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--split", "part:99"), "there is no part 99 to split; parts are 1 to 6"),
        (("--split", "parts:1,2"), "is not one part; write part:12"),
        (("--split", "objects:1"), "is not one part"),
        (("--split", "12"), "names no parts or objects"),
        (("--split", "part:2", "--name", "x=parts:1"), "--split is a change of its own"),
        (("--split", "part:2", "--undo"), "--undo goes back"),
        (("--split", "part:2", "--into", "1"), "--into"),
    ],
)
def test_wrong_options_are_one_sentence_and_change_nothing(run: Callable, out: Path, words: tuple, told: str):
    before = state(out)
    ran = run("label", out, *words, "--device", "cpu")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert told in ran.err
    assert state(out) == before


def test_a_photo_that_has_gone_matters_only_where_it_shows_the_part(out: Path, run: Callable, tmp_path: Path):
    entries = [json.loads(line) for line in (out / "photos.jsonl").read_text().splitlines()]
    shows = [(ids(out / "parts" / f"{entry['mask']}.png") == PART).any() for entry in entries]
    entries[int(np.argmax(shows))]["path"] = str(tmp_path / "gone.png")
    (out / "photos.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    before = state(out)

    ran = run("label", out, "--split", f"part:{PART}", "--device", "cpu")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "gone.png, which shows part 2, has gone or was changed" in ran.err
    assert state(out) == before

    for number in range(6):  # nobody shows it
        mask = ids(out / "parts" / f"{number}.png")
        Image.fromarray(np.where(mask == PART, 0, mask).astype(np.uint8)).save(
            out / "parts" / f"{number}.png"
        )
    ran = run("label", out, "--split", f"part:{PART}", "--device", "cpu")
    assert "no photo shows part 2, so it cannot be split" in ran.err


@pytest.mark.parametrize(
    "change",
    [
        lambda splits: splits[0]["centroids"][0].__setitem__(0, 0.5),
        lambda splits: splits[0].__setitem__("ids", [2, 9]),
        lambda splits: splits[0].__setitem__("ids", "2"),
        lambda splits: splits.clear(),
    ],
)
def test_splits_that_were_altered_are_refused(out: Path, split: Callable, run: Callable, change: Callable):
    split(out)
    path = out / "segmenter" / "segmenter.json"
    content = json.loads(path.read_text())
    change(content["splits"])
    path.write_text(json.dumps(content))
    ran = run("predict", out, out.parent, "--out", out.parent / "again", "--device", "cpu")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "segmenter.json" in ran.err

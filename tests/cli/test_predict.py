from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from leopart.features.extract import Extractor


@pytest.fixture
def segmenter(segmented: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(segmented / "segmenter", tmp_path / "segmenter")


@pytest.mark.parametrize("given", [".", "segmenter"])
def test_photos_of_the_fit_get_the_same_bytes_again(run, segmented, tmp_path, masks_of, given):
    photos = segmented.parent / "photos"
    ran = run("predict", segmented / given, photos, "--out", tmp_path / "o", "--device", "cpu")

    assert (ran.status, ran.out) == (0, "")
    assert ran.lines == [f"masks of 6 photos: {tmp_path / 'o'}", f"report: {tmp_path / 'o' / 'report.html'}"]
    assert masks_of(tmp_path / "o") == masks_of(segmented)


def test_one_photo_alone_gets_the_bytes_it_got_among_others(run, segmented, tmp_path, masks_of):
    photo = segmented.parent / "photos" / "4.png"
    ran = run("predict", segmented, photo, "--out", tmp_path / "o", "--device", "cpu")

    assert ran.status == 0
    assert ran.lines[0] == f"masks of 1 photo: {tmp_path / 'o'}"
    whole = masks_of(segmented)
    assert masks_of(tmp_path / "o") == {name: whole[name] for name in ("parts/4.png", "objects/4.png")}


def test_a_batch_of_another_size_finds_the_same_parts(run, segmented, tmp_path):
    photos = segmented.parent / "photos"
    ran = run("predict", segmented, photos, "--out", tmp_path / "o", "--device", "cpu", "--batch-size", "4")

    assert ran.status == 0
    for photo in photos.iterdir():
        with (
            Image.open(segmented / "parts" / photo.name) as alone,
            Image.open(tmp_path / "o" / "parts" / photo.name) as batched,
        ):
            pairs = zip(alone.tobytes(), batched.tobytes(), strict=True)
            assert sum(a != b for a, b in pairs) < 0.01 * 48 * 64


def test_new_photos_in_folders_get_masks_of_their_own_size_and_ids_of_the_segmenter(
    run, segmented, draw, tmp_path, files_below
):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    draw(11, 90, 50).save(tmp_path / "in" / "deep" / "new.jpg")
    draw(12).save(tmp_path / "in" / "new.png")
    ran = run("predict", segmented, tmp_path / "in", "--out", tmp_path / "o", "--quiet")

    assert (ran.status, ran.err) == (0, "")
    assert files_below(tmp_path / "o") == {
        "summary.json",
        "report.html",
        "areas.csv",
        "config.yaml",
        "photos.jsonl",
        "parts/new.png",
        "parts/deep/new.png",
        "objects/new.png",
        "objects/deep/new.png",
        "overlays/new.jpg",
        "overlays/deep/new.jpg",
    }
    with Image.open(tmp_path / "o" / "parts" / "deep" / "new.png") as mask:
        assert (mask.mode, mask.size) == ("P", (90, 50))
        assert mask.getextrema()[1] <= 6


def test_no_overlays_leaves_them_out(run, segmented, photos, tmp_path):
    ran = run("predict", segmented, photos / "0.png", "--out", tmp_path / "o", "--no-overlays")

    assert ran.status == 0
    assert not (tmp_path / "o" / "overlays").exists()


def test_summary_and_configuration_tell_what_was_done(run, segmented, photos, tmp_path):
    assert run("predict", segmented, photos, "--out", tmp_path / "o", "--device", "cpu").status == 0
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    settings = yaml.safe_load((tmp_path / "o" / "config.yaml").read_text())

    assert summary["command"] == "predict"
    assert summary["counts"] == {"photos": 6, "failed": 0, "parts": 6, "objects": 2}
    assert summary["labels used"] == "none"
    assert list(summary["seconds"]) == ["loading the segmenter", "masks", "report"]
    assert summary["results"] == {"backbone": "tiny_random", "precision": "fp32"}
    assert summary["settings"] == settings
    assert (settings["segmenter"], settings["images"]) == (str(segmented), [str(photos)])


def test_the_configuration_file_repeats_a_prediction(run, segmented, photos, tmp_path, masks_of):
    assert run("predict", segmented, photos, "--out", tmp_path / "a", "--device", "cpu").status == 0
    ran = run("predict", "--config", tmp_path / "a" / "config.yaml", "--out", tmp_path / "b")

    assert ran.status == 0
    assert masks_of(tmp_path / "b") == masks_of(tmp_path / "a")


def test_broken_photos_are_named_once_and_the_rest_is_done(run, segmented, photos, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("a letter")
    ran = run("predict", segmented, photos, "--out", tmp_path / "o", "--quiet")

    assert ran.status == 1
    assert [line.split(" is ")[0] for line in ran.lines] == [
        f"leopart: {photos / 'empty.jpg'}",
        f"leopart: {photos / 'text.jpg'}",
    ]
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert [failure["name"] for failure in summary["failures"]] == ["empty.jpg", "text.jpg"]
    assert (summary["counts"]["photos"], summary["counts"]["failed"]) == (8, 2)
    assert len(list((tmp_path / "o" / "parts").iterdir())) == 6


def test_broken_photos_only_are_wrong_input(run, segmented, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.jpg").touch()
    ran = run("predict", segmented, tmp_path / "in", "--out", tmp_path / "o")

    assert ran.status == 2
    assert ran.lines[0] == "leopart: no photo could be used, of 1 given:"
    assert "empty.jpg is empty (0 bytes)" in ran.lines[1]
    assert not (tmp_path / "o" / "summary.json").exists()


def test_a_photo_that_vanishes_half_way_is_named(run, segmented, photos, tmp_path, monkeypatch):
    real = Extractor.forward

    def forward(self, images):
        (photos / "5.png").unlink(missing_ok=True)
        return real(self, images)

    monkeypatch.setattr(Extractor, "forward", forward)
    ran = run("predict", segmented, photos, "--out", tmp_path / "o", "--quiet")

    assert ran.status == 1
    (line,) = ran.lines
    assert "5.png is not there (any more)" in line
    assert len(list((tmp_path / "o" / "parts").iterdir())) == 5


def test_ctrl_c_leaves_whole_masks_and_is_130(run, segmented, tmp_path, masks_of, monkeypatch):
    real, calls = Extractor.forward, iter(range(100))

    def forward(self, images):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(self, images)

    monkeypatch.setattr(Extractor, "forward", forward)
    ran = run("predict", segmented, segmented.parent / "photos", "--out", tmp_path / "o", "--device", "cpu")

    assert ran.status == 130
    assert masks_of(tmp_path / "o").items() <= masks_of(segmented).items()
    assert not list((tmp_path / "o").rglob("*.part"))


# --- segmenters that are not whole ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("segmenter.json", "holds no segmenter (segmenter.json cannot be read): give the output folder"),
        ("arrays.safetensors", "is missing: the segmenter is not whole, copy the folder again or refit"),
    ],
)
def test_a_missing_file_is_named(run, segmenter, photos, tmp_path, name, says):
    (segmenter / name).unlink()
    ran = run("predict", segmenter, photos, "--out", tmp_path / "o")

    assert ran.status == 2
    (line,) = ran.lines
    assert str(segmenter) in line
    assert says in line


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_array(file: Path) -> None:
    content = bytearray((file.parent / "arrays.safetensors").read_bytes())
    content[-1] ^= 1
    (file.parent / "arrays.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (change_array, "arrays.safetensors is not the file that segmenter.json describes"),
        (lambda file: file.write_text("{"), "segmenter.json is not JSON: line 1, column 2"),
        (
            lambda file: file.write_text("[]"),
            "cannot be used: Input should be a valid dictionary",
        ),
        (
            lambda file: change_json(file, format=99),
            "segmenter.json is of a format this version does not read",
        ),
        (lambda file: change_json(file, settings={"colour": "red"}), "segmenter.json was altered ("),
    ],
)
def test_an_altered_file_is_refused(run, segmenter, photos, tmp_path, alter, says):
    alter(segmenter / "segmenter.json")
    ran = run("predict", segmenter, photos, "--out", tmp_path / "o")

    assert ran.status == 2
    (line,) = ran.lines
    assert line.startswith(f"leopart: {segmenter}")
    assert says in line
    assert not (tmp_path / "o" / "parts").exists()


def test_other_weights_under_the_same_name_are_refused(run, quick, photos, tmp_path, make_tiny_weights):
    weights = make_tiny_weights(tmp_path, 0)
    words = ("segment", photos, "--out", tmp_path / "o", *quick, "--backbone", weights, "--no-overlays")
    assert run(*words).status == 0
    make_tiny_weights(tmp_path, 1)
    ran = run("predict", tmp_path / "o", photos, "--out", tmp_path / "p")

    assert ran.status == 2
    (line,) = ran.lines
    assert f"was fitted on other weights than this {weights}" in line


def test_a_folder_that_is_no_segmenter_is_refused(run, photos, tmp_path):
    ran = run("predict", tmp_path / "absent", photos, "--out", tmp_path / "o")

    assert ran.status == 2
    assert ran.lines[0].startswith(f"leopart: {tmp_path / 'absent'} holds no segmenter (")


def test_the_report_has_the_shares_of_the_masks(run, segmented, tmp_path):
    """Counted pixel by pixel in the masks of three photos, one of another size."""
    photos = [segmented.parent / "photos" / f"{number}.png" for number in range(3)]
    assert run("predict", segmented, *photos, "--out", tmp_path / "o", "--no-overlays").status == 0

    page = (tmp_path / "o" / "report.html").read_text()
    text = re.sub(r"<[^>]*>", " ", page)
    for kind, word in (("parts", "Part"), ("objects", "Object")):
        masks = [np.asarray(Image.open(tmp_path / "o" / kind / photo.name)) for photo in photos]
        for number in range(1, 1 + max(int(mask.max()) for mask in masks)):
            shares = [(mask == number).mean() for mask in masks]
            found = re.findall(rf"{word} {number}\s+(\S+) %[^·]*·\s+(\d+) photo", text)
            if not any(shares):
                assert found == []
                continue
            assert float(found[0][0].lstrip("<")) == pytest.approx(100 * np.mean(shares), rel=0.06, abs=0.5)
            assert int(found[0][1]) == sum(share > 0 for share in shares)
    assert page.count('alt="photo of') == 3
    assert "How parts became objects" not in page  # that was when the segmenter was fitted

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.cli.data import main
from leopart.data.datasets import catalogue, checking, labelled
from leopart.data.datasets.catalogue import CATALOGUE
from leopart.data.datasets.unlabelled import EXPECTED
from leopart.errors import LeopartError
from small_sets import STREET, ade20k, coco, colours, index, part_colour, photo, voc

Capture = pytest.CaptureFixture[str]
DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")


@pytest.fixture
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of the small sets, as if the paper's had them."""
    for name, counts in (
        ("voc", {"val": 1, "train": 2, "trainaug": 3, "trainval": 3}),
        ("coco-stuff", {"val": 3, "train": 21, "train10": 3}),
        ("coco-thing", {"val": 3, "train": 21, "train10": 3}),
    ):
        monkeypatch.setitem(labelled.SPLITS, name, counts)


def folder(path: Path, count: int = 3) -> Path:
    """A labelled folder: the left half is class 1, the rest 0; a strip without a label."""
    ids = np.zeros((4, 6), np.uint8)
    ids[:, :3] = 1
    ids[3] = 255
    for number in range(count):
        photo(path / f"images/{number}.jpg")
        index(path / f"masks/{number}.png", ids)
    (path / "classes.txt").write_text("0\tbackground\n1\tcow\n2\tsky\n")
    return path


def check(capsys: Capture, *words: object) -> tuple[int, str]:
    status = main(["check", *map(str, words)])
    return status, capsys.readouterr().out


def row(out: str, name: str) -> list[str]:
    """Words of the line that begins with the name."""
    return next(line.split() for line in out.splitlines() if line.split()[:1] == [name])


# --- list -----------------------------------------------------------------------------------------------


def test_list_names_every_set_that_can_be_given(capsys: Capture):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name, known in CATALOGUE.items():
        assert row(out, f"{name}:PATH")[1].rstrip(",") == known.use.partition(",")[0]
    for number in ("1,449", "1,464", "10,582", "118,287", "5,000", "11,829", "1,983", "126,689", "1,281,167"):
        assert number in out


def test_list_fits_into_80_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    table = lines[: lines.index("")]
    assert max(len(line.rstrip()) for line in table) <= 80
    assert [line.split()[0] for line in table[1:] if not line.startswith(" ")] == [
        f"{n}:PATH" for n in CATALOGUE
    ]


def test_the_catalogue_has_every_layout_that_is_read():
    assert set(labelled.LAYOUTS) | set(EXPECTED) | {"folder"} == set(CATALOGUE)
    assert set(labelled.LAYOUTS) == {name for name, known in CATALOGUE.items() if "score" in known.use}


# --- check: complete ------------------------------------------------------------------------------------


def test_a_complete_folder_is_told_with_its_shares(tmp_path: Path, capsys: Capture):
    status, out = check(capsys, f"folder:{folder(tmp_path)}")
    assert status == 0
    assert row(out, "all") == ["all", "3", "of", "3", "3", "of", "3", "complete"]
    assert "3 masks read (split all)" in out
    assert row(out, "background") == ["background", "37.50", "%", "3"]
    assert row(out, "cow") == ["cow", "37.50", "%", "3"]
    assert row(out, "sky") == ["sky", "0.00", "%", "0"]
    assert row(out, "without") == ["without", "a", "label", "25.00", "%"]
    assert "get " not in out


def test_lists_of_a_folder_are_splits_and_other_texts_are_not(tmp_path: Path, capsys: Capture):
    folder(tmp_path)
    (tmp_path / "val.txt").write_text("0\n2\n")
    (tmp_path / "README.txt").write_text("Photos of cows.\n")
    (tmp_path / "notes.txt").write_bytes(b"\xff\xfe")
    status, out = check(capsys, tmp_path)
    assert status == 0
    assert row(out, "val") == ["val", "2", "of", "2", "2", "of", "2", "complete"]
    assert "README" not in out
    assert "notes" not in out
    (tmp_path / "val.txt").write_text("0\n7\n")
    status, out = check(capsys, tmp_path)
    assert status == 1
    assert "val: " in out
    assert "lists 1 names without a photo in images/, the first is '7'" in out


def test_photos_without_labels_are_a_set_to_train_on(tmp_path: Path, capsys: Capture):
    photo(tmp_path / "a.jpg")
    status, out = check(capsys, f"folder:{tmp_path}")
    assert status == 0
    assert row(out, "photos") == ["photos", "1", "of", "1", "-", "complete"]


@pytest.mark.usefixtures("small_counts")
@pytest.mark.parametrize("name", ["voc", "coco-stuff", "coco-thing"])
def test_a_complete_set_of_the_paper_is_told(tmp_path: Path, capsys: Capture, name: str):
    (voc if name == "voc" else coco)(tmp_path)
    status, out = check(capsys, f"{name}:{tmp_path}")
    assert status == 0
    for split, count in list(labelled.SPLITS[name].items())[:3]:
        assert row(out, split) == f"{split} {count} of {count} {count} of {count} complete".split()
    assert "trainval" not in out


def test_another_number_of_street_scenes_is_a_note(tmp_path: Path, capsys: Capture):
    status, out = check(capsys, f"ade20k-parts:{ade20k(tmp_path)}")
    assert status == 0
    assert row(out, "street") == ["street", "3", "of", "1,983", "3", "of", "3", "complete"]
    assert "the paper scores 1,983 photos, not 3; they are what the first 27,258" in out
    assert "12 of the pixels without a label have ids of no class: 1\n" in out


def test_many_parts_outside_the_classes_are_counted_and_some_named(tmp_path: Path, capsys: Capture):
    strange = [part_colour(part) for part in (1, 2, 3, 4, 5, 6)]
    colours(ade20k(tmp_path) / STREET / "ADE_train_00000001_parts_1.png", [strange])
    _, out = check(capsys, f"ade20k-parts:{tmp_path}")
    assert "32 of the pixels without a label have ids of no class: 1, 2, 3, 4, 5, ... (6 ids)\n" in out


@pytest.mark.parametrize(
    ("name", "place"), [("imagenet", "train/n01"), ("coco", "train2017"), ("imagenet100", "train/n01")]
)
def test_sets_to_train_on_are_counted(tmp_path: Path, capsys: Capture, monkeypatch, name: str, place: str):
    photo(tmp_path / place / "a.jpg")
    (tmp_path / "imagenet100.txt").write_text("n01\n")
    status, out = check(capsys, f"{name}:{tmp_path}")
    assert status == 1
    assert f"the paper's set has {EXPECTED[name]:,} photos, this one 1" in out
    assert "\nget " in out
    known = CATALOGUE[name]
    small = catalogue.DataSet(known.use, known.labels, dict.fromkeys(known.splits, 1))
    monkeypatch.setitem(checking.CATALOGUE, name, small)
    assert check(capsys, f"{name}:{tmp_path}")[0] == 0


# --- check: something is missing or wrong -----------------------------------------------------------------


@pytest.mark.usefixtures("small_counts")
def test_what_is_missing_is_counted_and_its_sources_named(tmp_path: Path, capsys: Capture):
    shutil.rmtree(voc(tmp_path) / "SegmentationClassAug")
    (tmp_path / "images/2007_02.jpg").unlink()
    status, out = check(capsys, f"voc:{tmp_path}")
    assert status == 1
    assert row(out, "val") == ["val", "1", "of", "1", "1", "of", "1", "complete"]
    assert row(out, "train") == ["train", "1", "of", "2", "2", "of", "2", "not", "complete"]
    assert row(out, "trainaug") == ["trainaug", "0", "of", "3", "-", "not", "complete"]
    assert f"train: the first missing is {tmp_path}/images/2007_02.jpg\n" in out
    assert "trainaug: " in out
    assert "has no SegmentationClassAug/" in out
    assert "val, train: masks from SegmentationClass\n" in out
    for address in ("http://host.robots.ox.ac.uk/pascal/VOC/voc2012/", "home.bharathh.info/pubs/codes/SBD"):
        assert address in out
    assert "\nlay as PATH/JPEGImages/" in out
    assert check(capsys, f"voc:{tmp_path}", "--split", "val")[0] == 0


def test_a_list_that_is_not_the_paper_s_is_told(tmp_path: Path, capsys: Capture):
    status, out = check(capsys, f"voc:{voc(tmp_path)}")
    assert status == 1
    assert "val: the paper's set has 1,449 photos, this one 1\n" in out
    assert row(out, "val") == ["val", "1", "of", "1,449", "1", "of", "1", "not", "complete"]


@pytest.mark.parametrize(
    "name", ["voc", "coco", "coco-stuff", "coco-thing", "ade20k-parts", "imagenet", "imagenet100"]
)
def test_a_folder_of_something_else_gets_advice(tmp_path: Path, capsys: Capture, name: str):
    status, out = check(capsys, f"{name}:{tmp_path}")
    assert status == 1
    assert "not complete" in out
    for part in CATALOGUE[name].parts:
        assert f"get    {part}" in out
    problems = [line for line in out.splitlines() if str(tmp_path) in line and ": " in line]
    assert len(problems) == len(set(problems)) <= 2  # what holds for all splits is said once


def test_a_folder_above_or_below_a_labelled_one_is_told(tmp_path: Path, capsys: Capture):
    root = folder(tmp_path / "set")
    assert f"it is one level too high: give {root}\n" in check(capsys, tmp_path)[1]
    assert f"it is one level too deep: give {root}\n" in check(capsys, root / "images")[1]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda path: Image.new("RGB", (6, 4), "red").save(path),
            "not readable as class ids: .* colours (RGB)",
        ),
        (lambda path: path.write_bytes(b"\x89PNG"), "not readable as class ids"),
        (lambda path: Image.new("L", (3, 4)).save(path), "another size than the photo: .* 3x4 pixels"),
        (lambda path: index(path, 9), "ids outside the classes: .* holds the ids 9"),
    ],
)
def test_masks_that_do_not_fit_are_counted_by_kind(tmp_path: Path, capsys: Capture, spoil, words: str):
    folder(tmp_path)
    for number in (0, 2):
        spoil(tmp_path / f"masks/{number}.png")
    status, out = check(capsys, tmp_path)
    assert status == 1
    kind, _, detail = words.partition(": .* ")
    line = next(line for line in out.splitlines() if line.startswith(kind))
    assert f"{kind}: 2 masks, first: " in line
    assert f"{tmp_path}/masks/0.png" in line
    assert detail in line
    assert row(out, "cow") == ["cow", "37.50", "%", "1"]


def test_a_sample_is_read_and_every_mask_where_asked(tmp_path: Path, capsys: Capture):
    folder(tmp_path, 230)
    unread = sorted(set(range(230)) - sampled(tmp_path))[0]
    index(tmp_path / f"masks/{unread}.png", 9)
    status, out = check(capsys, tmp_path)
    assert (status, "200 masks read of 230, spread over the split (split all)" in out) == (0, True)
    status, out = check(capsys, tmp_path, "--every")
    assert (status, "230 masks read (split all)" in out) == (1, True)
    assert f"ids outside the classes: 1 mask, first: {tmp_path}/masks/{unread}.png holds the ids 9" in out


def sampled(path: Path) -> set[int]:
    pairs = labelled.labelled_photos(f"folder:{path}").sample(200).pairs
    return {int(Path(photo.name).stem) for photo, _ in pairs}


def test_masks_that_are_there_are_read_though_others_are_missing(tmp_path: Path, capsys: Capture):
    (folder(tmp_path) / "masks/1.png").unlink()
    status, out = check(capsys, tmp_path)
    assert status == 1
    assert row(out, "all") == ["all", "3", "of", "3", "2", "of", "3", "not", "complete"]
    assert "2 masks read (split all)" in out


# --- wrong usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cityscapes:{}"], "is neither a folder nor one of folder:PATH, voc:PATH"),
        (["voc:{}/missing"], "there is no folder .*missing"),
        (["voc:{}", "--masks", "fine"], "--masks fine is for folder:PATH, and voc has one kind"),
        (["voc:{}", "--split", "test"], "voc has no split test; choose --split val or train or trainaug"),
        (["coco:{}", "--split", "val"], "coco has no split val; leave --split out"),
    ],
)
def test_wrong_usage_is_an_error(tmp_path: Path, words: list[str], message: str):
    with pytest.raises(LeopartError, match=message):
        main(["check", *(word.format(tmp_path) for word in words)])


@pytest.mark.parametrize("words", [["check"], ["fetch"], ["check", "--every"]])
def test_words_that_mean_nothing_exit_with_2(words: list[str], capsys: Capture):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(words)


def test_without_words_there_is_help(capsys: Capture):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([])
    assert "check" in capsys.readouterr().out


@pytest.mark.skipif(not DATA.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder")
@pytest.mark.parametrize(("name", "masks"), [("coco100", "stuff15"), ("car_parts", "masks")])
def test_the_development_sets_are_complete(name: str, masks: str, capsys: Capture):
    status, out = check(capsys, DATA / name, "--masks", masks)
    assert status == 0
    assert "complete" in out

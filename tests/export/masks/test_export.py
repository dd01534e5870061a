"""What holds for every format: the same bytes again, whole folders, and a sentence for what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from leopart.cli.main import main
from leopart.errors import LeopartError
from leopart.export.masks.formats import FORMATS
from leopart.export.masks.voc_masks import voc_colours
from small_runs import MadeRun, small_run

each_format = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    return small_run(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        path.relative_to(folder).as_posix(): bytes(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in files
    }


@each_format
def test_the_same_export_gives_the_same_bytes(run: MadeRun, tmp_path: Path, form: str) -> None:
    run.export(form, tmp_path / "a", areas=True)
    run.export(form, tmp_path / "b", areas=True)
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    run.export(form, tmp_path / "a", areas=True)
    assert content(tmp_path / "a") == first


@each_format
def test_the_readme_tells_how_to_import_and_the_marker_lists_all_files(
    run: MadeRun, tmp_path: Path, form: str
) -> None:
    run.export(form, tmp_path / "a")
    assert (tmp_path / "a/README.md").read_text("utf-8").startswith(f"# Masks from Leopart as {form}\n")
    marker = json.loads((tmp_path / "a/leopart-export.json").read_text())
    assert marker["format"] == form
    assert {*marker["files"], "leopart-export.json"} == set(content(tmp_path / "a"))


def test_files_of_an_earlier_export_go_and_files_of_others_stay(run: MadeRun, tmp_path: Path) -> None:
    run.export("yolo", tmp_path / "a")
    (tmp_path / "a/runs").mkdir()
    (tmp_path / "a/runs/weights.pt").write_bytes(b"mine")
    run.entries.pop()
    run.write_list()
    exported = run.export("yolo", tmp_path / "a")
    assert not list((tmp_path / "a").rglob("empty.*"))
    assert (tmp_path / "a/runs/weights.pt").read_bytes() == b"mine"
    assert exported.notes == [
        f"2 files of an earlier export to {tmp_path / 'a'} are not part of this one: removed"
    ]


def test_a_folder_with_something_else_is_refused(run: MadeRun, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(LeopartError, match="holds other files: give an empty or new folder"):
        run.export("coco", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    run.export("cvat", tmp_path / "cvat")
    with pytest.raises(LeopartError, match="holds an export as cvat"):
        run.export("coco", tmp_path / "cvat")


def test_an_export_that_wrote_nothing_does_not_reserve_its_folder(run: MadeRun, tmp_path: Path) -> None:
    entries = run.entries
    run.entries = [one | {"path": "/gone"} for one in entries]
    run.write_list()
    with pytest.raises(LeopartError, match="no photo could be exported"):
        run.export("voc", tmp_path / "a")
    run.export("cvat", tmp_path / "a")


def test_an_export_that_fails_leaves_the_earlier_one(run: MadeRun, tmp_path: Path) -> None:
    run.export("cvat", tmp_path / "a")
    before = content(tmp_path / "a")
    for path in (run.out / "labels").rglob("*.png"):
        path.unlink()
    with pytest.raises(LeopartError, match=r"no photo could be exported, of 4:\n.*cat\.png is not there"):
        run.export("cvat", tmp_path / "a")
    assert content(tmp_path / "a") == before


@each_format
def test_a_photo_that_has_moved_or_changed_is_named(run: MadeRun, tmp_path: Path, form: str) -> None:
    (run.photos / "cat.jpg").unlink()
    Image.new("RGB", (47, 33)).save(run.photos / "trip/summer 1/große Kuh.png")
    exported = run.export(form, tmp_path / "a")
    sentences = exported.notes if FORMATS[form].PHOTOS == "named" else exported.failures
    assert exported.photos == (4 if FORMATS[form].PHOTOS == "named" else 2)
    assert sum("cat.jpg has been moved or removed" in text for text in sentences) == 1
    assert sum("große Kuh.png has changed since it was segmented" in text for text in sentences) == 1
    without = run.export(form, tmp_path / "b", photos="none")
    assert without.photos == (2 if form == "geotiff" else 4)


def break_masks(run: MadeRun) -> None:
    (run.out / "labels/cat.png").unlink()
    Image.new("L", (5, 5)).save(run.out / "labels/trip/noise.png")
    Image.new("L", (9, 7), 3).save(run.out / "labels/images/empty.png")


@each_format
def test_a_photo_whose_mask_cannot_be_used_is_named_and_the_others_are_exported(
    run: MadeRun, tmp_path: Path, form: str
) -> None:
    break_masks(run)
    exported = run.export(form, tmp_path / "a")
    assert exported.photos == 1
    for failure, words in zip(
        exported.failures,
        ("cat.png is not there", "noise.png has 5x5 pixels", "empty.png holds the ids 3"),
        strict=True,
    ):
        assert words in failure


def many(tmp_path: Path, number: int) -> MadeRun:
    run = MadeRun(tmp_path)
    ids = (256 + np.arange(number)).reshape(1, -1)
    run.write_names({int(label): f"label {label}" for label in ids[0]})
    run.palette = np.zeros((256, 3), np.uint8)
    run.add("a.png", ids)
    return run


def test_more_labels_than_a_byte_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = many(tmp_path, 300)
    for form in ("voc", "cvat"):
        with pytest.raises(LeopartError, match="300 classes do not fit into the 8-bit masks"):
            run.export(form, tmp_path / form)
    with pytest.raises(LeopartError, match="leave --semantic out"):
        run.export("yolo", tmp_path / "yolo", semantic=True)
    run.export("coco", tmp_path / "coco")
    coco = COCO(tmp_path / "coco/annotations/instances_default.json")
    assert {one["category_id"] for one in coco.anns.values()} == set(range(256, 556))
    run.export("fiftyone", tmp_path / "fiftyone")
    mask = np.asarray(Image.open(tmp_path / "fiftyone/labels/a.png"))
    np.testing.assert_array_equal(mask, run.masks["a.png"])


def test_labels_whose_ids_do_not_fit_a_byte_but_whose_number_does(tmp_path: Path) -> None:
    run = many(tmp_path, 254)
    exported = run.export("voc", tmp_path / "voc")
    mask = np.asarray(Image.open(tmp_path / "voc/VOCdevkit/VOC2012/SegmentationClass/a.png"))
    np.testing.assert_array_equal(mask[0], np.arange(1, 255))
    assert exported.notes == []


def test_a_photo_with_more_components_than_a_byte_holds_has_an_instance_a_class(tmp_path: Path) -> None:
    run = MadeRun(tmp_path)
    ids = np.zeros((40, 60), np.uint8)
    ids[::2, ::2] = 1
    ids[1, 1] = 2
    run.add("dots.png", ids)
    exported = run.export("voc", tmp_path / "voc")
    instances = np.asarray(Image.open(tmp_path / "voc/VOCdevkit/VOC2012/SegmentationObject/dots.png"))
    np.testing.assert_array_equal(instances, ids)
    assert "dots, have more than 254 components" in exported.notes[-1]


def test_colours_of_instances_are_those_of_voc() -> None:
    """The first classes of PASCAL VOC in the colours that everybody knows."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {number: tuple(voc_colours()[number].tolist()) for number in known} == known


def test_pixels_without_a_label_are_background(tmp_path: Path) -> None:
    run = MadeRun(tmp_path)
    run.palette = np.zeros((256, 3), np.uint8)
    run.add("a.png", np.array([[1, 255], [0, 2]]))
    run.export("fiftyone", tmp_path / "a")
    mask = np.asarray(Image.open(tmp_path / "a/labels/a.png"))
    np.testing.assert_array_equal(mask, [[1, 0], [0, 2]])


@pytest.mark.parametrize(("what", "kind"), [("parts", "part"), ("objects", "object")])
def test_parts_and_objects_are_numbered(
    run: MadeRun, tmp_path: Path, what: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.out / "labels", run.out / what)
    (run.out / "summary.json").write_text('{"counts": {"photos": 4, "failed": 0, "parts": 9, "objects": 9}}')
    run.export("coco", tmp_path / "a", what=what)
    coco = COCO(tmp_path / "a/annotations/instances_default.json")
    assert [one["name"] for one in coco.cats.values()] == [f"{kind} {number}" for number in range(1, 10)]
    assert {one["supercategory"] for one in coco.cats.values()} == {kind}


def test_small_components_are_left_out_everywhere(run: MadeRun, tmp_path: Path) -> None:
    run.export("coco", tmp_path / "coco", min_area=3, areas=True)
    written = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    assert min(one["area"] for one in written["annotations"]) == 3
    text = (tmp_path / "coco/areas.csv").read_text("utf-8")
    assert "cat.jpg,label,5" not in text
    assert "cat.jpg,label,1,shirt,860," in text.replace(str((run.masks["cat.jpg"] == 1).sum() - 2), "860")


def test_a_photo_name_that_no_list_can_hold_is_left_out_of_lists(run: MadeRun, tmp_path: Path) -> None:
    run.add("#1.png", np.ones((4, 4), np.uint8))
    for form in ("voc", "cvat"):
        exported = run.export(form, tmp_path / form)
        assert exported.photos == 4
        assert "rename the photo" in exported.failures[0]
    assert run.export("coco", tmp_path / "coco").failures == []


@each_format
def test_a_name_that_leads_elsewhere_is_refused(run: MadeRun, tmp_path: Path, form: str) -> None:
    for mask in ("../../cat", "/etc/cat", "two\nlines"):
        run.entries[0]["mask"] = mask
        run.write_list()
        (failure,) = run.export(form, tmp_path / "a").failures
        assert "no path below" in failure


def test_names_that_become_equal_stay_apart(run: MadeRun, tmp_path: Path) -> None:
    run.write_names({1: "a:b", 2: "a_b", 5: "#c"})
    run.export("voc", tmp_path / "voc")
    lines = (tmp_path / "voc/VOCdevkit/VOC2012/labelmap.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["background", "a_b", "a_b_2", "_c"]


@each_format
def test_a_name_that_looks_like_a_path_or_is_long_names_no_file(
    run: MadeRun, tmp_path: Path, form: str
) -> None:
    run.write_names({1: "one", 2: "two", 5: "three"})
    run.export(form, tmp_path / "plain")
    run.write_names({1: "../../up/here", 2: "長" * 100, 5: "C:\\x|y?"})
    run.export(form, tmp_path / "odd")

    plain, odd = (
        {path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*")}
        for name in ("plain", "odd")
    )
    assert odd == plain
    assert not list(tmp_path.parent.glob("up"))


def export(*words: object) -> int:
    return main(["export", *map(str, words)])


def test_the_command_exports_labels_by_default(
    run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(run.out, "--format", "cvat", "--out", tmp_path / "cvat") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"labels of 4 photos as cvat: {tmp_path / 'cvat'}"
    assert lines[0].startswith("note: 'sky: clear' is called")


def test_the_command_ends_with_1_if_a_photo_failed(
    run: MadeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.photos / "cat.jpg").unlink()
    assert export(run.out, "--format", "coco", "--out", tmp_path / "a", "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"leopart: {run.photos / 'cat.jpg'} has been moved or removed")


MISTAKES = {
    "a run of an earlier version": (
        ["--format", "coco"],
        "has no list of its photos",
    ),
    "masks that are not there": (["--format", "coco", "--what", "parts"], "has no folder parts/"),
    "an option of another format": (
        ["--format", "coco", "--prefix", "x"],
        "--prefix is for label-studio: leave it out with --format coco",
    ),
    "an option of masks for a network": (
        ["--format", "onnx", "--min-area", "5"],
        "--min-area is for masks: leave it out with --format onnx",
    ),
    "photos that are neither": (
        ["--format", "voc", "--photos", "PHOTOS"],
        "--photos is link or copy or none",
    ),
    "an area below one": (["--format", "voc", "--min-area", "0"], "--min-area must be at least 1, got 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(
    run: MadeRun, tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if mistake == "a run of an earlier version":
        (run.out / "photos.jsonl").unlink()
    words, sentence = MISTAKES[mistake]
    assert export(run.out, *words, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not (tmp_path / "out").exists()

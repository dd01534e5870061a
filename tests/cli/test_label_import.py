"""`leopart label --import`: what people changed in a tool comes back, from files as the tool writes them."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.labels.file import LABELS, read_labels
from leopart.labels.rules import Labels
from leopart.segment.labelling import ids_of

FILES = {
    "cvat": "cvat.zip",
    "label-studio": "tasks.json",
    "coco": "annotations/instances_default.json",
    "voc": ".",
}


def ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def state(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def labels_of(out: Path) -> Labels:
    return read_labels(out / LABELS, ids_of(out).fingerprint)


@pytest.fixture
def out(segmented: Path, tmp_path: Path, run: Callable) -> Path:
    """A copy of a run with names, one of which no line of a map of labels can hold."""
    shutil.copytree(segmented, tmp_path / "out")
    words = ("--name", "toy: ball=parts:1,2", "--name", "ボックス=parts:3", "--ignore", "parts:4", "--quiet")
    assert run("label", tmp_path / "out", *words).status == 0
    return tmp_path / "out"


@pytest.fixture
def exported(out: Path, run: Callable) -> Callable:
    def go(form: str) -> Path:
        folder = out.parent / form
        done = run("export", out, "--format", form, "--out", folder, "--quiet")
        assert done.status == 0, done.err
        return folder / FILES[form]

    return go


def edited_zip(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Every file of an archive after a change."""
    with zipfile.ZipFile(path) as archive:
        content = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("form", FILES)
def test_what_nobody_has_changed_comes_back_as_it_was(
    run: Callable, out: Path, exported: Callable, form: str
):
    path, before = exported(form), state(out)
    ran = run("label", out, "--import", path, "--format", form)

    assert ran.status == 0, ran.err
    assert "6 of 6 photos are in" in ran.err
    assert "every pixel has the name that it has there" in ran.err
    after = state(out)
    assert after.pop("summary.json") != before.pop("summary.json")
    assert after == before


def test_a_new_name_a_merge_and_a_repainted_part_come_back_from_cvat(
    run: Callable, out: Path, exported: Callable
):
    path, before = exported("cvat"), labels_of(out)
    part = {number: ids(out / "parts" / f"{number}.png") for number in range(6)}

    def change(name: str, data: bytes) -> bytes:
        if name == "labelmap.txt":
            return data.replace(b"toy_ ball", b"ball").replace("ボックス".encode(), b"box")
        if not name.startswith("SegmentationClass"):
            return data
        image = Image.open(io.BytesIO(data))
        pixels, number = np.array(image), int(Path(name).stem)
        first = pixels[part[number] == 3]
        pixels[part[number] == 2] = first[0] if len(first) else 4
        new = Image.fromarray(pixels)
        new.putpalette(image.getpalette() or [])
        buffer = io.BytesIO()
        new.convert("RGB").save(buffer, "PNG")  # as other programs write it: colours alone
        return buffer.getvalue()

    edited_zip(path, change)
    box = np.unique(ids(out / "labels" / "0.png")[part[0] == 3])
    ran = run("label", out, "--import", path, "--format", "cvat")
    assert ran.status == 0, ran.err
    after = labels_of(out)
    assert after.named("ball").id == before.named("toy: ball").id
    assert after.named("box").id == before.named("ボックス").id == box[0]
    for number in range(6):
        found = ids(out / "labels" / f"{number}.png")
        assert (found[np.isin(part[number], (2, 3))] == box[0]).all()
        assert (found[part[number] == 1] == after.named("ball").id).all()
        assert (found[part[number] == 4] == 0).all()
    assert run("label", out, "--undo").status == 0
    assert labels_of(out) == before


def test_labels_that_were_merged_there_are_one_with_the_id_of_the_one_that_stays(
    run: Callable, out: Path, exported: Callable
):
    path, before = exported("label-studio"), labels_of(out)
    path.write_text(path.read_text("utf-8").replace(json.dumps("ボックス"), '"toy: ball"'), "utf-8")
    ran = run("label", out, "--import", path, "--format", "label-studio")

    assert ran.status == 0, ran.err
    after = labels_of(out)
    assert after.named("ボックス") is None
    assert after.named("toy: ball").id == before.named("toy: ball").id
    assert after.named("toy: ball").claim.parts == {1, 2, 3}
    assert f"label-studio:{path} (6 photos)" in (out / "summary.json").read_text("utf-8")


def test_what_cannot_be_said_of_parts_is_counted(run: Callable, out: Path, exported: Callable):
    path = exported("coco")
    content = json.loads(path.read_text())
    content["categories"].append({"id": 77, "name": "scratch"})
    corner = {"id": 9999, "image_id": 1, "category_id": 77, "iscrowd": 0, "area": 20, "bbox": [0, 0, 5, 4]}
    corner["segmentation"] = [[0, 0, 5, 0, 5, 4, 0, 4]]
    content["annotations"].append(corner)
    path.write_text(json.dumps(content))
    before = labels_of(out)
    ran = run("label", out, "--import", path, "--format", "coco")

    assert ran.status == 0, ran.err
    assert labels_of(out) == before
    assert "20 pixels (" in ran.err
    assert "0.png has the largest share of them (0.65%)" in ran.err
    assert "pixels of it are scratch there" in ran.err


def test_some_of_the_photos_are_enough(run: Callable, out: Path, exported: Callable):
    path = exported("voc")
    masks = path / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    for number in range(1, 6):
        (masks / f"{number}.png").unlink()
    before = labels_of(out)
    ran = run("label", out, "--import", path / "VOCdevkit" / "VOC2012", "--format", "voc")
    assert ran.status == 0, ran.err
    assert "1 of 6 photos are in" in ran.err
    assert labels_of(out) == before


def test_a_polygon_in_percent_names_the_part_below_it(run: Callable, out: Path, tmp_path: Path):
    """As Label Studio exports what people drew; photos that were uploaded have eight digits in front."""
    parts = ids(out / "parts" / "3.png")
    rows, columns = np.nonzero(parts == 1)
    top, bottom = 100 * rows.min() / 48, 100 * (rows.max() + 1) / 48
    left, right = 100 * columns.min() / 64, 100 * (columns.max() + 1) / 64
    value = {
        "points": [[left, top], [right, top], [right, bottom], [left, bottom]],
        "polygonlabels": ["dome"],
        "closed": True,
    }
    result = {"type": "polygonlabels", "original_width": 64, "original_height": 48, "value": value}
    skipped = {"result": [], "was_cancelled": True}
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    task = {
        "id": 1,
        "data": {"image": "/data/upload/1/0a1b2c3d-3.png"},
        "annotations": [{"result": [choice, result]}, skipped],
    }
    (tmp_path / "export.json").write_text(json.dumps([task]))
    ran = run("label", out, "--import", tmp_path / "export.json", "--format", "label-studio")
    assert ran.status == 0, ran.err
    dome = labels_of(out).named("dome")
    assert dome is not None
    assert (ids(out / "labels" / "3.png")[parts == 1] == dome.id).all()


def broken_png(name: str, data: bytes) -> bytes:
    return data[:60] if name == "SegmentationClass/2.png" else data


def other_size(name: str, data: bytes) -> bytes:
    if name != "SegmentationClass/2.png":
        return data
    buffer = io.BytesIO()
    Image.new("P", (7, 5)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (broken_png, "SegmentationClass/2.png in"),
        (other_size, "2.png has 7x5 pixels there and 64x48 in this run"),
        (lambda name, data: b"box:300,0,0::" if name == "labelmap.txt" else data, "is not NAME:R,G,B::"),
        (
            lambda name, data: b"box:1,2,3::" if name == "labelmap.txt" else data,
            "which labelmap.txt does not",
        ),
        (lambda name, data: b"\xff\xfe" if name == "labelmap.txt" else data, "is not UTF-8"),
        (
            lambda name, data: data + b"a\x07b:9,9,9::\n" if name == "labelmap.txt" else data,
            "control character",
        ),
    ],
)
def test_a_bad_archive_is_one_sentence_and_changes_nothing(
    run: Callable, out: Path, exported: Callable, change: Callable, told: str
):
    path, before = exported("cvat"), state(out)
    edited_zip(path, change)
    ran = run("label", out, "--import", path, "--format", "cvat")
    assert (ran.status, len(ran.lines)) == (2, 1), ran.err
    assert told in ran.err
    assert state(out) == before


def test_a_zip_bomb_is_refused_unpacked(run: Callable, out: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labelmap.txt", b"#" * 2**21)
        archive.writestr("../../outside.txt", b"out")
    ran = run("label", out, "--import", tmp_path / "bomb.zip", "--format", "cvat")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "labelmap.txt is larger than 1 MiB" in ran.err
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize(
    ("form", "content", "told"),
    [
        ("coco", "{}", "cannot be used"),
        ("coco", "[1", "is not JSON"),
        ("cvat", "no zip", "is neither a folder nor a zip archive"),
        ("voc", "no zip", "is neither a folder nor a zip archive"),
        ("label-studio", '[{"data": {"image": "x/0.png"}}]', "has none of the photos of"),
        ("label-studio", "{}", "cannot be used"),
    ],
)
def test_a_bad_file_is_one_sentence(
    run: Callable, out: Path, tmp_path: Path, form: str, content: str, told: str
):
    (tmp_path / "file").write_text(content)
    before = state(out)
    ran = run("label", out, "--import", tmp_path / "file", "--format", form)
    assert (ran.status, len(ran.lines)) == (2, 1), ran.err
    assert told in ran.err
    assert state(out) == before


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [
        ({"size": [48, 64], "counts": "zzz"}, "run lengths"),
        ({"size": [48, 64], "counts": [1, 2]}, "do not add up"),
        ({"size": [48, 64], "counts": [-1, 3073]}, "do not add up"),
        ([[1, 2, 3]], "one coordinate"),
        ([[1, 2, 3, 4]], "fewer than three points"),
        ([[1, 2, 3, 4, 5, float("nan")]], "no number"),
    ],
)
def test_a_region_that_cannot_be_is_refused(
    run: Callable, out: Path, exported: Callable, segmentation: object, told: str
):
    path = exported("coco")
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = segmentation
    path.write_text(json.dumps(content))
    ran = run("label", out, "--import", path, "--format", "coco")
    assert (ran.status, len(ran.lines)) == (2, 1), ran.err
    assert told in ran.err


def test_file_and_format_go_together(run: Callable, out: Path):
    assert "--import and --format go together" in run("label", out, "--import", "x").err
    assert "--import and --format go together" in run("label", out, "--format", "coco").err

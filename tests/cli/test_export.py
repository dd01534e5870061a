"""`leopart export`: the files, what is printed, and one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from leopart.models.backbone import load_backbone


def test_a_backbone_goes_to_every_format(run, tiny_weights: Path, tmp_path: Path) -> None:
    expected = {
        "timm": {"model.safetensors", "config.json"},
        "safetensors": {"tiny_random.safetensors", "tiny_random.json"},
        "onnx": {"model.onnx"},
    }
    for form, files in expected.items():
        ran = run("export", tiny_weights, "--format", form, "--out", tmp_path / form)
        assert (ran.status, ran.out) == (0, "")
        assert {file.name for file in (tmp_path / form).iterdir()} == files | {"README.md"}
        assert "largest difference" in ran.lines[0]
        assert ran.lines[-1] == str((tmp_path / form / "README.md").resolve())
        card = (tmp_path / form / "README.md").read_text("utf-8")
        assert f"leopart export {tiny_weights} --format {form} --out {tmp_path / form}" in card
    load_backbone(tmp_path / "safetensors" / "tiny_random.safetensors")


def test_a_segmenter_goes_to_onnx_from_either_folder(run, segmented: Path, tmp_path: Path) -> None:
    for folder, out in ((segmented, "a"), (segmented / "segmenter", "b")):
        ran = run("export", folder, "--format", "onnx", "--out", tmp_path / out)
        assert ran.status == 0
        assert "of the cells have torch's part id" in ran.lines[0]
    first, second = ((tmp_path / out / "model.onnx").read_bytes() for out in "ab")
    assert first == second
    settings = json.loads((segmented / "segmenter" / "segmenter.json").read_text("utf-8"))
    session = onnxruntime.InferenceSession(first)
    parts, _ = session.run(None, {"images": np.zeros((1, 64, 64, 3), np.uint8)})
    assert parts.max() <= settings["parts"]


def test_a_segmenter_is_compared_on_photos(run, segmented: Path, tmp_path: Path) -> None:
    photos = segmented.parent / "photos"
    ran = run("export", segmented, "--format", "onnx", "--out", tmp_path, "--photos", photos)
    assert ran.lines[0].startswith("6 photos: ")


def test_quiet_prints_nothing(run, tiny_weights: Path, tmp_path: Path) -> None:
    ran = run("export", tiny_weights, "--format", "timm", "--out", tmp_path, "--quiet")
    assert (ran.status, ran.out, ran.err) == (0, "", "")


MISTAKES = {
    "a segmenter as timm": (
        ["{segmented}", "--format", "timm"],
        "a segmenter has no timm form: use --format onnx; to move it, copy its folder",
    ),
    "an unknown backbone": (["imgfocus_vits13", "--format", "onnx"], "did you mean imgfocus_vits14"),
    "a folder without a segmenter": (["{empty}", "--format", "onnx"], "holds no segmenter"),
    "a missing file": (["gone.safetensors", "--format", "onnx"], "there is no file gone.safetensors"),
    "photos for a backbone": (
        ["{weights}", "--format", "onnx", "--photos", "{segmented}"],
        "--photos is for segmenters",
    ),
    "photos that are not there": (
        ["{segmented}", "--format", "onnx", "--photos", "{empty}/none"],
        "none",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(
    run, mistake: str, segmented: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"segmented": segmented, "weights": tiny_weights, "empty": tmp_path / "empty"}
    words, sentence = MISTAKES[mistake]
    ran = run("export", *(word.format(**places) for word in words), "--out", tmp_path / "out")
    assert ran.status == 2
    assert len(ran.lines) == 1
    assert ran.err.startswith("leopart: ")
    assert sentence in ran.err
    assert not (tmp_path / "out").exists()


def test_out_may_not_be_a_file(run, tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("export", tiny_weights, "--format", "timm", "--out", tmp_path / "file")
    assert (ran.status, ran.lines) == (2, [f"leopart: --out {tmp_path / 'file'} is a file: give a folder"])


def test_an_unknown_format_is_wrong_usage(run, tiny_weights: Path, tmp_path: Path) -> None:
    ran = run("export", tiny_weights, "--format", "tensorrt", "--out", tmp_path / "out")
    assert ran.status == 2
    assert "timm" in ran.err
    assert "safetensors" in ran.err


def test_nothing_given(run) -> None:
    ran = run("export")
    assert ran.status == 2
    assert "leopart export MODEL" in ran.err

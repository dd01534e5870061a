"""What a run does with photos that are no photos, that change, or that no disk can name."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart import parallel
from leopart.config import PredictConfig, SegmentConfig
from leopart.data.photos import find_photos
from leopart.errors import LeopartError
from leopart.segment import outputs, photos_to_masks
from leopart.segment.photos_to_masks import predict_photos, segment_photos


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 56, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in range(4):
        draw(tmp_path / "photos" / f"{seed}.png", seed)
    return tmp_path / "photos"


@pytest.fixture
def config(tmp_path: Path, photos: Path, tiny_weights: Path) -> SegmentConfig:
    return SegmentConfig(
        images=(photos,),
        out=tmp_path / "out",
        backbone=str(tiny_weights),
        size=32,
        parts=3,
        objects=2,
        precision="fp32",
        device="cpu",
    )


def names(folder: Path) -> list[str]:
    return [photo.name for photo in find_photos([folder])]


def test_runs_inside_the_folder_of_photos_never_become_photos(config: SegmentConfig, photos: Path):
    segment_photos(replace(config, out=photos / "run1"))
    second = segment_photos(replace(config, out=photos / "run2"))
    third = predict_photos(
        PredictConfig(segmenter=photos / "run1", images=(photos,), out=photos / "run3", device="cpu")
    )
    again = segment_photos(replace(config, out=photos / "run2", overwrite=True))

    assert [run.counts["photos"] for run in (second, third, again)] == [4, 4, 4]
    assert names(photos) == ["0.png", "1.png", "2.png", "3.png"]
    for run, others in ((second, ["run1"]), (again, ["run1", "run3"])):
        (note,) = [warning for warning in run.warnings if "Leopart wrote" in warning]
        assert note.startswith("left out ")
        assert all(f"{photos / other}" in note for other in others)
        assert "run2" not in note  # what a run writes itself needs no word


def test_a_folder_that_is_named_itself_is_used(config: SegmentConfig, photos: Path):
    segment_photos(replace(config, out=photos / "run1"))
    assert len(names(photos / "run1" / "parts")) == 4


def test_masks_of_a_labelled_set_are_no_photos(config: SegmentConfig, tmp_path: Path):
    for number in range(3):
        draw(tmp_path / "set" / "images" / f"{number}.png", number)
        for masks in ("masks", "masks_coarse"):
            draw(tmp_path / "set" / masks / f"{number}.png", 9)
    (tmp_path / "set" / "classes.txt").write_text("0\tcow\n")
    (tmp_path / "set" / "classes_coarse.txt").write_text("0\tcow\n")
    summary = segment_photos(replace(config, images=(tmp_path / "set",)))

    assert summary.counts["photos"] == 3
    assert any("left out folders of masks" in warning for warning in summary.warnings)


def test_a_folder_of_somebody_else_s_objects_stays(tmp_path: Path):
    draw(tmp_path / "objects" / "a.png", 0)
    (tmp_path / "config.yaml").write_text("model: other\nout_channels: 3\n")
    assert names(tmp_path) == ["objects/a.png"]


def test_folders_named_as_masks_are_counted_as_no_masks(config: SegmentConfig, photos: Path):
    draw(photos / "a.png" / "x.png", 7)
    assert not [w for w in segment_photos(config).warnings if "earlier run" in w]


@pytest.mark.parametrize("refine", [False, True])
def test_a_photo_that_is_replaced_after_its_features_fails_by_name(
    config: SegmentConfig, photos: Path, refine: bool, monkeypatch: pytest.MonkeyPatch
):
    learn = photos_to_masks.learn

    def learn_and_replace(*args, **options):
        found = learn(*args, **options)
        draw(photos / "1.png", 99)
        (photos / "2.png").unlink()
        return found

    monkeypatch.setattr(photos_to_masks, "learn", learn_and_replace)
    summary = segment_photos(replace(config, refine=refine))

    assert [failure.name for failure in summary.failures] == ["1.png", "2.png"]
    assert "1.png was changed while the run was at work; run again" in summary.failures[0].reason
    assert "2.png is not there (any more)" in summary.failures[1].reason
    assert sorted(path.name for path in (config.out / "parts").iterdir()) == ["0.png", "3.png"]
    monkeypatch.setattr(photos_to_masks, "learn", learn)
    assert segment_photos(config).counts == {"photos": 3, "failed": 0, "parts": 3, "objects": 2}


def test_predict_gives_a_replaced_photo_no_mask(
    config: SegmentConfig, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    segment_photos(config)
    written = outputs.MaskWriter.write

    def replace_the_last(self, photo, *args):
        if photo.name == "0.png":
            draw(photos / "3.png", 99)
        return written(self, photo, *args)

    monkeypatch.setattr(outputs.MaskWriter, "write", replace_the_last)
    monkeypatch.setattr(parallel, "_MOST_WORKERS", 1)
    summary = predict_photos(
        PredictConfig(segmenter=config.out, images=(photos,), out=tmp_path / "more", device="cpu")
    )
    assert [failure.name for failure in summary.failures] == ["3.png"]


def test_a_name_that_the_disk_refuses_fails_that_photo_alone(
    config: SegmentConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    draw(photos / "a:b.png", 5)
    real = Path.replace

    def ntfs(self: Path, target: Path) -> Path:
        if ":" in Path(target).name:
            raise OSError(22, "Invalid argument", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", ntfs)
    summary = segment_photos(config)

    (failure,) = summary.failures
    assert failure.name == "a:b.png"
    assert "cannot name a mask on this disk: Invalid argument; rename the photo" in failure.reason
    assert len(list((config.out / "parts").iterdir())) == 4


def test_the_longest_names_get_masks(config: SegmentConfig, photos: Path):
    draw(photos / f"{'x' * 250}.png", 5)
    Image.open(photos / "0.png").save(photos / f"{'x' * 250}.jpg")
    strange = os.fsdecode(b"\xe9" * 120 + b".png")
    try:
        draw(photos / strange, 6)
    except OSError:
        strange = ""
    summary = segment_photos(config)

    assert summary.counts["failed"] == 0
    written = {path.name for path in (config.out / "parts").iterdir()}
    assert len(written) == summary.counts["photos"] == (7 if strange else 6)
    assert max(len(name.encode()) for name in written) <= 255


def test_many_failures_are_a_few_lines_and_a_file(config: SegmentConfig, photos: Path):
    for path in photos.iterdir():
        path.write_text("no photo")
    for number in range(30):
        (photos / f"bad{number}.jpg").write_text("no photo")
    with pytest.raises(LeopartError) as caught:
        segment_photos(config)

    lines = str(caught.value).split("\n")
    assert len(lines) == 22
    assert lines[-1] == f"  and 14 more; all are in {config.out / 'failures.txt'}"
    assert len((config.out / "failures.txt").read_text().splitlines()) == 34


def test_12_bits_in_16_are_told_in_the_summary(config: SegmentConfig, photos: Path):
    deep = np.random.default_rng(0).integers(0, 4096, (40, 56)).astype(np.uint16)
    Image.fromarray(deep).save(photos / "deep.png")
    Image.new("RGB", (40, 40), (3, 3, 3)).save(photos / "flat.png")
    segment_photos(config)
    warnings = json.loads((config.out / "summary.json").read_text())["warnings"]

    assert any("(12 bits: deep.png)" in warning for warning in warnings), warnings
    assert any("nearly one colour hold nothing to find (flat.png)" in warning for warning in warnings)

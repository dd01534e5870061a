"""`areas.csv` against masks, counted pixel by pixel."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.config import LabelConfig, SegmentConfig
from leopart.data.photo_list import read_photo_list
from leopart.segment.label_run import label_run
from leopart.segment.photos_to_masks import segment_photos


@pytest.fixture
def out(tmp_path: Path, tiny_weights: Path) -> Path:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((90, 60), Image.Resampling.NEAREST).save(photos / f"{seed}.png")
    out = tmp_path / "out"
    size = {"size": 64, "parts": 5, "objects": 2, "foreground": "none", "device": "cpu"}
    segment_photos(SegmentConfig(images=(photos,), out=out, backbone=str(tiny_weights), **size))
    return out


def counted(out: Path, kinds: dict[str, str]) -> Counter[tuple[str, str, int]]:
    pixels: Counter[tuple[str, str, int]] = Counter()
    for entry in read_photo_list(out):
        for kind, folder in kinds.items():
            for number in np.asarray(Image.open(entry.mask_path(out, folder))).ravel().tolist():
                pixels[entry.name, kind, number] += 1
    return pixels


def read(out: Path) -> list[dict[str, str]]:
    with (out / "areas.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_counts(rows: list[dict[str, str]]) -> dict[tuple[str, str, int], int]:
    return {(row["photo"], row["kind"], int(row["id"])): int(row["pixels"]) for row in rows}


def test_every_part_and_object_of_every_photo_has_a_row(out: Path) -> None:
    rows = read(out)
    assert as_counts(rows) == counted(out, {"part": "parts", "object": "objects"})
    assert len(rows) == len(as_counts(rows))
    assert all(abs(float(row["share"]) - int(row["pixels"]) / 5400) <= 5e-7 for row in rows)


def test_labels_add_rows_in_place_of_earlier_ones(out: Path) -> None:
    kinds = {"part": "parts", "object": "objects", "label": "labels"}
    for name in ("one", "two"):
        label_run(LabelConfig(out=out, name=(f"{name}=parts:1",)))
        rows = read(out)
        assert as_counts(rows) == counted(out, kinds)
    names = {row["name"] for row in rows if row["kind"] == "label"}
    assert "two" in names
    assert "one" not in names

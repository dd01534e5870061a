"""A command that is repeated on finished output does nothing, and all again where anything differs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from leopart.config import SegmentConfig
from leopart.data.photos import Photo
from leopart.run_record import settings_of
from leopart.segment.finished import finished, identity
from leopart.segment.summary import Summary


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"photo")
    return [Photo(tmp_path / name, name) for name in ("a.jpg", "b.jpg")]


@pytest.fixture
def config(tmp_path: Path, photos: list[Photo]) -> SegmentConfig:
    """Of a run that is finished."""
    config = SegmentConfig(images=(tmp_path,), out=tmp_path / "out")
    counts = {"photos": 2, "failed": 0, "parts": 3, "objects": 2}
    summary = Summary(
        "segment", counts, [], ["careful"], {}, settings_of(config), {}, "none", identity(photos, "net")
    )
    summary.write(config.out / "summary.json")
    files = [f"{kind}/{name}.png" for kind in ("parts", "objects") for name in "ab"]
    files += ["overlays/a.jpg", "overlays/b.jpg", "report.html"]
    for name in (*files, "segmenter/segmenter.json", "segmenter/arrays.safetensors"):
        (config.out / name).parent.mkdir(parents=True, exist_ok=True)
        (config.out / name).touch()
    return config


def test_a_finished_run_is_known_and_says_what_it_had_said(config: SegmentConfig, photos: list[Photo]):
    found = finished(config, photos, identity(photos, "net"))
    assert found is not None
    assert (found.counts["objects"], found.warnings, found.labels) == (2, ["careful"], "none")


def edit_summary(config: SegmentConfig, **changes: object) -> None:
    path = config.out / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "change",
    [
        lambda config, photos: os.utime(photos[0].path, (0, 0)),
        lambda config, photos: photos[1].path.write_bytes(b"other photo"),
        lambda config, photos: photos.pop(),
        lambda config, photos: (config.out / "parts" / "b.png").unlink(),
        lambda config, photos: (config.out / "segmenter" / "arrays.safetensors").unlink(),
        lambda config, photos: (config.out / "summary.json").unlink(),
        lambda config, photos: (config.out / "summary.json").write_text("{"),
        lambda config, photos: edit_summary(config, versions={"leopart": "0.0.1"}),
        lambda config, photos: edit_summary(config, inputs=""),
        lambda config, photos: edit_summary(config, counts=3),
    ],
)
def test_whatever_has_changed_is_done_again(
    config: SegmentConfig, photos: list[Photo], change: Callable[[SegmentConfig, list[Photo]], None]
):
    change(config, photos)
    assert finished(config, photos, identity(photos, "net")) is None


def test_other_options_another_network_or_the_wish_for_it_do_it_again(
    config: SegmentConfig, photos: list[Photo]
):
    inputs = identity(photos, "net")
    assert finished(replace(config, size=96), photos, inputs) is None
    assert finished(replace(config, overwrite=True), photos, inputs) is None
    assert finished(config, photos, identity(photos, "other net")) is None
    assert finished(replace(config, quiet=True), photos, inputs) is not None

"""What version 0.1.0 wrote still works. The files hold random weights and painted photos.

`plain` has contexts and keeps the aspect; `adapted` holds its own backbone and refines; `louvain` names a
community engine that was removed since.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from leopart.cli.options import parse
from leopart.config import PredictConfig, SegmentConfig
from leopart.data.masks import read_index_mask
from leopart.errors import LeopartError
from leopart.segment.photos_to_masks import predict_photos, segment_photos
from leopart.segment.segmenter import Segmenter

WRITTEN = Path(__file__).parents[1] / "written_by_0_1" / "segment"
NAMES = ("plain", "adapted", "louvain")
#: Rounding on another processor may move a pixel at the border of two parts.
SAME = 0.995


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, from where their relative paths hold."""
    copy = shutil.copytree(WRITTEN, tmp_path / "written")
    monkeypatch.chdir(copy)
    return copy


def share_of_equal(kind: str, masks: Path, out: Path) -> float:
    equal = [
        read_index_mask(out / kind / mask.name) == read_index_mask(mask)
        for mask in sorted((masks / kind).iterdir())
    ]
    return float(np.mean(np.concatenate([one.ravel() for one in equal])))


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_segmenter_gives_the_same_ids(name: str, written: Path, tmp_path: Path):
    config = PredictConfig(
        segmenter=written / name, images=(written / "photos",), out=tmp_path / "out", device="cpu"
    )
    assert predict_photos(config).counts["failed"] == 0
    for kind in ("parts", "objects"):
        assert share_of_equal(kind, written / name, tmp_path / "out") >= SAME


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_segmenter_is_written_again_as_it_was(name: str, written: Path, tmp_path: Path):
    Segmenter.load(written / name, device="cpu").save(tmp_path / "again")
    for file in (written / name / "segmenter").glob("*.safetensors"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", ["plain", "adapted"])
def test_a_configuration_is_read_with_every_option(name: str, written: Path, tmp_path: Path):
    words = ["--config", f"{name}/config.yaml", "--out", str(tmp_path / "new"), "--no-adapt"]
    config = parse(SegmentConfig, "segment", words)
    assert (config.parts, config.objects, config.size) == (6, 2, 64)
    assert (config.refine, config.keep_aspect) == (name == "adapted", name == "plain")
    assert segment_photos(config).counts["photos"] == 2


def test_the_removed_engine_is_refused_in_one_sentence_and_masks_need_none(written: Path):
    with pytest.raises(
        LeopartError, match=r"communities: 'louvain' does not fit: Input should be 'auto', 'map"
    ):
        parse(SegmentConfig, "segment", ["--config", "louvain/config.yaml"])
    segmenter = Segmenter.load("louvain", device="cpu")
    with pytest.raises(LeopartError, match="louvain was removed: choose map-equation, or infomap"):
        segmenter.fit("photos")
    assert segmenter.set_params(communities="auto").fit("photos").model_.n_objects >= 1

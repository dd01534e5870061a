"""`--stretch` and `--pages all` through the commands: masks as of good photos and of single ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from leopart.segment.segmenter import Segmenter


@pytest.fixture
def dark(photos: Path, tmp_path: Path) -> Path:
    """The same photos with a sixteenth of their contrast."""
    folder = tmp_path / "dark"
    folder.mkdir()
    for photo in photos.iterdir():
        pixels = np.asarray(Image.open(photo))
        Image.fromarray((pixels // 16).astype(np.uint8)).save(folder / photo.name)
    return folder


def test_stretched_photos_are_what_masks_pictures_and_predict_go_by(run, quick, dark, tmp_path, masks_of):
    plain = run("segment", dark, "--out", tmp_path / "plain", *quick)
    assert "give --stretch 1 99" in plain.err
    out = tmp_path / "out"
    ran = run("segment", dark, "--out", out, "--stretch", "0", "100", *quick)
    assert ran.status == 0, ran.err
    assert "--stretch" not in ran.err
    assert yaml.safe_load((out / "config.yaml").read_text())["stretch"] == [0, 100]
    assert np.ptp(np.asarray(Image.open(out / "overlays" / "0.jpg"))) > 200
    again = run("predict", out, dark, "--out", tmp_path / "again", "--device", "cpu")
    assert again.status == 0, again.err
    assert masks_of(tmp_path / "again") == masks_of(out)
    segmenter = Segmenter.load(out, device="cpu")
    assert (segmenter.predict(dark / "0.png").parts == np.asarray(Image.open(out / "parts" / "0.png"))).all()
    same = run("segment", "--config", out / "config.yaml", dark, "--out", out)
    assert same.status == 0, same.err
    assert "finished already" in same.err


def test_pages_of_a_stack_have_the_masks_of_single_photos(run, quick, photos, tmp_path, masks_of):
    pages = [Image.open(photos / f"{number}.png") for number in range(6)]
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    pages[0].save(stacks / "s.tif", save_all=True, append_images=pages[1:])
    out = tmp_path / "out"
    ran = run("segment", stacks, "--out", out, "--pages", "all", *quick)
    assert ran.status == 0, ran.err
    single = run("segment", photos, "--out", tmp_path / "single", *quick)
    assert single.status == 0, single.err
    one_by_one = masks_of(tmp_path / "single")
    found = masks_of(out)
    assert len(found) == 12
    for number in range(6):
        for kind in ("parts", "objects"):
            assert found[f"{kind}/s_page{number + 1}.png"] == one_by_one[f"{kind}/{number}.png"]


@pytest.mark.parametrize("given", [("99", "1"), ("-1", "50"), ("5", "101"), ("nan", "99")])
def test_percentiles_that_make_no_sense_are_refused(run, photos, tmp_path, given):
    ran = run("segment", photos, "--out", tmp_path / "o", "--stretch", *given)
    assert ran.status == 2
    assert "--stretch takes two percentiles in 0..100" in ran.err

"""Pictures and ids that the page gets."""

from __future__ import annotations

import gzip
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.errors import LeopartError
from leopart.viewer import pictures
from leopart.viewer.run import open_run
from run_folders import make_run


def ids_of(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.frombuffer(gzip.decompress(content), "<u2")
    width, height = numbers[:2]
    parts, objects = numbers[2:].reshape(2, height, width)
    return parts, objects


def test_ids_of_a_small_photo_arrive_as_they_are(tmp_path):
    run = open_run(make_run(tmp_path))
    parts, objects = ids_of(pictures.mask(run, 1, "screen"))
    assert (parts == np.asarray(Image.open(run.out / "parts" / "mask0001.png"))).all()
    assert (objects == np.asarray(Image.open(run.out / "objects" / "mask0001.png"))).all()


def test_ids_of_a_large_photo_are_those_of_the_nearest_pixels(tmp_path):
    run = open_run(make_run(tmp_path, 1, (300, 400)))
    parts, objects = ids_of(pictures.mask(run, 0, "thumb"))
    full = [np.asarray(Image.open(run.out / kind / "mask0000.png")) for kind in ("parts", "objects")]
    assert parts.shape == (144, 192)
    for row in range(144):
        for column in range(0, 192, 7):
            at = (int((row + 0.5) * 300 / 144), int((column + 0.5) * 400 / 192))
            assert (parts[row, column], objects[row, column]) == (full[0][at], full[1][at])


def test_thumbnails_are_made_once_and_anew_when_the_photo_changes(tmp_path):
    run = open_run(make_run(tmp_path, 1, (300, 400)))
    first = pictures.picture(run, 0, "thumb")
    assert Image.open(io.BytesIO(first)).size == (192, 144)
    photo = Path(run.entries[0].path)
    Image.new("RGB", (400, 300), "red").save(photo)
    os.utime(photo, (1, 1))
    assert pictures.picture(run, 0, "thumb") == first
    os.utime(photo, (2e9, 2e9))
    assert pictures.picture(run, 0, "thumb") != first


def test_masks_are_read_anew_when_they_change(tmp_path):
    run = open_run(make_run(tmp_path, 1))
    pictures.mask(run, 0, "thumb")
    path = run.out / "parts" / "mask0000.png"
    ids = np.asarray(Image.open(path)).copy()
    Image.fromarray(np.where(ids == 1, 2, ids).astype(np.uint8)).save(path)
    os.utime(path, (2e9, 2e9))
    assert 1 not in ids_of(pictures.mask(run, 0, "thumb"))[0]


def test_a_patch_shows_the_part(tmp_path):
    run = open_run(make_run(tmp_path, 1))
    parts = np.asarray(Image.open(run.out / "parts" / "mask0000.png"))
    Image.fromarray(np.repeat(((parts == 3) * 255).astype(np.uint8)[..., None], 3, 2)).save(
        run.entries[0].path
    )
    shown = np.asarray(Image.open(io.BytesIO(pictures.patch(run, 3, 0))))
    assert max(shown.shape) == 72 * (shown.shape[0] >= 72) + max(shown.shape) * (shown.shape[0] < 72)
    assert shown.mean() > 225


def test_ids_that_the_segmenter_does_not_have_are_refused(tmp_path):
    run = open_run(make_run(tmp_path, 1))
    Image.fromarray(np.full((120, 160), 99, np.uint8)).save(run.out / "parts" / "mask0000.png")
    with pytest.raises(LeopartError, match=re.escape("of another run")):
        pictures.mask(run, 0, "thumb")

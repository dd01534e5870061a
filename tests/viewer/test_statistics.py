"""Counts, orders and suggestions of the page."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from leopart.viewer.run import open_run
from leopart.viewer.statistics import Statistics, statistics_of, suggestions
from run_folders import PARTS, make_run


def test_shares_and_centres_are_those_of_a_loop_over_pixels(tmp_path):
    run = open_run(make_run(tmp_path, 3, (24, 32)))
    found = statistics_of(run)
    for index in range(3):
        ids = np.asarray(Image.open(run.out / "parts" / f"mask000{index}.png"))
        for part in range(PARTS + 1):
            pixels = [(y, x) for y in range(24) for x in range(32) if ids[y, x] == part]
            assert np.isclose(found.shares[index, part], len(pixels) / ids.size, rtol=1e-6)
            if pixels:
                centre = (np.mean(pixels, axis=0) + 0.5) / (24, 32)
                np.testing.assert_allclose(found.centres[index, part], centre, rtol=1e-6)
            else:
                assert np.isnan(found.centres[index, part]).all()


def test_counts_are_kept_until_the_photos_change(tmp_path):
    run = open_run(make_run(tmp_path))
    first = statistics_of(run)
    for path in (run.out / "parts").iterdir():
        path.unlink()
    again = statistics_of(run)
    assert (first.shares == again.shares).all()
    next(run.cache.glob("counts.*")).write_bytes(b"damaged")
    assert not statistics_of(run).shares.any()


def test_photos_are_ordered_by_the_share_of_a_part():
    shares = np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0], [0.7, 0.3]], np.float32)
    assert Statistics(shares, np.zeros((4, 2, 2), np.float32)).by_area(1) == [1, 3, 0, 2]


def test_the_photo_in_which_a_part_lies_elsewhere_is_odd():
    shares = np.full((9, 2), 0.5, np.float32)
    shares[8, 1] = 0
    centres = np.full((9, 2, 2), 0.5, np.float32) + np.arange(9)[:, None, None].astype(np.float32) / 1000
    centres[3, 1] = (0.9, 0.5)
    order = Statistics(shares, centres).by_oddness(1)
    assert order[0] == 3
    assert 8 not in order


def test_unusual_photos_are_those_without_parts_then_those_with_odd_ones():
    shares = np.full((9, 3), 0.25, np.float32)
    shares[8] = (1, 0, 0)
    shares[5, 2] = 0.001  # odd, but hardly seen
    shares[5, 1] = 0.26
    centres = np.full((9, 3, 2), 0.5, np.float32) + np.arange(9)[:, None, None].astype(np.float32) / 1000
    centres[3, 1] = (0.9, 0.5)
    order = Statistics(shares, centres).by_unusualness()
    assert sorted(order) == list(range(9))
    assert order[:2] == [8, 3]


def test_photos_are_ordered_by_the_confidence_in_the_summary(tmp_path):
    out = make_run(tmp_path, 4)
    assert not open_run(out).described()["hasConfidence"]
    assert open_run(out).by_confidence() == [0, 1, 2, 3]
    summary = json.loads((out / "summary.json").read_text())
    names = {f"photo {index:04}.jpg": value for index, value in ((0, 0.5), (1, -1.0), (3, 0.1))}
    (out / "summary.json").write_text(json.dumps(summary | {"results": {"confidence": names}}))
    run = open_run(out)
    assert run.described()["hasConfidence"]
    assert run.by_confidence() == [1, 3, 0, 2]


def test_parts_beside_pieces_of_a_split_are_suggested_still(tmp_path):
    run = open_run(make_run(tmp_path))
    rows = np.eye(PARTS, dtype=np.float32)
    rows[1] = rows[0] + 0.1 * rows[1]
    save_file({"parts.centroids": rows[:-1]}, run.out / "segmenter" / "arrays.safetensors")
    alike = [one["parts"] for one in suggestions(run, statistics_of(run)) if "alike" in one["why"]]
    assert alike == [[1, 2]]


def test_parts_with_like_centroids_and_parts_seen_together_are_suggested(tmp_path):
    run = open_run(make_run(tmp_path))
    rows = np.eye(PARTS, dtype=np.float32)
    rows[5] = rows[0] + 0.1 * rows[5]
    save_file({"parts.centroids": rows}, run.out / "segmenter" / "arrays.safetensors")
    found = suggestions(run, statistics_of(run))
    assert found[0]["parts"] == [1, 6] or {"parts": [1, 6], "why": "they look alike (cosine 1.00)"} in found
    together = [one["parts"] for one in found if "together" in one["why"]]
    assert sorted(together) == [[1, 2], [1, 3], [2, 3], [4, 5]]

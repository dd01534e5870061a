"""Regions from text, compared with the tools' own code."""

from __future__ import annotations

import numpy as np
import pytest

from leopart.data.annotations.shapes import brush, coco_runs, polygon
from leopart.errors import LeopartError
from leopart.export.masks.brush import brush_rle
from leopart.export.masks.regions import class_regions
from rle_pack import rle_pack_decode


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_of_coco_are_those_of_pycocotools(seed: int):
    tools = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 90, 2))
    mask = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 0.98, 1])
    packed = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(coco_runs(packed["counts"].decode(), height, width), mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *([0] if flat[0] else []), *edges, flat.size]).tolist()
    np.testing.assert_array_equal(coco_runs(counts, height, width), mask)


def test_a_polygon_covers_what_pycocotools_covers_but_for_its_rim():
    tools = pytest.importorskip("pycocotools.mask")
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    points = np.stack([40 + 25 * np.cos(angles), 30 + 20.5 * np.sin(3 * angles)], 1)
    (packed,) = tools.frPyObjects([points.ravel().tolist()], 60, 80)
    expected = tools.decode(packed).astype(bool)
    found = polygon(points, 60, 80)
    assert (found & expected).sum() / (found | expected).sum() > 0.9
    square = polygon(np.array([[2, 3], [7, 3], [7, 9], [2, 9]], float), 12, 10)
    assert square.sum() == square[3:9, 2:7].sum()
    assert square[4:8, 3:6].all()


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_brushes_are_read_as_their_description_says(share: float):
    mask = np.random.default_rng(1).random((23, 31)) < share
    regions = class_regions(mask.astype(np.uint8))
    if not regions:
        return
    packed = brush_rle(regions[0], 23, 31)
    found = brush(packed, 23, 31)
    np.testing.assert_array_equal(found, mask)
    np.testing.assert_array_equal(found, rle_pack_decode(packed).reshape(23, 31, 4)[..., 3] > 0)


def test_single_values_of_a_brush_are_read_too():
    """Label Studio writes values one by one where they differ."""
    values = np.random.default_rng(2).integers(0, 2, (3, 5, 4)) * 255
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += f"0{2:02b}{values.size - 1:08b}" + "".join(f"{value:08b}" for value in values.ravel())
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    np.testing.assert_array_equal(rle_pack_decode(packed), values.ravel())
    np.testing.assert_array_equal(brush(packed, 3, 5), values[..., 3] > 0)


@pytest.mark.parametrize("packed", [[], [0] * 4, [255] * 40, [300], [0, 0, 0, 60, 56, 0, 0, 0]])
def test_a_damaged_brush_is_refused(packed: list[int]):
    with pytest.raises(LeopartError, match="brush"):
        brush(packed, 3, 5)

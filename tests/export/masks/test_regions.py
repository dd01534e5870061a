"""Regions and their run-length codes, against naive loops, SciPy and pycocotools."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from scipy import ndimage

from leopart.export.masks.brush import brush_rle
from leopart.export.masks.coco import compressed_rle
from leopart.export.masks.regions import Region, class_regions, components, without_small
from rle_pack import rle_pack_decode

sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
masks = sizes.flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 2)))


def painted(region: Region, shape: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    region.paint(canvas, 1)
    return canvas


@settings(deadline=None)
@given(masks)
def test_components_are_those_of_another_library_in_the_order_of_their_first_pixels(ids: np.ndarray) -> None:
    expected = []
    for number in (1, 2):
        labels, count = ndimage.label(ids == number, np.ones((3, 3)))
        expected += [(number, labels == label) for label in range(1, count + 1)]
    found = components(ids)
    assert [region.id for region in found] == [number for number, _ in expected]
    for region, (_, mask) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(painted(region, ids.shape), mask)
        rows, columns = np.nonzero(mask)
        height, width = 1 + np.ptp(rows), 1 + np.ptp(columns)
        assert region.bbox == [columns.min(), rows.min(), width, height]
        assert region.area == mask.sum()


@settings(deadline=None)
@given(masks)
def test_a_class_is_one_region(ids: np.ndarray) -> None:
    found = class_regions(ids)
    assert [region.id for region in found] == [number for number in (1, 2) if (ids == number).any()]
    for region in found:
        np.testing.assert_array_equal(painted(region, ids.shape), ids == region.id)


def test_small_components_become_background() -> None:
    ids = np.array([[1, 1, 0, 2], [0, 0, 0, 0], [1, 0, 2, 2], [0, 0, 2, 0]], np.uint8)
    expected = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 2, 0]], np.uint8)
    np.testing.assert_array_equal(without_small(ids, 2), expected)
    assert without_small(ids, 1) is ids


@settings(deadline=None)
@given(masks)
def test_the_code_of_a_region_is_what_pycocotools_makes_of_its_pixels(ids: np.ndarray) -> None:
    for region in components(ids):
        expected = coco_mask.encode(np.asfortranarray(painted(region, ids.shape)))
        rle = compressed_rle(region, *ids.shape)
        assert rle == {"size": list(ids.shape), "counts": expected["counts"].decode()}


@settings(deadline=None)
@given(masks)
def test_a_brush_decodes_to_the_pixels_in_all_four_channels(ids: np.ndarray) -> None:
    for region in components(ids):
        decoded = rle_pack_decode(brush_rle(region, *ids.shape)).reshape(*ids.shape, 4)
        expected = 255 * painted(region, ids.shape)
        np.testing.assert_array_equal(decoded, np.repeat(expected[..., None], 4, axis=2))


def test_runs_longer_than_a_brush_can_say_are_split() -> None:
    for size in ((128, 128), (128, 129), (200, 333)):  # 4 * 128 * 128 = 2^16, the longest run
        for region in (Region(1, 0, 0, np.ones(size, bool)), Region(1, 5, 7, np.ones((1, 1), bool))):
            decoded = rle_pack_decode(brush_rle(region, *size)).reshape(*size, 4)
            np.testing.assert_array_equal(decoded[..., 3], 255 * painted(region, size))

"""Polygons: filled by another program, they give the pixels they were made of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leopart.export.masks.polygons import outline
from leopart.export.masks.regions import components

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
masks = sizes.flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 1)))


def filled(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    return cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)


RING = np.pad(np.zeros((1, 1), np.uint8), 1, constant_values=1)


@settings(max_examples=400, deadline=None)
@given(masks)
@example(RING)
@example(np.pad(RING[1:], 3))
@example(np.ones((1, 1), np.uint8))
@example(np.kron(np.indices((5, 5)).sum(0) % 2, np.ones((3, 3))).astype(np.uint8))
def test_a_filled_polygon_covers_its_component_and_nothing_else(mask: np.ndarray) -> None:
    for region in components(mask):
        expected = np.zeros(mask.shape, np.uint8)
        region.paint(expected, 1)
        polygon = outline(region)
        assert len(polygon) >= 3
        np.testing.assert_array_equal(filled(polygon, mask.shape), expected)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7, 0.9, 0.97])
def test_large_masks_full_of_holes_survive(density: float) -> None:
    mask = (np.random.default_rng(0).random((90, 110)) < density).astype(np.uint8)
    for region in components(mask):
        expected = np.zeros(mask.shape, np.uint8)
        region.paint(expected, 1)
        np.testing.assert_array_equal(filled(outline(region), mask.shape), expected)


def test_straight_lines_have_two_ends() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 3:8] = 1
    (region,) = components(mask)
    corners = {tuple(point) for point in outline(region).tolist()}
    assert corners == {(3, 2), (7, 2), (7, 6), (3, 6)}
    assert len(outline(region)) == 4

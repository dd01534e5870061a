from __future__ import annotations

import numpy as np

from leopart.segment.segments import find_segments

SIDE = 40


def planted(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    foreground = np.zeros((SIDE, SIDE), bool)
    for top, bottom, left, right in boxes:
        foreground[top:bottom, left:right] = True
    return foreground


def segments_of(foreground: np.ndarray, margin: np.ndarray | None = None):
    embeddings = np.zeros((*foreground.shape, 2), np.float32)
    embeddings[:, :20, 0], embeddings[:, 20:, 1] = 3, 5
    values = np.full(foreground.shape, 0.5) if margin is None else margin
    return find_segments(foreground, embeddings, values.astype(np.float32))


def test_each_region_is_a_segment_with_its_mean_direction():
    found = segments_of(planted((5, 15, 2, 14), (20, 35, 24, 38)))
    assert np.unique(found.ids).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.directions, [[1, 0], [0, 1]])


def test_a_thin_bridge_joins_nothing_and_a_speck_is_no_segment():
    found = segments_of(planted((5, 15, 2, 14), (5, 15, 24, 38), (9, 11, 14, 24), (30, 33, 5, 8)))
    assert found.ids.max() == 2


def test_confidence_is_the_mean_margin():
    margin = np.zeros((SIDE, SIDE))
    margin[:, :20], margin[:, 20:] = 0.3, -0.1
    found = segments_of(planted((5, 15, 2, 14), (20, 35, 24, 38)), margin)
    np.testing.assert_allclose(found.confidence, [0.3, -0.1], rtol=1e-6)
    sure = found.at_least(0.2)
    assert sure.confidence.tolist() == found.confidence[:1].tolist()
    np.testing.assert_array_equal(sure.ids, np.where(found.ids == 1, 1, 0))


def test_a_segment_owns_the_cells_within_a_token():
    found = segments_of(planted((10, 25, 10, 25)))
    painted = found.painted(np.array([7]))
    assert painted[17, 6] == painted[17, 28] == 7
    assert painted[17, 5] == painted[17, 29] == 0


def test_a_photo_without_foreground_has_no_segment():
    found = segments_of(planted())
    assert found.directions.shape == (0, 2)
    assert not found.painted(np.zeros(0, np.int64)).any()

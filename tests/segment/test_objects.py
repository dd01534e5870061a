from __future__ import annotations

import numpy as np
import pytest
import torch

from leopart.clustering.kmeans import KMeans
from leopart.segment import objects
from leopart.segment.objects import SegmentSurvey, kinds_of_parts, kinds_of_segments
from leopart.segment.segments import Segments

KINDS, PHOTOS = 4, 80


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two segments a photo, of one of four kinds: unit rows, the photo of each, and its kind."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, KINDS, 2 * PHOTOS)
    rows = np.eye(8)[kinds] + rng.normal(0, 0.1, (len(kinds), 8))
    return _unit(rows), np.repeat(np.arange(PHOTOS), 2), kinds


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a[:, None] == a, b[:, None] == b)


def test_planted_kinds_are_found():
    rows, photos, kinds = planted()
    prototypes, found = kinds_of_segments(rows, photos, PHOTOS, KINDS, most=8, seed=0)
    assert same_partition(found.objects, kinds)
    assert found.curve == ()
    np.testing.assert_array_equal(prototypes.assign(torch.from_numpy(rows)).numpy(), found.objects)


def test_kinds_that_belong_together_are_not_mixed_where_the_number_is_free():
    rows, photos, kinds = planted()
    _, found = kinds_of_segments(rows, photos, PHOTOS, None, most=8, seed=0)
    agreement = dict(found.curve)
    assert agreement[KINDS] == pytest.approx(1)
    assert found.objects.max() + 1 >= KINDS
    for number in range(found.objects.max() + 1):
        assert len(set(kinds[found.objects == number])) == 1


def test_a_choice_of_the_segments_gives_the_same_kinds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects, "_MOST_SEGMENTS", 60)
    rows, photos, kinds = planted()
    _, found = kinds_of_segments(rows, photos, PHOTOS, KINDS, most=8, seed=0)
    assert same_partition(found.objects, kinds)


def test_membership_counts_cells_and_photos_of_each_part():
    survey = SegmentSurvey(2)
    ids = np.array([[1, 1, 0], [2, 2, 2]])
    one = Segments(ids.astype(np.int32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    survey.add(one, np.array([[1, 2, 2], [2, 2, 0]]))
    survey.add(one, np.array([[1, 1, 1], [0, 1, 1]]))
    found = survey.membership(np.array([0, 1, 0, 0]))
    assert found.cells.tolist() == [[1 + 2 + 2, 1], [0, 2]]
    assert found.photos.tolist() == [[2, 1], [0, 1]]
    assert (len(survey), survey.n_photos) == (4, 2)


def test_parts_that_look_alike_are_one_object():
    rng = np.random.default_rng(0)
    centres = np.array([(0, 0), (0, 1), (9, 0), (9, 1), (0, 9)], float)
    of_point = rng.integers(0, 5, 2000)
    points = torch.from_numpy(centres[of_point] + rng.normal(0, 0.05, (2000, 2))).float()
    photos = rng.permutation(2000) % 40
    parts = KMeans(torch.from_numpy(centres).float(), spherical=False, objective=0.0)
    given = kinds_of_parts(parts, points, photos, 3, most=4, seed=0)
    assert same_partition(given.objects, np.array([0, 0, 1, 1, 2]))
    free = kinds_of_parts(parts, points, photos, None, most=4, seed=0)
    assert dict(free.curve)[3] > 0.9  # one start of k-means does not always find all five parts
    assert dict(free.curve)[2] == pytest.approx(1)
    assert 2 <= free.objects.max() + 1 <= 3

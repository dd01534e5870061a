from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering.cooccurrence import Cooccurrence
from leopart.segment.survey import FOLDS, PartSurvey, Patch


def photo(seed: int, parts: int = 4, shape: tuple[int, int] = (6, 9)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shown = rng.choice(parts, 2, replace=False)
    ids = rng.choice([-1, *shown], shape)
    return ids, np.where(ids >= 0, rng.standard_normal(shape), -np.inf).astype(np.float32)


def surveyed(count: int, parts: int = 4, patches: int = 8) -> PartSurvey:
    survey = PartSurvey(parts, patches)
    for number in range(count):
        survey.add(number, number % FOLDS, *photo(number, parts))
    return survey


def test_areas_are_counted_over_all_photos():
    survey = surveyed(10)
    ids = np.stack([photo(number)[0] for number in range(10)])

    assert survey.pixels.tolist() == [(ids == part).sum() for part in range(4)]
    assert survey.photos.tolist() == [(ids == part).any((1, 2)).sum() for part in range(4)]
    assert survey.cells == ids.size


def test_areas_are_kept_photo_by_photo():
    survey = surveyed(10)
    expected = [[(photo(number)[0] == part).sum() for part in range(4)] for number in range(10)]
    assert survey.counts.dtype == np.int32
    assert survey.counts.tolist() == expected
    assert PartSurvey(4).counts.shape == (0, 4)


def test_areas_are_kept_of_both_halves():
    survey = surveyed(3)
    for number in range(3):
        ids, _ = photo(number)
        for side, half in enumerate((ids[:, :4], ids[:, 4:])):
            assert survey.halves[number, side].tolist() == [(half == part).sum() for part in range(4)]
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(survey.reordered(order).halves, survey.halves[..., order])


def test_neighbours_are_counted_in_the_photos_fold():
    survey = surveyed(FOLDS + 3)
    for fold in range(FOLDS):
        expected = Cooccurrence(4)
        for number in range(fold, FOLDS + 3, FOLDS):
            expected.add(photo(number)[0])
        np.testing.assert_array_equal(survey.folds[fold].probabilities, expected.probabilities)
        np.testing.assert_array_equal(survey.folds[fold].photos, expected.photos)


@pytest.mark.parametrize("kept", [1, 3, 100])
def test_the_best_cell_of_each_photo_is_kept_for_the_best_photos(kept: int):
    survey = surveyed(12, patches=kept)
    for part in range(4):
        best = []
        for number in range(12):
            ids, scores = photo(number)
            cells = [(scores[y, x], y, x) for y, x in zip(*np.nonzero(ids == part), strict=True)]
            if cells:
                score, y, x = max(cells)
                best.append(Patch(float(score), number, (y + 0.5) / 6, (x + 0.5) / 9))
        assert survey.best_patches(part) == sorted(best, reverse=True)[:kept]


def test_a_patch_lies_at_the_centre_of_its_cell():
    survey = PartSurvey(1)
    scores = np.full((2, 4), -9.0, np.float32)
    scores[1, 2] = -1.0
    survey.add(5, 0, np.zeros((2, 4), int), scores)
    assert survey.best_patches(0) == [Patch(-1.0, 5, 0.75, 0.625)]


def test_a_part_that_is_nowhere_has_no_area_and_no_patches():
    survey = PartSurvey(3)
    survey.add(0, 0, np.array([[-1, 1]]), np.array([[np.inf, 0.5]]))

    assert survey.pixels.tolist() == [0, 1, 0]
    assert survey.best_patches(0) == survey.best_patches(2) == []
    assert len(survey.best_patches(1)) == 1


def test_a_photo_of_background_counts_its_cells_only():
    survey = PartSurvey(3)
    survey.add(0, 0, np.full((3, 3), -1), np.full((3, 3), -np.inf))
    assert survey.cells == 9
    assert survey.pixels.sum() == survey.photos.sum() == 0


def test_renaming_parts_takes_all_their_statistics_along():
    survey = surveyed(12)
    order = np.array([2, 0, 3, 1])
    renamed = survey.reordered(order)

    assert renamed.n_parts == 4
    assert renamed.cells == survey.cells
    for new, old in enumerate(order):
        assert renamed.pixels[new] == survey.pixels[old]
        assert renamed.photos[new] == survey.photos[old]
        assert renamed.counts[:, new].tolist() == survey.counts[:, old].tolist()
        assert renamed.best_patches(new) == survey.best_patches(old)


def test_of_equal_cells_the_first_is_the_best():
    survey = PartSurvey(2)
    scores = np.array([[0.5, 0.75, 0.75, -np.inf, 0.75]], np.float32)
    survey.add(0, 0, np.array([[1, 0, 1, -1, 1]]), scores)
    assert [patch.x for part in (0, 1) for patch in survey.best_patches(part)] == [1.5 / 5, 2.5 / 5]

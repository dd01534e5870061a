from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.decomposition import NMF

from leopart.clustering import contexts
from leopart.clustering.contexts import FOLD_IN, ObjectMixture, em_step, fit_mixture, membership

#: Planted parts: doors of cars, wheels, doors of buses.
CAR, WHEEL, BUS = range(3)
CARS = [[60, 40, 0]] * 6
BUSES = [[0, 30, 70]] * 4
COMMUNITIES = np.array([1, 1, 2])  # the wheel is the car's


def random_counts(photos: int = 9, parts: int = 6, seed: int = 0) -> np.ndarray:
    """Counts with a photo of nothing and a part that is nowhere."""
    counts = np.random.default_rng(seed).integers(0, 30, (photos, parts)).astype(np.int32)
    counts[2], counts[:, 4] = 0, 0
    return counts


def random_rows(rows: int, columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(columns), rows)


def naive_step(counts: np.ndarray, of_photo: np.ndarray, of_object: np.ndarray):
    """Expectation and maximisation, one photo, part and object after the other."""
    photos, objects, likelihood = np.zeros_like(of_photo), np.zeros_like(of_object), 0.0
    for d in range(len(counts)):
        for p in range(counts.shape[1]):
            total = sum(of_photo[d, o] * of_object[o, p] for o in range(len(of_object)))
            if counts[d, p]:
                likelihood += counts[d, p] * math.log(total)
            for o in range(len(of_object)):
                whose = of_photo[d, o] * of_object[o, p] / total
                photos[d, o] += counts[d, p] * whose
                objects[o, p] += counts[d, p] * whose
    for rows, old in ((photos, of_photo), (objects, of_object)):
        for i, row in enumerate(rows):
            rows[i] = row / row.sum() if row.sum() else old[i]
    return photos, objects, likelihood


def naive_mixture(counts: np.ndarray, of_object: np.ndarray) -> np.ndarray:
    """Steps of EM on one photo, with the objects as they are."""
    mixture = np.full((1, len(of_object)), 1 / len(of_object))
    for _ in range(FOLD_IN):
        mixture, _, _ = naive_step(counts[None], mixture, of_object)
    return mixture[0]


def likelihood(counts: np.ndarray, model: np.ndarray) -> float:
    """Log-likelihood of counts where P(part | photo) are the model's rows, scaled to 1."""
    rows = model / model.sum(1, keepdims=True)
    return float((counts * np.log(np.maximum(rows, 1e-300))).sum())


def test_a_step_is_that_of_three_loops():
    counts, of_photo, of_object = random_counts(), random_rows(9, 3), random_rows(3, 6)
    for found, expected in zip(
        em_step(counts, of_photo, of_object), naive_step(counts, of_photo, of_object), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_photos_are_looked_at_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch):
    counts, communities = random_counts(), np.array([1, 1, 2, 2, 0, 3])
    whole = fit_mixture(counts, communities)
    found = membership(whole, counts)
    monkeypatch.setattr(contexts, "_BLOCK", 4)
    np.testing.assert_allclose(fit_mixture(counts, communities).parts_of_object, whole.parts_of_object)
    again = membership(whole, counts)
    np.testing.assert_array_equal(again.cells, found.cells)
    np.testing.assert_array_equal(again.photos, found.photos)


def test_the_start_is_the_communities_and_a_little_of_everything():
    counts = random_counts()
    communities = np.array([1, 2, 1, 0, 2, 2])
    area = counts.sum(0) / counts.sum()
    expected = np.zeros((2, 6))
    for o in range(2):
        for p in range(6):
            expected[o, p] = 0.05 / 6
            if communities[p] == o + 1:
                expected[o, p] += 2 * area[p]
            elif communities[p] == 0:
                expected[o, p] += area[p]
        expected[o] /= expected[o].sum()
    found = fit_mixture(counts, communities, steps=0).parts_of_object
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_never_falls(seed: int):
    counts = random_counts(20, 8, seed)
    of_photo, of_object = np.full((20, 4), 1 / 4), random_rows(4, 8, seed)
    values = []
    for _ in range(60):
        of_photo, of_object, value = em_step(counts, of_photo, of_object)
        values.append(value)
    assert (np.diff(values) >= -1e-9 * abs(values[0])).all()
    assert values[-1] > values[0] + 1


def test_the_likelihood_is_that_of_scikit_learns_factorisation():
    """Kullback-Leibler NMF has the same fixed points; from the same start both find the same one."""
    rng = np.random.default_rng(3)
    truth = 0.9 * np.kron(np.eye(3), np.full((1, 4), 1 / 4)) + 0.1 / 12
    counts = np.array([rng.multinomial(400, row) for row in rng.dirichlet(np.full(3, 0.3), 40) @ truth])
    communities = np.repeat([1, 2, 3], 4)
    start = fit_mixture(counts, communities, steps=0).parts_of_object
    nmf = NMF(3, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=3000, tol=1e-10)
    of_photo = nmf.fit_transform(
        counts.astype(float), W=np.repeat(counts.sum(1, keepdims=True) / 3, 3, 1), H=start.copy()
    )
    expected = likelihood(counts, of_photo @ nmf.components_)

    mixture = fit_mixture(counts, communities, steps=3000, tolerance=1e-12)
    found = likelihood(counts, mixture.mixture(counts) @ mixture.parts_of_object)
    assert expected > likelihood(counts, np.full((40, 3), 1 / 3) @ start) + 100
    assert found == pytest.approx(expected, abs=1e-5 * counts.sum())


def test_it_ends_once_a_cell_gains_too_little():
    counts, communities = random_counts(), np.array([1, 1, 2, 2, 0, 3])
    assert np.array_equal(
        fit_mixture(counts, communities, tolerance=math.inf).parts_of_object,
        fit_mixture(counts, communities, steps=2).parts_of_object,
    )


def test_the_wheels_of_buses_are_the_buses():
    counts = np.array(CARS + BUSES)
    mixture = fit_mixture(counts, COMMUNITIES)
    objects = mixture.assign(counts)
    assert (objects[:6, [CAR, WHEEL]] == 0).all()
    assert (objects[6:, [WHEEL, BUS]] == 1).all()
    # A new photo needs no other; where both are, the wheels are those of what there is more of.
    assert mixture.assign(np.array([9, 5, 0])).tolist()[:2] == [0, 0]
    assert mixture.assign(np.array([0, 5, 9])).tolist()[1:] == [1, 1]
    assert mixture.assign(np.array([90, 40, 5])).tolist() == [0, 0, 1]
    assert mixture.assign(np.array([5, 40, 90])).tolist() == [0, 1, 1]


def test_membership_counts_cells_and_photos_of_each_object():
    counts = np.array([*CARS, [0, 0, 0], *BUSES])
    found = membership(fit_mixture(counts, COMMUNITIES), counts)
    assert found.cells.tolist() == [[360, 240, 0], [0, 120, 280]]
    assert found.photos.tolist() == [[6, 6, 0], [0, 4, 4]]
    assert found.main_object.tolist() == [0, 0, 1]
    assert found.shared.tolist() == [WHEEL]
    turned = found.reordered(np.array([1, 0]), np.array([2, 0, 1]))
    assert turned.cells.tolist() == [[280, 0, 120], [0, 360, 240]]
    assert turned.photos.tolist() == [[4, 0, 4], [0, 6, 6]]


def test_a_photo_on_its_own_is_folded_in_by_em():
    of_object, counts = random_rows(3, 6), random_counts()[0]
    found = ObjectMixture(of_object).mixture(counts)
    np.testing.assert_allclose(found, naive_mixture(counts, of_object), rtol=1e-12)
    assert found.sum() == pytest.approx(1)


def test_an_object_is_the_likeliest_for_every_part():
    of_object, counts = random_rows(3, 6, seed=5), random_counts()[0]
    mixture = naive_mixture(counts, of_object)
    expected = [max(range(3), key=lambda o: mixture[o] * of_object[o, p]) for p in range(6)]
    found = ObjectMixture(of_object).assign(counts)
    assert len(set(expected)) > 1
    assert (found.dtype, found.tolist()) == (np.int64, expected)


def test_many_photos_at_once_are_each_on_its_own():
    mixture, counts = ObjectMixture(random_rows(4, 6)), random_counts(12)
    np.testing.assert_array_equal(mixture.assign(counts), [mixture.assign(row) for row in counts])
    np.testing.assert_allclose(mixture.mixture(counts), [mixture.mixture(row) for row in counts], rtol=1e-12)


def test_equally_likely_objects_give_the_lowest():
    mixture = ObjectMixture(np.full((3, 4), 1 / 4))
    assert mixture.assign(np.array([3, 0, 1, 2])).tolist() == [0, 0, 0, 0]
    assert mixture.assign(np.zeros(4, int)).tolist() == [0, 0, 0, 0]


def test_a_photo_without_parts_is_all_objects_alike():
    mixture = ObjectMixture(np.array([[0.9, 0.1, 0.0], [0.0, 0.3, 0.7]]))
    assert mixture.mixture(np.zeros(3, int)).tolist() == [0.5, 0.5]
    assert mixture.assign(np.zeros(3, int)).tolist() == [0, 1, 1]


def test_photos_without_parts_change_nothing():
    counts = np.array(CARS + BUSES)
    more = np.concatenate([np.zeros((2, 3), int), counts, np.zeros((1, 3), int)])
    np.testing.assert_allclose(
        fit_mixture(more, COMMUNITIES).parts_of_object, fit_mixture(counts, COMMUNITIES).parts_of_object
    )


def test_a_single_object_has_every_part_as_it_is_large():
    counts = random_counts()
    mixture = fit_mixture(counts, np.array([1, 1, 0, 1, 0, 0]))
    np.testing.assert_allclose(mixture.parts_of_object, [counts.sum(0) / counts.sum()], atol=1e-12)
    assert not mixture.assign(counts).any()


def test_communities_without_a_part_are_objects_all_the_same():
    counts = random_counts()
    mixture = fit_mixture(counts, np.array([1, 1, 3, 3, 0, 5]))
    assert mixture.parts_of_object.shape == (5, 6)
    np.testing.assert_allclose(mixture.parts_of_object.sum(1), 1)
    assert np.isfinite(mixture.mixture(counts)).all()


def test_nothing_in_any_photo_leaves_the_start():
    counts = np.zeros((3, 4), np.int32)
    mixture = fit_mixture(counts, np.array([1, 2, 2, 0]))
    np.testing.assert_allclose(mixture.parts_of_object, np.full((2, 4), 1 / 4))


def test_a_part_that_was_in_no_photo_does_not_disturb_the_others():
    counts = np.insert(np.array(CARS + BUSES), 1, 0, axis=1)
    mixture = fit_mixture(counts, np.array([1, 2, 1, 2]))
    assert not mixture.parts_of_object[:, 1].any()
    alone, beside = np.array([0, 0, 5, 9]), np.array([0, 40, 5, 9])
    np.testing.assert_array_equal(mixture.mixture(beside), mixture.mixture(alone))
    assert mixture.mixture(np.array([0, 7, 0, 0])).tolist() == [0.5, 0.5]


def test_other_numbers_for_parts_and_objects_give_the_same_under_these_numbers():
    counts, communities = random_counts(30, 8, seed=4), np.array([1, 1, 2, 2, 0, 3, 3, 1])
    parts, objects = np.array([3, 7, 0, 1, 6, 2, 5, 4]), np.array([2, 0, 1])
    mixture = fit_mixture(counts, communities)
    names = np.concatenate([[0], 1 + np.argsort(objects)])
    renamed = fit_mixture(counts[:, parts], names[communities][parts])
    expected = mixture.reordered(objects, parts)
    np.testing.assert_allclose(renamed.parts_of_object, expected.parts_of_object, rtol=1e-6, atol=1e-12)
    seen = counts[:, parts] > 0
    np.testing.assert_array_equal(
        renamed.assign(counts[:, parts])[seen], np.argsort(objects)[mixture.assign(counts)][:, parts][seen]
    )


def test_objects_can_be_left_out():
    rows = random_rows(3, 4)
    some = ObjectMixture(rows).reordered(np.array([2, 0]), np.arange(4))
    np.testing.assert_array_equal(some.parts_of_object, rows[[2, 0]])


def test_without_a_community_there_is_no_mixture():
    with pytest.raises(ValueError, match="needs at least one community"):
        fit_mixture(random_counts(), np.zeros(6, int))

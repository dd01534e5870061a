from __future__ import annotations

import math

import numpy as np
import pytest

from leopart.clustering.contexts import fit_mixture
from leopart.clustering.prediction import (
    Prediction,
    best_prediction,
    frequency_scores,
    most_informative,
    prediction_scores,
    predictions,
)

KINDS, PARTS = 4, 3
"""Planted objects, and parts of each."""


def planted_photos(photos: int = 120, seed: int = 0) -> np.ndarray:
    """Halves of photos that show one object each: some cells of its parts in either half, [D, 2, K]."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, KINDS, photos)
    halves = np.zeros((photos, 2, KINDS * PARTS), np.int32)
    for row, kind in zip(halves, kinds, strict=True):
        row[:, kind * PARTS : (kind + 1) * PARTS] = generator.integers(1, 40, (2, PARTS))
    return halves


def planted_edges(between: float = 0.06) -> np.ndarray:
    """Strong edges inside every object, weak ones from each object to the next."""
    rows = []
    for a in range(KINDS * PARTS):
        for b in range(a + 1, KINDS * PARTS):
            if a // PARTS == b // PARTS:
                rows.append((a, b, 0.8))
            elif b // PARTS - a // PARTS == 1:
                rows.append((a, b, between))
    return np.array(rows)


def test_the_score_is_that_of_the_definition():
    halves = planted_photos(14)
    halves[3, 0] = 0  # nothing to foretell from
    halves[5, :, 1] += 7
    objects = np.repeat([1, 2, 3, 0], PARTS)
    groups = np.arange(14) % 3
    found = prediction_scores(halves, objects, groups)

    for photo in range(14):
        others = halves[groups != groups[photo]].sum(1)
        of_object = fit_mixture(others, objects, steps=50).parts_of_object
        mixture = fit_mixture(others, objects, steps=50)
        directions = []
        for seen, hidden in ((0, 1), (1, 0)):
            m = mixture.mixture(halves[photo, seen])
            total = 0.0
            for part in range(KINDS * PARTS):
                known = sum(m[o] * of_object[o, part] for o in range(len(of_object)))
                frequent = (others[:, part].sum() + 1) / (others.sum() + KINDS * PARTS)
                total += halves[photo, hidden, part] * math.log(0.95 * known + 0.05 * frequent)
            directions.append(total / max(halves[photo, hidden].sum(), 1))
        if photo == 3:
            assert np.isnan(found[photo])
        else:
            assert found[photo] == pytest.approx(sum(directions) / 2, rel=1e-9)


def test_the_planted_objects_foretell_better_than_coarser_finer_and_mixed_ones():
    halves, groups = planted_photos(), np.arange(120) % 5
    right = np.repeat(np.arange(1, KINDS + 1), PARTS)
    others = {
        "coarser": np.repeat([1, 1, 2, 2], PARTS),
        "finer": np.arange(1, KINDS * PARTS + 1),
        "mixed": np.tile(np.arange(1, KINDS + 1), PARTS),
    }
    best = np.nanmean(prediction_scores(halves, right, groups))
    for name, objects in others.items():
        assert np.nanmean(prediction_scores(halves, objects, groups)) < best - 0.01, name


@pytest.mark.parametrize("engine", ["map-equation", "infomap"])
def test_the_planted_number_is_found_among_the_candidates(engine: str):
    found = predictions(planted_edges(), planted_photos(), engine=engine, most_objects=12, seed=0)
    best = best_prediction(found)

    assert best.n_objects == KINDS
    assert len({tuple(best.object_of_part[i * PARTS : (i + 1) * PARTS]) for i in range(KINDS)}) == KINDS
    counts = [candidate.n_objects for candidate in found]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)  # equal partitions once
    again = predictions(planted_edges(), planted_photos(), engine=engine, most_objects=12, seed=0)
    assert [one.score for one in again] == [one.score for one in found]


def test_no_candidate_has_more_objects_than_allowed_and_none_is_fine():
    assert predictions(planted_edges(), planted_photos(), engine="map-equation", most_objects=1, seed=0) == []
    one_sided = planted_photos()
    one_sided[:, 0] = 0
    assert predictions(planted_edges(), one_sided, engine="map-equation", most_objects=12, seed=0) == []


def test_the_coarsest_within_one_standard_error_is_taken():
    def candidate(resolution: float, scores: list[float]) -> Prediction:
        values = np.array(scores)
        return Prediction(resolution, np.ones(3, np.int64), float(np.nanmean(values)), values, values + 1)

    worse = candidate(0.3, [-2.0, -2.1, -1.9, -2.0])
    near = candidate(0.5, [-1.2, -0.9, -1.1, math.nan])
    best = candidate(1.0, [-1.0, -1.0, -1.0, -1.0])
    # Differences to the best: 0.2, -0.1, 0.1; mean 0.067, standard error 0.072.
    assert best_prediction([worse, near, best]) is near
    steady = candidate(0.5, [-1.07, -1.06, -1.07, math.nan])  # as far off on average, but always
    assert best_prediction([worse, steady, best]) is best


def test_frequencies_foretell_as_a_loop_says():
    halves, groups = planted_photos()[:15], np.arange(15) % 3
    halves[4, 1] = 0
    found = frequency_scores(halves, groups)
    for photo, (left, right) in enumerate(halves):
        others = [halves[i].sum(0) for i in range(15) if groups[i] != groups[photo]]
        counts = 1 + np.sum(others, axis=0)
        logs = [math.log(count / counts.sum()) for count in counts]
        halves_logs = [
            [log for part, log in enumerate(logs) for _ in range(half[part])] for half in (left, right)
        ]
        if photo == 4:
            assert math.isnan(found[photo])
        else:
            assert found[photo] == pytest.approx(sum(map(np.mean, halves_logs)) / 2, rel=1e-9)


def gain_of(halves: np.ndarray, object_of_part: np.ndarray) -> float:
    groups = np.arange(len(halves)) % 5
    return float(
        np.nanmean(prediction_scores(halves, object_of_part, groups) - frequency_scores(halves, groups))
    )


def test_parts_split_at_random_gain_nothing_and_parts_joined_lose():
    """What makes numbers of parts comparable: scores fall with finer parts, gains only with what is lost."""
    halves, right = planted_photos(), np.repeat(np.arange(1, KINDS + 1), PARTS)
    heads = np.random.default_rng(5).binomial(halves, 0.5)
    split = np.stack([heads, halves - heads], -1).reshape(len(halves), 2, -1)
    joined = halves.reshape(len(halves), 2, KINDS, PARTS).transpose(
        0, 1, 3, 2
    )  # one of each kind: no objects
    joined = joined.reshape(len(halves), 2, PARTS, 2, KINDS // 2).sum(3).reshape(len(halves), 2, -1)
    groups = np.arange(len(halves)) % 5

    gain = gain_of(halves, right)
    assert gain_of(split, np.repeat(right, 2)) == pytest.approx(gain, abs=0.05)
    assert (
        np.nanmean(prediction_scores(split, np.repeat(right, 2), groups))
        < np.nanmean(prediction_scores(halves, right, groups)) - 0.5
    )
    assert gain_of(joined, np.tile(np.arange(1, KINDS // 2 + 1), PARTS)) < gain - 0.3


def test_the_fewest_parts_within_one_standard_error_are_taken():
    def candidate(gains: list[float]) -> Prediction:
        values = np.array(gains)
        return Prediction(1.0, np.ones(3, np.int64), -3.0, values - 9, values)

    few, near, best = (
        candidate([0.5, 0.4, 0.6, 0.5]),
        candidate([1.2, 1.4, 1.3, math.nan]),
        candidate([1.4, 1.3, 1.4, 1.5]),
    )
    # Differences of near to the best: 0.2, -0.1, 0.1; mean 0.067, standard error 0.072.
    assert most_informative({100: best, 25: few, 50: near}) == 50
    assert most_informative({25: few, 100: best}) == 100
    assert most_informative({25: best, 100: best}) == 25
    with pytest.raises(ValueError, match="empty"):
        most_informative({})

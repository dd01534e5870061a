from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leopart.clustering.reduce import Reduction
from leopart.errors import LeopartError
from leopart.evaluation.label_free import label_search as module
from leopart.evaluation.label_free.foreground import Foreground
from leopart.evaluation.label_free.label_search import (
    Trial,
    best,
    optimise,
    search_communities,
    search_threshold,
)
from leopart.evaluation.label_free.objects import ForegroundPhotos, Truth
from leopart.evaluation.label_free.published import PRESETS


def photos_of(k: int, foreground: set[int], noise: float, photos: int = 5, seed: int = 0):
    """Clusters of tokens [7, 7], and labels [30, 30] that call some of them foreground, with noise."""
    rng = np.random.default_rng(seed)
    for _ in range(photos):
        ids = rng.integers(0, k, (7, 7))
        large = enlarged(enlarged(ids, 20), 30)
        truth = np.isin(large, list(foreground)) ^ (rng.random(large.shape) < noise)
        yield ids, np.where(truth, rng.choice([1, 2, 255], truth.shape), 0).astype(np.uint8)


def enlarged(ids: np.ndarray, side: int) -> np.ndarray:
    return F.interpolate(torch.from_numpy(ids)[None, None].double(), (side, side))[0, 0].long().numpy()


def naive_curve(photos, precision: np.ndarray) -> list[float]:
    order = np.argsort(precision)
    curve = []
    for cut in range(len(order)):
        scores = []
        for ids, labels in photos:
            found = np.isin(enlarged(enlarged(ids, 20), 30), order[cut:])
            scores.append((found & (labels != 0)).sum() / (found | (labels != 0)).sum())
        curve.append(float(np.mean(scores)))
    return curve


def test_the_planted_threshold_is_found():
    """Of 20 clusters the 7 of largest precision are foreground; the least precise of them has 0.62."""
    rng = np.random.default_rng(1)
    precision = np.concatenate([np.linspace(0.1, 0.45, 13), np.linspace(0.62, 0.95, 7)])
    order = rng.permutation(20)
    photos = list(photos_of(20, set(np.flatnonzero(order >= 13)), 0.1))
    found = search_threshold(photos, precision[order], side=20)
    assert found.threshold == 0.6
    assert found.thresholds.tolist() == sorted(precision)
    np.testing.assert_allclose(found.jaccard, naive_curve(photos, precision[order]))
    assert found.jaccard.argmax() == 13


def test_cuts_that_are_not_searched_do_not_win():
    """Foreground of 2 of 20 clusters only: the best of the cuts from 55 % to 75 % is the last one, 75 %."""
    precision = np.arange(20) / 20
    found = search_threshold(list(photos_of(20, {18, 19}, 0.0)), precision, side=20)
    assert found.jaccard.argmax() == 18
    assert found.threshold == 0.75


def test_a_photo_without_foreground_in_either_counts_as_right():
    ids, labels = np.array([[0]]), np.zeros((4, 4), np.uint8)
    found = search_threshold([(ids, labels)], np.array([0.1, 0.9]), side=2)
    assert found.jaccard.tolist() == [0, 1]


def test_a_search_without_photos_is_an_error():
    with pytest.raises(ValueError, match="no photo"):
        search_threshold([], np.array([0.1, 0.9]))


needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is an extra")


@needs_optuna
def test_trials_stay_on_the_published_grid_and_get_better():
    def planted(clusters: int, markov_time: float, edge: float) -> float:
        return 1 - abs(clusters - 149) / 150 - abs(markov_time - 1.2) / 2 - abs(edge - 0.04) / 0.1

    trials = optimise(planted, 80)
    assert len(trials) == 80
    assert {trial.clusters for trial in trials} <= set(range(99, 250, 10))
    assert {trial.markov_time for trial in trials} <= {step / 10 for step in range(1, 21)}
    assert {trial.edge for trial in trials} <= {step / 100 for step in range(1, 11)}
    assert [trial.miou for trial in trials] == [
        planted(trial.clusters, trial.markov_time, trial.edge) for trial in trials
    ]
    assert best(trials).miou > 0.8
    assert np.mean([t.miou for t in trials[40:]]) > np.mean([t.miou for t in trials[:10]])
    assert optimise(planted, 12) == trials[:12]


def test_the_first_of_equal_trials_is_the_best():
    trials = [Trial(99, 1.0, 0.01, 0.3), Trial(109, 1.0, 0.01, 0.5), Trial(119, 1.0, 0.01, 0.5)]
    assert best(trials) == trials[1]


@needs_optuna
def test_each_number_of_clusters_is_clustered_once(monkeypatch: pytest.MonkeyPatch):
    """Two clusters have no edge and all is background; four are two parts of each object."""
    monkeypatch.setattr(module, "_CLUSTERS", (2, 4, 2))
    done, part_tally = [], module.part_tally
    monkeypatch.setattr(
        module,
        "part_tally",
        lambda points, c, recipe: done.append(recipe.clusters) or part_tally(points, c, recipe),
    )
    rng = np.random.default_rng(0)
    which = np.repeat([[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]], 10, axis=0)  # ground, two parts, ground, one part
    centres = np.array([[0, 0], [9, 0], [9, 1], [0, 0.1], [0, 9]], float)
    spread = np.where(which == 4, 0.1, 0.01)[..., None]  # the object of one part falls apart first
    tokens = [centres[which] + spread * rng.normal(size=(10, 10, 2)) for _ in range(4)]
    ids = [np.isin(which, [1, 2, 4]).astype(int)] * 4
    foreground = Foreground(ids, np.array([[False, True]]), np.zeros(4, int), 20)
    photos = ForegroundPhotos(tokens, Reduction(torch.zeros(2), torch.eye(2)), foreground, "nearest")
    labels = [np.kron(np.array([0, 1, 1, 0, 2])[which], np.ones((2, 2), int)).astype(np.uint8)] * 2
    trials = search_communities(
        photos,
        Truth([*labels, None, None], 3, 0),
        replace(PRESETS["seed"], threshold=0.5),
        engine="map-equation",
        trials=12,
    )
    assert sorted(done) == [2, 4]
    ground = pytest.approx(0.4 / 3)
    assert all(trial.miou == (1 if trial.clusters == 4 else ground) for trial in trials)


def test_a_search_without_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(LeopartError, match=r'Optuna is not installed: pip install "leopart\[tune\]"'):
        optimise(lambda *_: 0.0, 1)

"""Tokens planted round centres far apart: k-means with enough restarts finds them, so scores are known."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from leopart.evaluation import overclustering as module
from leopart.evaluation.metrics.matching import hungarian
from leopart.evaluation.overclustering import ClusterScores, Settings, overcluster
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto

PHOTOS, SIDE, DIM = 6, 8, 20
MANY = 100
"""Restarts: random starts seldom fall into as many blobs as there are."""


def planted(n_centres: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens [n, h, w, D] and the centre [n, h, w] that each lies at."""
    rng = np.random.default_rng(seed)
    centres = 50 * rng.normal(size=(n_centres, DIM))
    which = rng.integers(0, n_centres, (PHOTOS, SIDE, SIDE))
    tokens = centres[which] + 0.1 * rng.normal(size=(*which.shape, DIM))
    return torch.from_numpy(tokens).float(), which


def enlarged(ids: np.ndarray, side: int) -> np.ndarray:
    return (
        F.interpolate(torch.from_numpy(ids)[:, None].double(), (side, side), mode="nearest")[:, 0]
        .long()
        .numpy()
    )


def naive_iou(truth: np.ndarray, found: np.ndarray, num_classes: int) -> list[float]:
    """Pixels one by one; 255 counts nowhere."""
    hits, union = np.zeros(num_classes), np.zeros(num_classes)
    for t, f in zip(truth.ravel(), found.ravel(), strict=True):
        if t == 255:
            continue
        for c in range(num_classes):
            hits[c] += t == c and f == c
            union[c] += t == c or f == c
    return [h / u if u else 0.0 for h, u in zip(hits, union, strict=True)]


def sklearn_ids(tokens: torch.Tensor, k: int, dimensions: int) -> np.ndarray:
    flat = StandardScaler().fit_transform(tokens.flatten(0, 2).double().numpy())
    reduced = PCA(dimensions, svd_solver="full").fit_transform(flat)
    return KMeans(k, n_init=5, random_state=0).fit_predict(reduced).reshape(tokens.shape[:3])


def test_clusters_that_are_the_classes_score_1():
    tokens, which = planted(4)
    same, finer = overcluster(
        tokens, list(enlarged(which, 100)), 4, Settings(ks=(4, 9), seeds=(0, 1), restarts=MANY)
    )

    assert (same.k, same.rule, finer.k, finer.rule) == (4, "hungarian", 9, "precision")
    assert same.miou.tolist() == [1, 1] == finer.miou.tolist()
    assert (same.mean, same.std, same.class_iou.tolist()) == (1, 0, [[1] * 4] * 2)
    assert sorted(same.matchings[0].assignment) == [0, 1, 2, 3]


@pytest.mark.parametrize("k", [3, 5])
def test_scores_are_those_of_scikit_learn_and_pixels_counted_one_by_one(k: int):
    """Blobs; labels of three classes that follow them loosely, some missing, at a size of their own."""
    settings = Settings(ks=(k,), eval_size=20, dimensions=5, restarts=MANY)
    tokens, which = planted(k)
    rng = np.random.default_rng(1)
    labels = enlarged(which % 3, 30)
    labels = np.where(rng.random(labels.shape) < 0.3, rng.integers(0, 3, labels.shape), labels)
    labels[rng.random(labels.shape) < 0.2] = 255
    (scores,) = overcluster(tokens, list(labels), 3, settings)

    truth, ids = enlarged(labels, 20), enlarged(sklearn_ids(tokens, k, 5), 20)
    if k == 3:
        candidates = [np.array(order)[ids] for order in itertools.permutations(range(3))]
    else:
        votes = [[int(((ids == c) & (truth == t)).sum()) for t in range(3)] for c in range(k)]
        candidates = [np.argmax(votes, axis=1)[ids]]
    expected = max((naive_iou(truth, found, 3) for found in candidates), key=sum)
    assert scores.class_iou[0] == pytest.approx(expected)
    assert scores.mean == pytest.approx(np.mean(expected))
    assert 0.2 < scores.mean < 0.9


def stored(folder: Path, tokens: torch.Tensor) -> FeatureStore:
    recipe = FeatureRecipe("b", "f", DIM, 1, {}, "fp32")
    store = FeatureStore.open(
        folder, recipe, [StoredPhoto(str(i), 1, 1, SIDE, SIDE) for i in range(len(tokens))]
    )
    for index, photo in enumerate(tokens):
        store.put(index, photo.half().numpy(), np.zeros((1, SIDE, SIDE), np.float32))
    return store


def test_a_tensor_a_list_and_a_store_score_alike(tmp_path: Path):
    tokens, which = planted(7)
    tokens = tokens.half()
    labels = list(enlarged(which % 3, 24))
    settings = Settings(ks=(3, 5), seeds=(0, 1), eval_size=24)

    def scores(given) -> np.ndarray:
        return np.stack([found.class_iou for found in overcluster(given, labels, 3, settings)])

    expected = scores(tokens)
    assert (expected < 1).any()
    assert np.array_equal(scores([photo.numpy() for photo in tokens]), expected)
    assert np.array_equal(scores(list(tokens)), expected)
    assert np.array_equal(scores(stored(tmp_path / "store", tokens)), expected)


def test_photos_may_have_different_grids():
    tokens, which = planted(4)
    cut = [tokens[0], tokens[1, :5], tokens[2, :, :3]]
    labels = [enlarged(ids[None], 30)[0] for ids in (which[0], which[1, :5], which[2, :, :3])]
    (scores,) = overcluster(cut, labels, 4, Settings(ks=(4,), eval_size=30, restarts=MANY))
    assert scores.mean == 1


def test_normalised_tokens_lose_their_length():
    tokens, which = planted(4)
    lengths = torch.from_numpy(np.random.default_rng(3).uniform(0.01, 100, (PHOTOS, SIDE, SIDE, 1)))
    labels = list(enlarged(which, 20))

    def mean(normalise: bool) -> float:
        settings = Settings(ks=(4,), eval_size=20, normalise=normalise, restarts=MANY)
        return overcluster(tokens * lengths, labels, 4, settings)[0].mean

    assert mean(normalise=True) == 1
    assert mean(normalise=False) < 0.9


def test_the_samples_of_many_tokens_are_of_the_size_they_should_be(monkeypatch: pytest.MonkeyPatch):
    tokens, which = planted(4)
    seen = {}

    def fit_reduction(sample, *arguments):
        seen["sample"] = len(sample)
        return real_reduction(sample, *arguments)

    def kmeans(pool, *arguments, **options):
        seen["pool"] = len(pool)
        return real_kmeans(pool, *arguments, **options)

    real_reduction, real_kmeans = module.fit_reduction, module.kmeans
    monkeypatch.setattr(module, "fit_reduction", fit_reduction)
    monkeypatch.setattr(module, "kmeans", kmeans)
    monkeypatch.setattr(module, "_SAMPLE", 120)
    monkeypatch.setattr(module, "_POOL", 300)
    settings = Settings(ks=(4,), eval_size=20, restarts=MANY)
    (scores,) = overcluster(tokens, list(enlarged(which, 20)), 4, settings)

    assert seen == {"sample": 120, "pool": 300}
    assert scores.mean == 1


def test_the_same_seed_gives_the_same_scores_and_another_one_others():
    tokens = torch.randn(PHOTOS, SIDE, SIDE, DIM, generator=torch.Generator().manual_seed(0))
    labels = list(np.random.default_rng(0).integers(0, 3, (PHOTOS, 20, 20)))
    settings = Settings(ks=(12,), seeds=(0, 0, 1), eval_size=20, restarts=1)

    (first,) = overcluster(tokens, labels, 3, settings)
    assert first.miou[0] == first.miou[1] != first.miou[2]
    (second,) = overcluster(tokens, labels, 3, replace(settings, seeds=(1,)))
    assert second.miou[0] == first.miou[2]


def test_mean_and_deviation_are_over_the_seeds():
    diagonal = np.array([[8, 0], [0, 8]])
    half = np.array([[8, 0], [8, 0]])  # IoU 1/2 and 0
    scores = ClusterScores(2, "hungarian", (3, 4), (hungarian(diagonal), hungarian(half)))
    assert scores.class_iou.tolist() == [[1, 1], [0.5, 0]]
    assert (scores.mean, scores.std) == (0.625, 0.375)


def test_fewer_different_tokens_than_clusters_are_no_error():
    tokens = torch.ones(2, 3, 3, 4)
    (scores,) = overcluster(tokens, [np.zeros((9, 9), int)] * 2, 2, Settings(ks=(5,)), background=0)
    assert scores.class_iou.tolist() == [[1, 0]]


def test_what_does_not_fit_is_refused(tmp_path: Path):
    tokens, which = planted(4)
    with pytest.raises(ValueError, match="tokens of 6 photos and 5 label maps"):
        overcluster(tokens, list(which[:5]), 4, Settings(ks=(4,)))
    with pytest.raises(ValueError, match="there are no photos"):
        overcluster([], [], 4, Settings(ks=(4,)))
    store = stored(tmp_path / "store", tokens)
    store.done[3] = 0
    with pytest.raises(ValueError, match="features of some photos are missing"):
        overcluster(store, list(which), 4, Settings(ks=(4,)))

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from leopart.evaluation.label_free import foreground as module
from leopart.evaluation.label_free.foreground import (
    Foreground,
    cluster_tokens,
    list_precisions,
    otsu_mask,
    otsu_threshold,
)


def blobs(grids: list[tuple[int, int]], centres: int, seed: int = 0):
    """Tokens [h, w, 12] of photos, close to one of some centres far apart; and which one, [h, w]."""
    rng = np.random.default_rng(seed)
    means = 30 * rng.normal(size=(centres, 12))
    which = [rng.integers(0, centres, grid) for grid in grids]
    return [(means[w] + 0.1 * rng.normal(size=(*w.shape, 12))).astype(np.float32) for w in which], which


def test_no_cluster_holds_tokens_of_two_blobs():
    tokens, which = blobs([(6, 8), (7, 7), (5, 9)], 4)
    found = cluster_tokens(tokens, n_clusters=16, dimensions=5)
    assert [ids.shape for ids in found.ids] == [(6, 8), (7, 7), (5, 9)]
    ids, blob = (np.concatenate([one.ravel() for one in both]) for both in (found.ids, which))
    assert found.n_clusters == 16 == len(np.unique(ids))
    assert all(len(np.unique(blob[ids == k])) == 1 for k in range(16))


def test_tokens_are_standardised_and_reduced_as_scikit_learn_does():
    tokens, _ = blobs([(6, 8), (5, 9)], 5)
    flat = np.concatenate([one.reshape(-1, 12) for one in tokens])
    reduced = cluster_tokens(tokens, n_clusters=3, dimensions=4).reduction(torch.from_numpy(flat)).numpy()
    expected = PCA(4, svd_solver="full").fit_transform(StandardScaler().fit_transform(flat.astype(float)))
    np.testing.assert_allclose(np.abs(reduced), np.abs(expected), atol=1e-3)


def test_clusters_are_told_apart_by_direction_and_not_by_distance():
    """One channel with mean 0: two directions, and a few tokens far out that squared distances part first."""
    values = np.array([-2.0] * 50 + [1.0] * 44 + [56 / 6] * 6)
    tokens = np.random.default_rng(0).permutation(values).reshape(10, 10, 1)
    ids = cluster_tokens([tokens], n_clusters=2).ids[0]
    np.testing.assert_array_equal(ids == ids[tokens[..., 0] < 0][0], tokens[..., 0] < 0)


def test_tokens_can_be_a_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_SAMPLE", 60)
    tokens, which = blobs([(6, 8), (7, 7)], 3)
    found = cluster_tokens(tokens, n_clusters=12, dimensions=5)
    ids, blob = (np.concatenate([one.ravel() for one in both]) for both in (found.ids, which))
    assert all(len(np.unique(blob[ids == k])) == 1 for k in np.unique(ids))


def test_tokens_of_no_photo_are_an_error():
    with pytest.raises((ValueError, RuntimeError)):
        cluster_tokens([])


def stretched(array: np.ndarray, side: int) -> np.ndarray:
    h, w = array.shape
    return np.array([[array[y * h // side, x * w // side] for x in range(side)] for y in range(side)])


def naive_precisions(ids, masks, list_of, k: int, side: int, lists: list[set[int]]) -> np.ndarray:
    rows = []
    for members in lists:
        shares: list[list[float]] = [[] for _ in range(k)]
        for photo, mask, where in zip(ids, masks, list_of, strict=True):
            if where in members:
                large, inside = stretched(photo, side), stretched(mask, side)
                for c in np.unique(large):
                    shares[c].append(float(inside[large == c].mean()))
        rows.append([float(np.mean(of)) if of else 0.0 for of in shares])
    return np.array(rows)


@pytest.mark.parametrize("pooled", [False, True])
def test_precisions_are_the_naive_ones_of_each_list_or_of_all(pooled: bool):
    """Clusters on grids of one network, masks on those of another."""
    rng = np.random.default_rng(3)
    ids = [rng.integers(0, 6, (int(h), 5)) for h in rng.integers(3, 7, 5)]
    masks = [rng.random((4, int(w))) < 0.4 for w in rng.integers(3, 9, 5)]
    list_of = np.array([0, 0, 0, 1, 1])
    found = list_precisions(ids, masks, list_of, 7, pooled=pooled, side=12)
    lists = [{0, 1}] * 2 if pooled else [{0}, {1}]
    np.testing.assert_allclose(found, naive_precisions(ids, masks, list_of, 7, 12, lists), atol=1e-12)


def test_a_photo_takes_the_foreground_clusters_of_its_own_list():
    ids = [np.array([[0, 1], [1, 2]])] * 2
    chosen = np.array([[True, False, False], [False, True, False]])
    foreground = Foreground(ids, chosen, np.array([0, 1]), side=4)
    ones = np.ones((2, 2), bool)
    np.testing.assert_array_equal(foreground.mask(0), np.kron([[1, 0], [0, 0]], ones))
    np.testing.assert_array_equal(foreground.mask(1), np.kron([[0, 1], [1, 0]], ones))


@pytest.mark.parametrize("seed", range(4))
def test_otsu_is_that_of_scikit_image_on_a_blur_by_scipy(seed: int):
    rng = np.random.default_rng(seed)
    attention = (rng.random((14, 11)) ** 3).astype(np.float32)
    attention[4:9, 3:8] += 0.7
    assert otsu_threshold(attention) == pytest.approx(threshold_otsu(attention.astype(float)))
    blurred = gaussian_filter(attention.astype(float), 0.6, mode="mirror", radius=3)
    np.testing.assert_array_equal(otsu_mask(attention), blurred > threshold_otsu(blurred))


def test_equal_attention_everywhere_has_no_foreground():
    assert not otsu_mask(np.full((5, 4), 0.25)).any()

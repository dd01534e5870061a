from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.clustering.foreground import ClusterCounts, ForegroundCut, agreeing_cut, cluster_precision


def naive_precision(ids: np.ndarray, mask: np.ndarray, n_clusters: int) -> list[float]:
    result = []
    for k in range(n_clusters):
        shares = []
        for photo, inside in zip(ids, mask, strict=True):
            own = [bool(m) for i, m in zip(photo.ravel(), inside.ravel(), strict=True) if i == k]
            if own:
                shares.append(sum(own) / len(own))
        result.append(sum(shares) / len(shares) if shares else 0.0)
    return result


def brute_force_cut(ids: np.ndarray, mask: np.ndarray, precision: np.ndarray) -> tuple[float, float]:
    """Best Jaccard index of `precision >= t` and the masks over every t, all pixels compared; and its t."""
    best = (-1.0, 0.0)
    for threshold in sorted({precision[k] for k in np.unique(ids)}, reverse=True):
        found = precision[ids] >= threshold
        union = (found | mask).sum()
        best = max(best, (float((found & mask).sum() / union), threshold))  # a tie: whichever is larger
    return best


def photos(seed: int, clusters: int = 8, count: int = 5, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Cluster ids of photos that show four clusters each, and masks that clusters agree with to a degree."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.choice(rng.choice(clusters, 4, replace=False), (size, size)) for _ in range(count)])
    return ids, rng.random(ids.shape) < rng.random(clusters)[ids]


def counted(ids: np.ndarray, mask: np.ndarray, clusters: int) -> ClusterCounts:
    counts = ClusterCounts(clusters)
    for photo, inside in zip(ids, mask, strict=True):
        counts.add(photo, inside)
    return counts


@pytest.mark.parametrize("seed", range(3))
def test_precision_is_the_naive_mean_over_photos(seed: int):
    ids, mask = photos(seed)
    np.testing.assert_allclose(cluster_precision(ids, mask, 10), naive_precision(ids, mask, 10), atol=1e-12)


def test_precision_counts_photos_alike_and_not_pixels():
    ids = np.array([[[0, 0, 0, 0]], [[0, 1, 1, 1]]])
    mask = np.array([[[0, 0, 0, 0]], [[1, 1, 0, 0]]])
    np.testing.assert_allclose(
        cluster_precision(ids, mask, 3), [0.5, 1 / 3, 0.0]
    )  # pooled: 0.2 for cluster 0


def test_precision_meets_the_golden_vector(golden, adapter):
    case = golden("cluster_precision")
    got = adapter.cluster_precision(case["ids"].astype(np.int64), case["mask"], int(case["num_clusters"]))
    np.testing.assert_allclose(got, case["precision"], atol=1e-9)


def test_photos_of_different_sizes_are_pooled_into_counts():
    counts = ClusterCounts(3)
    counts.add([[0, 0], [1, 0]], [[True, False], [True, False]])
    counts.add([[0, 0, 2]], np.array([[1.0, 1.0, 0.0]], np.float32))

    assert counts.pixels.tolist() == [5, 1, 1]
    assert counts.hits.tolist() == [3, 1, 0]
    assert counts.photos.tolist() == [2, 1, 1]
    np.testing.assert_allclose(counts.precision, [(1 / 3 + 1) / 2, 1.0, 0.0])


def test_a_mask_for_each_photo_is_asked_for():
    ids, mask = photos(0)
    with pytest.raises(ValueError, match="shorter"):
        cluster_precision(ids, mask[:-1], 8)


@given(st.integers(0, 2**32), st.integers(4, 8))
def test_the_cut_is_the_best_of_all_cuts(seed: int, clusters: int):
    ids, mask = photos(seed, clusters, count=3, size=6)
    counts = counted(ids, mask, clusters)
    cut = agreeing_cut(counts)
    agreement, threshold = brute_force_cut(ids, mask, counts.precision)

    assert cut.agreement.max() == pytest.approx(agreement)
    found = counts.precision[ids] >= cut.threshold
    assert (found & mask).sum() / (found | mask).sum() == pytest.approx(agreement)
    assert cut.threshold == threshold or (cut.agreement == cut.agreement.max()).sum() > 1


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_holds_every_threshold_once_and_what_it_agrees(seed: int):
    ids, mask = photos(seed)
    counts = counted(ids, mask, 8)
    cut = agreeing_cut(counts)

    present = counts.precision[counts.pixels > 0]
    assert cut.thresholds.tolist() == sorted(set(present.tolist()), reverse=True)
    for threshold, agreement in zip(cut.thresholds, cut.agreement, strict=True):
        found = counts.precision[ids] >= threshold
        assert agreement == pytest.approx((found & mask).sum() / (found | mask).sum())


def test_clusters_of_equal_precision_stand_or_fall_together():
    # Two clusters of precision 1 / 2: each alone would agree less than both (3 of 6 + 1 missed).
    ids = np.array([[[0, 0, 1, 1, 2, 2, 2, 2]]])
    mask = np.array([[[1, 0, 1, 0, 0, 0, 0, 0]]], bool)
    cut = agreeing_cut(counted(ids, mask, 3))

    assert cut.thresholds.tolist() == [0.5, 0.0]
    assert cut.agreement.tolist() == [0.5, 0.25]
    assert cut.threshold == 0.5


def test_of_equally_good_cuts_the_one_with_less_foreground_is_taken():
    ids = np.array([[[0, 0, 1, 1, 1, 1]]])
    mask = np.array([[[1, 1, 1, 0, 1, 0]]], bool)  # J = 2/4 with cluster 0 alone, 4/6 with both
    assert agreeing_cut(counted(ids, mask, 2)).threshold == 0.5
    mask = np.array([[[1, 1, 1, 0, 0, 0]]], bool)  # 2/3 with cluster 0 alone, 3/6 with both
    assert agreeing_cut(counted(ids, mask, 2)).threshold == 1.0
    ids, mask = np.array([[[0, 1, 1]]]), np.array([[[1, 1, 0]]], bool)  # 1/2; 2/3
    assert agreeing_cut(counted(ids, mask, 2)).threshold == 0.5
    ids, mask = np.array([[[0, 0, 1, 1, 1]]]), np.array([[[1, 1, 1, 0, 0]]], bool)  # 2/3; 3/5
    assert agreeing_cut(counted(ids, mask, 2)).threshold == 1.0
    ids, mask = np.array([[[0, 1, 1, 1]]]), np.array([[[1, 1, 0, 0]]], bool)  # 1/2; 2/4
    tie = agreeing_cut(counted(ids, mask, 2))
    assert tie.agreement.tolist() == [0.5, 0.5]
    assert tie.threshold == 1.0


def test_all_clusters_alike_are_all_foreground():
    ids = np.array([[[0, 1, 2, 3]] * 2])
    mask = np.array([[[1] * 4, [0] * 4]], bool)
    cut = agreeing_cut(counted(ids, mask, 4))

    assert cut.threshold == 0.5
    assert cut.thresholds.tolist() == [0.5]
    assert cut.agreement.tolist() == [0.5]


def test_empty_masks_give_a_finite_cut():
    ids, _ = photos(0)
    cut = agreeing_cut(counted(ids, np.zeros(ids.shape, bool), 8))

    assert isinstance(cut, ForegroundCut)
    assert cut.threshold == 0.0
    assert cut.agreement.tolist() == [0.0]


def test_clusters_without_pixels_move_nothing():
    ids, mask = photos(1)
    few, many = (agreeing_cut(counted(ids, mask, clusters)) for clusters in (8, 20))

    assert few.threshold == many.threshold
    np.testing.assert_array_equal(few.thresholds, many.thresholds)
    np.testing.assert_array_equal(few.agreement, many.agreement)

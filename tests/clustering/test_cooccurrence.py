from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.clustering.cooccurrence import CLEAN_OFFSETS, REFERENCE_OFFSETS, Cooccurrence, edge_list

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def naive(photos: list[np.ndarray], clusters: int, offsets: list[tuple[int, int]]) -> np.ndarray:
    """The formula as loops over pixels; ids below 0 take no part."""
    rows: list[list[np.ndarray]] = [[] for _ in range(clusters)]
    for ids in photos:
        counts = np.zeros((clusters, clusters))
        height, width = ids.shape
        for y in range(height):
            for x in range(width):
                for dy, dx in offsets:
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        a, b = ids[y, x], ids[y + dy, x + dx]
                        if a >= 0 and b >= 0 and a != b:
                            counts[a, b] += 1
        for a in range(clusters):
            if counts[a].sum():
                rows[a].append(counts[a] / counts[a].sum())
    return np.array([np.mean(row, axis=0) if row else np.zeros(clusters) for row in rows])


def counted(photos: list[np.ndarray], clusters: int, offsets: np.ndarray) -> Cooccurrence:
    counts = Cooccurrence(clusters, offsets)
    for ids in photos:
        counts.add(ids)
    return counts


def random_photos(seed: int, clusters: int = 6) -> list[np.ndarray]:
    """Photos of different sizes that show different clusters, with background -1."""
    rng = np.random.default_rng(seed)
    shapes = [(7, 5), (4, 9), (1, 6), (6, 6)]
    return [rng.choice([-1, *rng.choice(clusters, 3, replace=False)], shape) for shape in shapes]


@pytest.mark.parametrize("seed", range(4))
def test_direct_neighbours_are_counted_as_in_a_naive_loop(seed: int):
    photos = random_photos(seed)
    got = counted(photos, 6, np.array(NEIGHBOURS)).conditional
    np.testing.assert_allclose(got, naive(photos, 6, NEIGHBOURS), atol=1e-12)


@pytest.mark.parametrize("offsets", [CLEAN_OFFSETS, REFERENCE_OFFSETS], ids=["clean", "reference"])
def test_both_sets_of_offsets_are_counted_as_in_a_naive_loop(offsets: np.ndarray):
    photos = random_photos(7)
    expected = naive(photos, 6, [tuple(row) for row in offsets.tolist()])
    np.testing.assert_allclose(counted(photos, 6, offsets).conditional, expected, atol=1e-12)


def test_a_single_directed_offset_keeps_its_direction():
    counts = counted([np.array([[0, 1, 2]])], 3, np.array([[0, 1]]))  # b to the right of a
    assert counts.conditional.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    counts = counted([np.array([[0], [1], [2]])], 3, np.array([[2, 0]]))  # b two below a
    assert counts.conditional.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_clean_offsets_are_the_eight_directions_at_distances_one_and_two():
    expected = {(d * y, d * x) for d in (1, 2) for y, x in NEIGHBOURS}
    assert len(CLEAN_OFFSETS) == 16
    assert {tuple(row) for row in CLEAN_OFFSETS.tolist()} == expected


def test_offsets_of_the_published_code_hold_its_slip():
    second = [(0, 2), (1, 1), (2, 0), (1, -1), (0, -2), (-2, -1), (-2, 0), (-1, 1)]
    assert Counter(tuple(row) for row in REFERENCE_OFFSETS.tolist()) == Counter([*NEIGHBOURS, *second])


@pytest.mark.parametrize("name", ["clean", "reference"])
def test_offsets_and_probabilities_meet_the_golden_vectors(golden, adapter, name: str):
    case = golden("cooccurrence")
    offsets = case[f"offsets_{name}"]
    ours = {"clean": CLEAN_OFFSETS, "reference": REFERENCE_OFFSETS}[name]
    assert Counter(map(tuple, ours.tolist())) == Counter(map(tuple, offsets.tolist()))

    p, edges = adapter.cooccurrence(
        case["ids"].astype(np.int64), int(case["num_clusters"]), ours, float(case["threshold"])
    )
    np.testing.assert_allclose(p, case[f"p_{name}"], atol=1e-9)
    np.testing.assert_array_equal(p.sum(1) > 0, case["row_defined"])
    np.testing.assert_allclose(edges, case[f"edges_{name}"], atol=1e-9)


def test_clean_offsets_are_what_counts_by_default():
    photos = random_photos(1)
    default = Cooccurrence(6)
    for ids in photos:
        default.add(ids)
    assert (default.conditional == counted(photos, 6, CLEAN_OFFSETS).conditional).all()


@given(st.integers(0, 2**32))
def test_rows_sum_to_one_or_to_nothing(seed: int):
    counts = counted(random_photos(seed), 6, CLEAN_OFFSETS)
    sums = counts.conditional.sum(1)
    np.testing.assert_allclose(sums, counts.photos > 0, atol=1e-12)
    assert (np.diag(counts.conditional) == 0).all()


def test_every_photo_counts_the_same_whatever_its_size():
    small, large = np.array([[0, 1]]), np.array([[0, 2] * 50] * 50)
    conditional = counted([small, large], 3, np.array(NEIGHBOURS)).conditional
    assert conditional[0].tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_photos_smaller_than_the_offsets_are_counted(shape: tuple[int, int]):
    ids = np.arange(shape[0] * shape[1]).reshape(shape)
    expected = naive([ids], 4, [tuple(row) for row in CLEAN_OFFSETS.tolist()])
    np.testing.assert_allclose(counted([ids], 4, CLEAN_OFFSETS).conditional, expected)


def test_background_alone_counts_for_nothing():
    counts = counted([np.full((5, 5), -1)], 3, CLEAN_OFFSETS)
    assert counts.conditional.sum() == 0
    assert counts.photos.tolist() == [0, 0, 0]


def test_an_edge_needs_both_directions_and_weighs_the_smaller_one():
    p = np.array([[0, 0.3, 0.7, 0], [0.04, 0, 0.05, 0.91], [0.9, 0.1, 0, 0], [0, 1, 0, 0]])

    edges = edge_list(p, 0.05)

    assert edges.tolist() == [[0, 2, 0.7], [1, 2, 0.05], [1, 3, 0.91]]  # 0-1: only 0.04 from 1 to 0
    assert edge_list(p, 0.051).tolist() == [[0, 2, 0.7], [1, 3, 0.91]]
    assert edge_list(p, 0.95).shape == (0, 3)


def test_a_threshold_of_zero_joins_nothing_that_never_met():
    p = np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])
    assert edge_list(p, 0.0).tolist() == [[0, 1, 1.0]]

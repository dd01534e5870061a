from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from leopart.evaluation import neighbours as module
from leopart.evaluation.neighbours import CosineIndex
from leopart.features.extract import fast_precision
from tolerances import assert_same

DIM = 24


def unit(count: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    """Vectors round one direction; the smaller the spread, the closer all similarities are to 1."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=DIM) + spread * rng.normal(size=(count, DIM))
    return F.normalize(torch.from_numpy(points).float(), dim=1)


def exact(vectors: torch.Tensor, queries: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All similarities in float64, rounded to float32, sorted stably."""
    similarity = (queries.double() @ vectors.double().T).float().numpy()
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, index, 1), index


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (5, 30), (100, 1), (777, 30), (20_000, 30)])
def test_neighbours_are_those_of_scikit_learn(count: int, k: int, native: bool):
    vectors, queries = unit(count, 0), unit(50, 1)
    found = CosineIndex(vectors, native).search(queries, k)

    k = min(k, count)
    distance, index = NearestNeighbors(n_neighbors=k, metric="cosine").fit(vectors).kneighbors(queries)
    assert_same(found.similarity, 1 - distance, DIM, scale=1.0)
    assert found.similarity.dtype == torch.float32
    assert found.index.dtype == torch.int64
    # Two neighbours as good as equal may come in either order.
    assert (found.index.numpy() == index).mean() > 0.99


@pytest.mark.parametrize("spread", [2.0, 0.3, 0.05, 0.001])
def test_a_first_pass_in_bfloat16_changes_nothing(spread: float):
    """With a spread of 0.001, bfloat16 cannot tell the vectors apart at all."""
    vectors, queries = unit(3000, 0, spread), unit(40, 1, spread)
    fine = CosineIndex(vectors, native=False).search(queries, 10)
    coarse = CosineIndex(vectors, native=True).search(queries, 10)
    assert torch.equal(coarse.index, fine.index)
    assert torch.equal(coarse.similarity, fine.similarity)
    assert_same(fine.similarity, exact(vectors, queries, 10)[0], DIM, scale=1.0)


def test_without_the_bound_bfloat16_would_lose_neighbours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_most", lambda queries, weakest, rounded_off: weakest - 9)
    vectors, queries = unit(3000, 0, 0.001), unit(40, 1, 0.001)
    fine = CosineIndex(vectors, native=False).search(queries, 10)
    coarse = CosineIndex(vectors, native=True).search(queries, 10)
    assert not torch.equal(coarse.index, fine.index)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2.0, 0.3, 0.03]))
def test_the_bound_holds_for_every_vector(seed: int, spread: float):
    """What is no candidate is never more similar than it says; checked with the weakest as the only one."""
    vectors, queries = unit(200, seed, spread), unit(8, seed + 1, spread)
    rounded = (queries.bfloat16() @ vectors.bfloat16().T).float()
    most = torch.stack(
        [module._most(queries, column, module._residual(vectors).max()) for column in rounded.unbind(1)], 1
    )
    assert (queries.double() @ vectors.double().T <= most).all()


@pytest.mark.parametrize("native", [False, True])
def test_how_the_work_is_cut_does_not_matter(native: bool, monkeypatch: pytest.MonkeyPatch):
    vectors, queries = unit(2000, 0, 0.2), unit(70, 1, 0.2)
    vectors[1500:1600] = vectors[:100]  # ties far from each other
    whole = CosineIndex(vectors, native).search(queries, 12)
    for rows, columns, exact_rows in ((1, 32, 1), (7, 64, 3), (64, 1024, 16), (1000, 1 << 20, 1000)):
        monkeypatch.setattr(module, "_ROWS", rows)
        monkeypatch.setattr(module, "_COLUMNS", columns)
        monkeypatch.setattr(module, "_EXACT_ROWS", exact_rows)
        found = CosineIndex(vectors, native).search(queries, 12)
        assert torch.equal(found.index, whole.index)
        assert torch.equal(found.similarity, whole.similarity)


@pytest.mark.parametrize("native", [False, True])
def test_equal_vectors_come_in_the_order_of_their_index(native: bool):
    base = unit(300, 0)
    vectors = base.repeat(8, 1)
    found = CosineIndex(vectors, native).search(base[:40], 12)
    similarity, index = exact(vectors, base[:40], 12)
    assert_same(found.similarity, similarity, DIM, scale=1.0)
    assert found.index[:, :8].tolist() == [[query + 300 * copy for copy in range(8)] for query in range(40)]
    np.testing.assert_array_equal(found.index, index)


def test_zeros_and_opposite_vectors_are_not_lost_to_the_padding():
    """All similarities are <= 0: what fills the last block up must not come before them."""
    vectors = torch.cat([-unit(5, 0, 0.1), torch.zeros(2, DIM)])
    for native in (False, True):
        found = CosineIndex(vectors, native).search(unit(3, 0, 0.1), 30)
        assert sorted(found.index[0].tolist()) == list(range(7))
        assert found.similarity[0, :2].tolist() == [0, 0]
        assert (found.similarity[:, 2:] < 0).all()


def test_bfloat16_is_used_where_it_is_native_and_there_is_much_to_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LARGE", 50)
    native = fast_precision(torch.device("cpu")) == "bf16"
    assert (CosineIndex(unit(50, 0))._coarse is not None) == native
    assert CosineIndex(unit(49, 0))._coarse is None


def test_no_queries_give_no_neighbours():
    for native in (False, True):
        found = CosineIndex(unit(40, 0), native).search(unit(0, 1), 3)
        assert found.similarity.shape == found.index.shape == (0, 3)


def test_what_cannot_be_searched():
    with pytest.raises(ValueError, match="N >= 1"):
        CosineIndex(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="at least one"):
        CosineIndex(unit(4, 0)).search(unit(2, 1), 0)

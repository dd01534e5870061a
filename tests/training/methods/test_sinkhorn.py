from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leopart.training.methods.leopart.sinkhorn import sinkhorn


def naive_sinkhorn(
    scores: np.ndarray, eps: float, iterations: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """The docstring's loop, in double precision."""
    weights = np.ones(len(scores)) if weights is None else weights
    q = np.exp(scores.astype(np.float64) / eps) * weights[:, None]
    for _ in range(iterations):
        q /= q.sum(0) * q.shape[1]
        q /= q.sum(1, keepdims=True) / weights[:, None]
    return q / q.sum(1, keepdims=True)


def cosines(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    unit = [torch.nn.functional.normalize(torch.randn(n, 8, generator=generator)) for n in (rows, columns)]
    return unit[0] @ unit[1].T


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 12),
    eps=st.sampled_from([0.03, 0.05, 0.3]),
    iterations=st.integers(0, 5),
    seed=st.integers(0, 1000),
    weighted=st.booleans(),
)
def test_it_is_the_naive_loop(rows, columns, eps, iterations, seed, weighted):
    scores = cosines(rows, columns, seed)
    weights = 0.1 + torch.rand(rows, generator=torch.Generator().manual_seed(seed)) if weighted else None

    result = sinkhorn(scores, eps, iterations, weights)

    expected = naive_sinkhorn(scores.numpy(), eps, iterations, None if weights is None else weights.numpy())
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-6)


def test_many_rounds_give_all_prototypes_the_same_mass():
    result = sinkhorn(cosines(200, 10), iterations=300)

    torch.testing.assert_close(result.sum(1), torch.ones(200))
    torch.testing.assert_close(result.sum(0), torch.full((10,), 20.0), rtol=1e-3, atol=0)


def test_after_three_rounds_prototypes_are_nearer_to_balance_than_a_softmax():
    scores = cosines(200, 10)
    uneven, even = (sinkhorn(scores, iterations=rounds).sum(0) for rounds in (0, 3))
    torch.testing.assert_close(uneven, (scores / 0.05).softmax(1).sum(0))
    assert even.std() < 0.8 * uneven.std()


def test_adding_a_number_to_all_scores_changes_nothing():
    scores = cosines(30, 7)
    for shift in (-50.0, 3.0, 1000.0):
        torch.testing.assert_close(sinkhorn(scores.double() + shift), sinkhorn(scores), atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(sinkhorn(scores + 2), sinkhorn(scores), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_under_autocast(dtype):
    scores = cosines(50, 9).to(dtype)

    with torch.autocast("cpu", torch.bfloat16):
        result = sinkhorn(scores)

    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, naive_sinkhorn(scores.float().numpy(), 0.05, 3), rtol=2e-4, atol=1e-6)


def test_targets_are_balanced_independently():
    scores = torch.stack([cosines(20, 5, seed) for seed in range(3)])
    weights = torch.rand(3, 20) + 0.1
    alone = torch.stack([sinkhorn(s, weights=w) for s, w in zip(scores, weights, strict=True)])
    torch.testing.assert_close(sinkhorn(scores, weights=weights), alone)


def test_a_row_of_weight_zero_does_not_exist_for_the_others():
    scores = cosines(30, 6)
    absent = torch.full((10, 6), 500.0)  # louder than all that exist
    absent[:, 0] = -500.0
    weights = torch.cat([torch.zeros(10), torch.ones(30)])

    result = sinkhorn(torch.cat([absent, scores]), weights=weights)

    torch.testing.assert_close(result[10:], sinkhorn(scores), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(result.sum(1), torch.ones(40))


def test_a_weight_of_two_is_the_row_twice():
    scores = cosines(12, 5)
    weights = torch.tensor([2.0] * 4 + [1.0] * 8)
    twice = sinkhorn(torch.cat([scores[:4], scores]))[4:]
    torch.testing.assert_close(sinkhorn(scores, weights=weights), twice, atol=1e-6, rtol=1e-5)


def test_rows_before_the_batch_shift_the_balance():
    scores, earlier = cosines(40, 6, 0), cosines(60, 6, 1) + torch.tensor([0.5] + [0.0] * 5)
    together = sinkhorn(torch.cat([earlier, scores]))[-40:]
    assert together[:, 0].sum() < 0.5 * sinkhorn(scores)[:, 0].sum()


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_rows_far_from_all_others_stay_finite(eps: float):
    scores = cosines(30, 6)
    scores[:5] -= 1
    scores[5] = -1

    result = sinkhorn(scores, eps)

    assert bool(torch.isfinite(result).all())
    torch.testing.assert_close(result.sum(1), torch.ones(30))


def test_nothing_but_rows_of_weight_zero_still_gives_assignments():
    result = sinkhorn(cosines(8, 4), weights=torch.zeros(8))
    torch.testing.assert_close(result.sum(1), torch.ones(8))


def test_scores_are_left_as_they_were_and_get_no_gradient():
    scores = cosines(8, 4).requires_grad_()
    before = scores.detach().clone()
    assert not sinkhorn(scores).requires_grad
    assert torch.equal(scores.detach(), before)


def test_golden(golden, adapter):
    case = {key: value.astype(np.float32) for key, value in golden("sinkhorn").items() if value.ndim == 2}
    scores, queue = case["scores"], case["queue_scores"]
    for rows, expected in ((scores, case["q"]), (np.concatenate([queue, scores]), case["q_with_queue"])):
        result = adapter.sinkhorn(rows, len(scores), 0.05, 3)
        np.testing.assert_allclose(result, expected, atol=2e-6, rtol=2e-5)

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from leopart.training.methods.diagnostics import (
    agreement,
    assignment_entropy,
    feature_rank,
    prototype_perplexity,
)

SURE = torch.eye(4)
"""Four tokens, each sure of another of four prototypes."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_perplexity_counts_the_prototypes_in_use(dtype):
    two = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=dtype)
    assert prototype_perplexity(SURE.to(dtype)).item() == pytest.approx(4)
    assert prototype_perplexity(two).item() == pytest.approx(2)
    assert prototype_perplexity(two[:1].expand(9, 4)).item() == pytest.approx(1)
    assert prototype_perplexity(torch.full((9, 4), 0.25, dtype=dtype)).item() == pytest.approx(4)
    assert prototype_perplexity(two).dtype == torch.float32


def test_perplexity_of_uneven_use_worked_out_by_hand():
    # Mean 3/4, 1/4: exp(3/4 log 4/3 + 1/4 log 4) = (4/3)^(3/4) * 4^(1/4).
    assignments = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    assert prototype_perplexity(assignments).item() == pytest.approx((4 / 3) ** 0.75 * 4**0.25)


def test_entropy_is_0_for_sure_tokens_and_1_for_undecided_ones():
    assert assignment_entropy(SURE).item() == 0
    assert assignment_entropy(torch.full((3, 4), 0.25)).item() == pytest.approx(1)
    # A token between two of four prototypes has log 2 / log 4 = 1/2; the mean with a sure one is 1/4.
    assignments = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0, 1]])
    assert assignment_entropy(assignments).item() == pytest.approx(0.25)


def test_rank_counts_directions_of_equal_variance():
    axes = torch.cat([torch.eye(5), -torch.eye(5)])
    assert feature_rank(axes).item() == pytest.approx(5, rel=1e-5)
    assert feature_rank(axes + 7).item() == pytest.approx(5, rel=1e-3)  # the mean does not count
    line = torch.linspace(-1, 1, 9)[:, None] * torch.tensor([[1.0, 2, 3]])
    assert feature_rank(line).item() == pytest.approx(1, rel=1e-3)


def test_rank_of_uneven_variances_worked_out_by_hand():
    # Variances 9 and 1 along two axes: shares 0.9 and 0.1.
    tokens = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert feature_rank(tokens).item() == pytest.approx(0.9**-0.9 * 0.1**-0.1, rel=1e-5)


def test_rank_is_that_of_numpys_singular_values():
    tokens = np.random.default_rng(0).normal(size=(200, 12)) * np.arange(1, 13)
    shares = np.linalg.svd(tokens - tokens.mean(0), compute_uv=False) ** 2
    shares /= shares.sum()
    expected = math.exp(-(shares * np.log(shares)).sum())
    assert feature_rank(torch.from_numpy(tokens)).item() == pytest.approx(expected, rel=1e-4)


def test_agreement_is_the_share_of_equal_choices():
    first = torch.tensor([[0.9, 0.1, 0], [0.1, 0.2, 0.1], [0, 0, 1], [5, 0, 0]])
    second = torch.tensor([[0.4, 0.3, 0.3], [1, 0, 0], [0, 0.4, 0.6], [0, 1, 0]])
    assert agreement(first, second).item() == 0.5
    assert agreement(first, first).item() == 1


TILT = torch.linspace(1, 1.5, 6)
"""Makes some tokens choose another prototype."""
MEASURES = {
    "perplexity": prototype_perplexity,
    "entropy": assignment_entropy,
    "rank": feature_rank,
    "agreement": lambda rows, weights=None: agreement(rows, rows * TILT[: rows.shape[1]].to(rows), weights),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_a_mask_as_weights_leaves_rows_out(measure: str):
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(40, 6, generator=generator).softmax(1)
    mask = torch.rand(40, generator=generator) < 0.5
    function = MEASURES[measure]
    expected = function(rows[mask])
    torch.testing.assert_close(function(rows, mask), expected)
    torch.testing.assert_close(function(rows, 3.0 * mask), expected)
    assert not torch.isclose(function(rows), expected)


@pytest.mark.parametrize(
    ("measure", "nothing"), [("perplexity", 1), ("entropy", 0), ("rank", 1), ("agreement", 0)]
)
def test_no_token_at_all_gives_a_number(measure: str, nothing: float):
    function = MEASURES[measure]
    assert function(torch.zeros(0, 3)).item() == nothing
    assert function(torch.full((5, 3), 1 / 3), torch.zeros(5)).item() == nothing


def test_tokens_that_are_all_the_same_have_rank_1():
    assert feature_rank(torch.zeros(8, 4)).item() == 1


@pytest.mark.parametrize("measure", MEASURES)
def test_no_gradient_is_kept(measure: str):
    rows = torch.rand(5, 3).softmax(1).requires_grad_()
    assert not MEASURES[measure](rows).requires_grad


@pytest.mark.gpu
def test_all_but_the_rank_leave_the_host_running():
    rows = torch.rand(50, 6, device="cuda").softmax(1)
    mask = torch.rand(50, device="cuda") < 0.5
    torch.cuda.set_sync_debug_mode("error")
    try:
        answers = [MEASURES[name](rows, mask) for name in MEASURES if name != "rank"]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(answer.is_cuda and answer.ndim == 0 for answer in answers)

from __future__ import annotations

import numpy as np
import pytest

from tolerances import assert_same, rounding


def products(terms: int) -> np.ndarray:
    """What a thousand numbers are sums of, float32 [1000, terms]."""
    return np.random.default_rng(terms).uniform(-1, 1, (1000, terms)).astype(np.float32)


@pytest.mark.parametrize("terms", [1, 30, 1000])
def test_the_order_of_a_sum_is_within_rounding(terms: int):
    values = products(terms)
    one_after_the_other = np.cumsum(values, axis=1, dtype=np.float32)[:, -1]
    exact = values.astype(np.float64).sum(1)
    assert_same(one_after_the_other, exact, terms)
    assert_same(values.sum(1), exact, terms)


@pytest.mark.parametrize("terms", [30, 1000])
def test_a_coarser_format_and_a_term_too_few_are_not(terms: int):
    values = products(terms)
    exact = values.astype(np.float64).sum(1)
    for wrong in (values.astype(np.float16).sum(1, dtype=np.float64), exact - values[:, 0]):
        with pytest.raises(AssertionError, match="not close"):
            assert_same(wrong, exact, terms)


def test_it_grows_with_the_scale_and_the_root_of_the_terms():
    assert rounding(100, 3.0) == pytest.approx(30 * rounding(1))
    assert rounding(1) == 2.0**-21

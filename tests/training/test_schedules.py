from __future__ import annotations

import numpy as np
import pytest

from leopart.training.optimisation import cosine


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1.0),
        (25, 0.5 + 0.5 * np.sqrt(0.5)),
        (50, 0.5),
        (75, 0.5 - 0.5 * np.sqrt(0.5)),
        (100, 0.0),
        (500, 0.0),
    ],
)
def test_half_a_cosine_by_hand(step: int, expected: float):
    assert cosine(1.0, 0.0, step, 100) == pytest.approx(expected, abs=1e-12)
    assert cosine(0.0, 1.0, step, 100) == pytest.approx(1 - expected, abs=1e-12)


def test_it_never_turns_back_and_ends_just_before_the_end():
    values = [cosine(0.9995, 1.0, step, 40) for step in range(40)]
    assert values == sorted(values)
    assert 0.99999 < values[-1] < 1.0
    assert isinstance(cosine(1, 0, 7, 7), float)


def test_one_step_starts_and_equal_ends_stay():
    assert cosine(0.04, 0.5, 0, 1) == 0.04
    assert all(cosine(0.3, 0.3, step, 9) == 0.3 for step in range(12))


@pytest.mark.parametrize(("step", "total"), [(-1, 10), (0, 0)])
def test_impossible_steps_are_refused(step: int, total: int):
    with pytest.raises(ValueError, match="a step from 0 and a total from 1"):
        cosine(1, 0, step, total)


def test_golden(golden, adapter):
    case = golden("schedules")
    total, steps = int(case["total_steps"]), case["steps"]
    for name in ("momentum", "weight_decay"):
        start, end = case[f"{name}_range"]
        np.testing.assert_allclose(
            adapter.schedules(start, end, total, steps), case[name], rtol=1e-9, atol=1e-12
        )
    for index, start in enumerate(case["lr_start"]):
        result = adapter.schedules(start, float(case["lr_end"]), total, steps)
        np.testing.assert_allclose(result, case["lr"][:, index], rtol=1e-9, atol=1e-12)

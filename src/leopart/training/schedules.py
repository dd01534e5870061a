"""Numbers that change from step to step."""

from __future__ import annotations

import math


def cosine(start: float, end: float, step: int, total: int) -> float:
    """Half a cosine from `start` at step 0 towards `end`, which step `total` reaches.

    start + (end - start) * (1 - cos(pi * step / total)) / 2

    A run's steps are 0 to total - 1, so its last step comes near `end` only. Later steps stay at `end`.

    Args:
        start: value at step 0.
        end: value at step `total`.
        step: from 0.
        total: steps of the run, at least 1.

    Raises:
        ValueError: `step` is negative or `total` is below 1.

    Source: Leopart, CVPR 2022; spec/leopart-facts.md 4.
    """
    if step < 0 or total < 1:
        raise ValueError(f"a schedule needs a step from 0 and a total from 1, got {step} of {total}")
    if step >= total:
        return float(end)
    return start + 0.5 * (end - start) * (1 - math.cos(math.pi * step / total))

"""Balanced soft assignment of tokens to prototypes (Sinkhorn-Knopp)."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from leopart.processes import largest, total

#: Sums stay within these, so that no quotient and no product of two leaves float32.
_SMALLEST, _LARGEST = 1e-30, 1e30


@torch.no_grad()
def sinkhorn(
    scores: Tensor,
    eps: float = 0.05,
    iterations: int = 3,
    weights: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Soft assignments under which all prototypes carry about the same mass.

    Naive form, for each problem:
        q = exp(scores / eps) * weights[:, None]
        repeat `iterations` times:
            q /= q.sum(0) * K                      over the rows of all processes
            q /= q.sum(1, keepdim=True) / weights[:, None]
        each row divided by its sum

    Always in float32: float16 overflows, and bfloat16 is off by 4e-3. The result has no gradient.

    Args:
        scores: rows are tokens and columns prototypes, [R, K] or, for T independent problems, [T, R, K]; any
            float type, any range.
        eps: softness, > 0.
        iterations: rounds of balancing.
        weights: how many tokens a row stands for, [R] or [T, R], >= 0. A row of weight 0 influences no other.
            Rows that every process holds get 1 / number of processes. None: all 1.
        group: processes that share the problem, each with rows of its own; None: all of torch.distributed.

    Returns:
        float32, the shape of `scores`; every row sums to 1, those of weight 0 too.

    Source: Leopart, CVPR 2022; the authors' `sinkhorn`.
    """
    with torch.autocast(scores.device.type, enabled=False):
        matrix = (scores.float() if scores.ndim == 3 else scores[None].float()) / eps
        peaks = matrix.amax(-1)
        matrix.sub_(peaks[..., None]).exp_()
        held = torch.ones_like(peaks) if weights is None else weights.float().reshape(peaks.shape)
        matrix *= _column_factors(matrix, _first_rows(peaks, held, group), held, iterations, group)[:, None]
        # Not by the factors of the rows: torch may be set to coarser products, and rows must sum to 1.
        matrix /= matrix.sum(-1, keepdim=True)
        return matrix.reshape(scores.shape)


def _column_factors(
    matrix: Tensor, rows: Tensor, held: Tensor, iterations: int, group: dist.ProcessGroup | None
) -> Tensor:
    """The factors of the columns [T, K] that balance them.

    The assignments are kept as u * m * v: a fixed matrix m, a factor u for each row and v for each column. A
    round then reads m once and writes no matrix. Each row of m is shifted by its own maximum, so that no row
    runs empty however small `eps` is; the first u brings the shift back, and the maximum over all rows, which
    is the same on every process, changes nothing but keeps exp finite.
    """
    columns = torch.ones_like(matrix[:, 0])
    for step in range(iterations):
        masses = total(torch.bmm((held * rows)[:, None], matrix)[:, 0], group).clamp(_SMALLEST, _LARGEST)
        columns = masses.mean(-1, keepdim=True) / masses  # the mean keeps the factors from drifting away
        if step + 1 < iterations:
            rows = 1 / torch.bmm(matrix, columns[..., None])[..., 0].clamp(_SMALLEST, _LARGEST)
    return columns


def _first_rows(peaks: Tensor, held: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Exponential of each row's maximum, relative to the largest of all rows that exist; [T, R]."""
    existing = peaks.masked_fill(held == 0, -torch.inf)
    top = largest(existing.amax(-1, keepdim=True), group)
    # Where no row exists at all, -inf - -inf is NaN.
    return (existing - top).nan_to_num(nan=-torch.inf, neginf=-torch.inf).exp()

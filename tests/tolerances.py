"""How far two right computations of the same number may lie apart.

Processors, numbers of threads and versions of libraries add in different orders and round at different
places. Tests compare to the bit only what the program promises: the same seed on the same machine, what is
read back from a file, whole numbers. Everything else is compared up to `rounding`. Golden arrays bring
tolerances of their own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_ROOM = 4


def rounding(terms: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """The largest difference that rounding explains: 4 eps sqrt(terms) scale.

    Each addition rounds by up to eps / 2 of its result. These errors point either way, so after `terms`
    additions they have grown as the square root (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019): two
    computations differ by 0.4 eps sqrt(terms) scale in standard deviation. Four is ten times that: the
    largest of many differences is looked at, and functions between the sums can enlarge them a little.

    Args:
        terms: additions that lead to a number, one after the other: for a network the widths of all its
            products summed over the layers, for training that times the steps.
        scale: size of the largest number that is added up.
        dtype: the coarser of the formats that the two computations use.
    """
    return _ROOM * torch.finfo(dtype).eps * math.sqrt(terms) * scale


def assert_same(
    found: Tensor | np.ndarray, expected: Tensor | np.ndarray, terms: int, scale: float | None = None
) -> None:
    """Fail where two arrays of one shape differ by more than rounding in float32 explains.

    Args:
        found: float array; what is tested.
        expected: float array of the same shape; it may be in float64.
        terms: see `rounding`.
        scale: see `rounding`; the largest number in `expected` if it is not given.
    """
    found, expected = (torch.as_tensor(array).detach().cpu().double() for array in (found, expected))
    if scale is None:
        scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=rounding(terms, scale), rtol=0)

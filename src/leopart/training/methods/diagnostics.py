"""Training diagnostics without labels: prototypes in use, certainty, rank, agreement.

Every function returns a tensor without dimensions on the device of its input. A mask is given as weights:
picking rows by a boolean mask would make the host wait until the device has counted them.

Legend: n tokens, K prototypes, D channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def prototype_perplexity(assignments: Tensor, weights: Tensor | None = None) -> Tensor:
    """How many prototypes are in use: exp of the entropy of the mean assignment, in [1, K].

    K: all equally; 1: every token has the same prototype (collapse).

    Args:
        assignments: how much of each token belongs to each prototype, [n, K], rows sum to 1, any float type.
        weights: of the tokens, [n], >= 0; a mask as 0 and 1. None: all count the same.

    Returns:
        float32 []. 1 where no token counts.
    """
    return _entropy(_mean(assignments.float(), weights)).exp()


@torch.no_grad()
def assignment_entropy(assignments: Tensor, weights: Tensor | None = None) -> Tensor:
    """How uncertain the assignments are: their mean entropy over that of a uniform one, in [0, 1].

    Args:
        assignments: see `prototype_perplexity`; K >= 2.
        weights: see `prototype_perplexity`.

    Returns:
        float32 []. 0 where no token counts.
    """
    return _mean(_entropy(assignments.float()), weights) / math.log(assignments.shape[1])


@torch.no_grad()
def feature_rank(tokens: Tensor, weights: Tensor | None = None) -> Tensor:
    """Effective rank of tokens: exp of the entropy of their covariance's normalised eigenvalues, in [1, D].

    D: the same variance in all directions; 1: all variance in one direction (collapse), or none.

    Args:
        tokens: [n, D], any float type.
        weights: see `prototype_perplexity`.

    Returns:
        float32 []. On CUDA the eigenvalue solver makes the host wait: compute it at logging steps only.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007, with eigenvalues of the covariance in place
    of singular values: their shares are those of the variance.
    """
    wide = tokens.float()
    centred = wide - _mean(wide, weights)
    weighted = centred if weights is None else centred * weights.float()[:, None]
    # Rounding leaves eigenvalues just below zero.
    variances = torch.linalg.eigvalsh(centred.T @ weighted).clamp(min=0)
    return _entropy(variances / variances.sum().clamp(min=_TINY)).exp()


#: Tokens whose effective rank is taken: a decomposition of more would cost more than it shows.
_RANK_TOKENS = 1024


def rank_of_some(tokens: Tensor) -> Tensor:
    """`feature_rank` of up to 1024 of the tokens [n, D], evenly spread."""
    stride = max(1, len(tokens) // _RANK_TOKENS)
    return feature_rank(tokens[::stride][:_RANK_TOKENS])


@torch.no_grad()
def agreement(first: Tensor, second: Tensor, weights: Tensor | None = None) -> Tensor:
    """Share of tokens to which two networks give the same best prototype, in [0, 1].

    Args:
        first: scores of the same tokens by one network, [n, K].
        second: and by the other, [n, K].
        weights: see `prototype_perplexity`.

    Returns:
        float32 []. 0 where no token counts.
    """
    return _mean((first.argmax(1) == second.argmax(1)).float(), weights)


_TINY = torch.finfo(torch.float32).tiny


def _entropy(shares: Tensor) -> Tensor:
    """Of the last dimension, in nats; shares of zero contribute nothing."""
    products: Tensor = torch.special.xlogy(shares, shares)
    return -products.sum(-1)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Over the first dimension; 0 where nothing counts."""
    if weights is None:
        return values.sum(0) / max(len(values), 1)
    total = weights.float() @ values
    return total / weights.float().sum().clamp(min=_TINY)

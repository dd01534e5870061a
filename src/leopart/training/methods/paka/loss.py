"""Centred kernel alignment of two sets of tokens.

Legend: R regions, C cells of a region, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: The least length of a kernel: that of equal tokens is 0, and has no direction.
_TINY = 1e-6


def kernel_alignment(tokens: Tensor, targets: Tensor) -> Tensor:
    """How alike the similarities within a region are, from 0 to 1; float32 [R].

    Naive form, for each region:
        k[i, j] = (tokens[i] - mean of tokens) . (tokens[j] - mean of tokens);  l likewise of the targets
        alignment = sum(k * l) / sqrt(sum(k * k) * sum(l * l))

    1: the tokens of one are those of the other, turned, moved and scaled. A region whose tokens are all equal
    has alignment 0.

    Args:
        tokens: [R, C, D], any float type.
        targets: [R, C, E].

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, linear CKA;
    Yeo et al., Patch-level Kernel Alignment, arXiv 2509.05606, 2025.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        mine, other = _kernel(tokens.float()), _kernel(targets.float())
        return (mine * other).sum((1, 2))


def _kernel(tokens: Tensor) -> Tensor:
    """Inner products of the centred tokens, [R, C, C], of length 1."""
    centred = tokens - tokens.mean(1, keepdim=True)
    kernel = centred @ centred.transpose(1, 2)
    # The least length is inside the root: the gradient of a root at 0 is infinite.
    return kernel / (kernel.square().sum((1, 2), keepdim=True) + _TINY**2).sqrt()

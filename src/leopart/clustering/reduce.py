"""Standardise tokens per dimension, then project them on their principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 8192


@dataclass(frozen=True)
class Reduction:
    """An affine map from D token dimensions to the d first principal components.

    Attributes:
        offset: [D] float32, subtracted first (the mean of each dimension).
        projection: [D, d] float32, division by the standard deviation and rotation in one matrix.
    """

    offset: Tensor
    projection: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        """Reduce `tokens` [..., D] (any float type) to float32 [..., d]."""
        return (tokens.float() - self.offset) @ self.projection

    def to(self, device: torch.device) -> Reduction:
        """The same map on another device."""
        return Reduction(self.offset.to(device), self.projection.to(device))


def fit_reduction(tokens: Tensor, dimensions: int = 50) -> Reduction:
    """Per-dimension standardisation followed by PCA without whitening, both fitted on `tokens` [N, D].

    Computed in float64 from the covariance matrix; the sign of each component is fixed so that its largest
    loading is positive, and dimensions without variance are left out of every component. d is the smallest
    of `dimensions`, D and N. The result is on the device of the tokens.

    Source: Leopart, CVPR 2022, overclustering protocol (standardisation, PCA to 50 dimensions).
    """
    device = tokens.device
    if device.type == "mps":  # has no float64
        tokens = tokens.cpu()
    mean = tokens.mean(0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=tokens.device)
    for chunk in torch.split(tokens, _CHUNK):  # in float64 the whole sample would be large
        centred = chunk.double() - mean
        covariance += centred.T @ centred
    std = (covariance.diagonal() / len(tokens)).sqrt()
    scale = torch.where(std > 1e-9, 1 / std.clamp(min=1e-9), 0.0)
    _, vectors = torch.linalg.eigh(covariance * scale * scale[:, None])
    components = vectors.flip(1)[:, : min(dimensions, *tokens.shape)]
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    components = components * torch.where(largest < 0, -1.0, 1.0)
    return Reduction(mean.float(), (scale[:, None] * components).float()).to(device)

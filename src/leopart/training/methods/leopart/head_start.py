"""A head that starts from the photos themselves, for trainings too short to find prototypes from random ones.

With random prototypes the first hundreds of steps are spent on finding useful ones. Here the projection
starts as the principal components of the photos' tokens, and the prototypes as their clusters: targets mean
something from the first step on. This is ours, not the paper's, whose trainings have tens of thousands of
steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.clustering.kmeans import kmeans
from leopart.clustering.reduce import fit_reduction
from leopart.models.heads import DenseHead


@torch.no_grad()
def start_from_clusters(head: DenseHead, tokens: Tensor, seed: int) -> None:
    """Set a head with one layer to the principal components and clusters of tokens.

    Channels and prototypes for which there are too few tokens stay as they are.

    Args:
        head: its projection is one linear layer.
        tokens: [n, D]; none: nothing is changed.
        seed: of k-means.
    """
    projection = head.projection_head
    assert isinstance(projection, nn.Linear)  # noqa: S101 - `LeopartSettings.check` refuses others
    if len(tokens) < 2:
        return
    reduction = fit_reduction(tokens, projection.out_features)
    channels = reduction.projection.shape[1]
    projection.weight[:channels] = reduction.projection.T
    projection.bias[:channels] = -(reduction.offset @ reduction.projection)
    embeddings = F.normalize(F.linear(tokens, projection.weight, projection.bias), dim=-1)
    clusters = kmeans(
        embeddings, len(head.prototypes.weight), seed=seed, spherical=True, iterations=30, restarts=1
    ).centroids
    head.prototypes.weight[: len(clusters)] = clusters

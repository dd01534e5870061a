"""A head that knows the photos before the first step, for trainings too short to find prototypes from chance.

With random prototypes the first hundreds of steps go into finding any. Here the projection starts as the
principal components of the photos' tokens, and the prototypes as their clusters: targets mean something from
the first step on. This is ours, not the paper's, whose trainings have tens of thousands of steps.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.clustering.kmeans import kmeans
from leopart.clustering.reduce import fit_reduction
from leopart.data.photos import Photo
from leopart.errors import PhotoError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead

#: Photos that are looked at, at most; their tokens are enough for some hundreds of clusters.
_PHOTOS = 150


def sample_tokens(backbone: Backbone, photos: Sequence[Photo], size: int, seed: int) -> Tensor:
    """Tokens of up to 150 random photos, squeezed to `size` pixels, [n, D] float32.

    Photos that cannot be read are left out: training names them.
    """
    chosen = random.Random(seed).sample(list(photos), min(_PHOTOS, len(photos)))  # noqa: S311 - no secret
    extractor = Extractor(backbone, Preprocessing(size), batch_size=1)
    tokens = [torch.zeros(0, backbone.dim)]
    for photo in chosen:
        try:
            found, _ = extractor.forward([extractor.prepare(photo.path)])[0]
        except PhotoError:
            continue
        tokens.append(torch.from_numpy(found).flatten(0, 1).float())
    return torch.cat(tokens)


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
    assert isinstance(projection, nn.Linear)  # noqa: S101 - `Recipe.check` refuses others
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

"""Tokens of some photos by the network before training, from which a method can start."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from leopart.data.photos import Photo
from leopart.errors import PhotoError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone

#: Maximum number of photos; their tokens are enough for some hundreds of clusters.
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

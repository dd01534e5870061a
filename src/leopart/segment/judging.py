"""How good a network is on the user's photos, measured on some of them without a label."""

from __future__ import annotations

import random
from collections.abc import Sequence

from leopart.clustering.suitability import FEWEST_PHOTOS, Suitability, suitability
from leopart.data.photos import Photo
from leopart.errors import PhotoError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone

#: Photos that are measured, at most, and their side in pixels: seconds on a CPU.
_PHOTOS, _SIZE = 100, 224


def judged(backbone: Backbone, photos: Sequence[Photo], seed: int) -> Suitability | None:
    """Stability and gain of a network on up to 100 of the photos; None where too few can be read.

    Args:
        backbone: on its device.
        photos: all there are; the same ones are drawn for every network.
        seed: decides which, and every other random choice.
    """
    chosen = random.Random(seed).sample(list(photos), min(_PHOTOS, len(photos)))  # noqa: S311 - no secret
    extractor = Extractor(backbone, Preprocessing(_SIZE), batch_size=1)
    tokens = []
    for photo in chosen:
        try:
            found, _ = extractor.forward([extractor.prepare(photo.path)])[0]
        except PhotoError:  # named when features are extracted
            continue
        tokens.append(found)
    return suitability(tokens, seed) if len(tokens) >= FEWEST_PHOTOS else None

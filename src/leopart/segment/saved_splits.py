"""Splits of parts in a segmenter's card, `segmenter.json`. The arrays stay as `segment` wrote them.

    "splits": [{"ids": [12, 88], "centroids": [[0.1, …], [0.3, …]]}, …]     the earliest first
    "ids sha256": …     fingerprint of the segmenter with them: without, the same id means something else

Each split has a fingerprint, so that labels made before a split can be recognised after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from leopart.documents import checked

if TYPE_CHECKING:
    from leopart.segment.part_model import PartModel
    from leopart.segment.pieces import Split

_SPLITS, _FINGERPRINT = "splits", "ids sha256"
_ARRAYS_HASH = "arrays sha256"


@dataclass(frozen=True)
class _SplitPart:
    """A split as the card has it."""

    ids: Sequence[int]
    centroids: Sequence[Sequence[float]]


def described(model: PartModel, arrays_hash: str) -> dict[str, Any]:
    """What a card says of a model's splits; nothing where there are none."""
    if not model.splits:
        return {}
    splits = [
        asdict(_SplitPart(split.ids.tolist(), split.pieces.centroids.tolist())) for split in model.splits
    ]
    return {_SPLITS: splits, _FINGERPRINT: _chained(arrays_hash, splits)[-1]}


def without(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card without its splits."""
    return {key: value for key, value in card.items() if key not in (_SPLITS, _FINGERPRINT)}


def with_splits(model: PartModel, card: Mapping[str, Any]) -> PartModel:
    """A model as `segment` wrote it, with the splits in a card.

    Raises:
        ValueError: they do not fit the model, or were altered.
    """
    found = checked(card.get(_SPLITS, []), list[_SplitPart])
    if card.get(_FINGERPRINT, card[_ARRAYS_HASH]) != fingerprints(card)[-1]:
        raise ValueError("its splits were altered")
    for one in found:
        model = model.with_split(_split(model, one))
    return model


def pieces(card: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Ids of the pieces of each split in a card, the part's own first.

    Raises:
        ValueError: the card was altered.
    """
    return [tuple(split.ids) for split in checked(card.get(_SPLITS, []), list[_SplitPart])]


def fingerprints(card: Mapping[str, Any]) -> list[str]:
    """Fingerprints of a segmenter before any split, after the first, and so on; the last is its own.

    Raises:
        KeyError: the card lacks the hash of the arrays.
    """
    return _chained(card[_ARRAYS_HASH], card.get(_SPLITS, []))


def _chained(arrays_hash: str, splits: Sequence[Any]) -> list[str]:
    found = [arrays_hash]
    for split in splits:
        found.append(hashlib.sha256((found[-1] + json.dumps(split, sort_keys=True)).encode()).hexdigest())
    return found


def _split(model: PartModel, one: _SplitPart) -> Split:
    import torch  # takes seconds, and names for parts need none of this

    from leopart.clustering.kmeans import KMeans
    from leopart.segment.pieces import Split

    part, *new = one.ids or [0]
    centroids = torch.tensor([list(row) for row in one.centroids], dtype=torch.float32)
    follow = list(range(model.n_parts + 1, model.n_parts + 1 + len(new)))
    shaped = centroids.shape == (1 + len(new), model.parts.centroids.shape[1])
    if not (1 <= part <= model.n_parts and new and new == follow and shaped and centroids.isfinite().all()):
        raise ValueError("a split does not fit its parts")
    return Split(np.array(one.ids, np.int64), KMeans(centroids, spherical=False, objective=float("nan")))

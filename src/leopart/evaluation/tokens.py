"""Tokens of photos, whatever holds them: a store on disk, a tensor, or one array a photo.

Legend: n photos, h x w a photo's grid of tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leopart.features.store import FeatureStore

PhotoTokens = Tensor | npt.NDArray[np.floating[Any]]
"""Tokens of one photo, [h, w, D]; a view into a memory map costs nothing until it is used."""
Tokens = FeatureStore | Tensor | Sequence[Tensor] | Sequence[npt.NDArray[np.floating[Any]]]
"""Tokens of n photos: a store whose photos are all done, a tensor [n, h, w, D], or one tensor or array
[h, w, D] a photo (grids may differ)."""


def tokens_of(tokens: Tokens, index: int) -> Tensor:
    """Tokens [h, w, D] of a photo, with the type and on the device that they have."""
    if isinstance(tokens, FeatureStore):
        return torch.from_numpy(tokens.tokens_of(index))
    return torch.as_tensor(tokens[index])


def token_shape(tokens: Tokens, index: int) -> tuple[int, int, int]:
    """h, w and D of a photo; nothing is read."""
    if isinstance(tokens, FeatureStore):
        entry = tokens.entries[index]
        return entry.height, entry.width, tokens.recipe.dim
    height, width, dim = tokens[index].shape
    return height, width, dim


def home_of(tokens: Tokens, device: torch.device | None) -> torch.device:
    """The device if one is given, else that of a tensor of tokens, else the CPU."""
    if device is not None:
        return device
    return tokens.device if isinstance(tokens, Tensor) else torch.device("cpu")


def paired_photos(
    tokens: Tokens, labels: Sequence[Any], photos: Sequence[int] | npt.NDArray[np.int64] | None = None
) -> list[int]:
    """Indices of the photos to use, each with tokens and a label map; all of them where `photos` is None.

    Raises:
        ValueError: tokens and labels differ in number, there are no photos, or the store lacks some.
    """
    if len(tokens) != len(labels):
        raise ValueError(f"tokens of {len(tokens)} photos and {len(labels)} label maps: give one for each")
    chosen = list(range(len(tokens))) if photos is None else [int(index) for index in photos]
    if not chosen:
        raise ValueError("there are no photos")
    if isinstance(tokens, FeatureStore) and not tokens.done[chosen].all():
        raise ValueError("the features of some photos are missing in the store")
    return chosen


def token_views(store: FeatureStore) -> list[npt.NDArray[np.float16]]:
    """Tokens [h, w, D] of each photo of a store; nothing is read until it is used."""
    ends = np.cumsum([entry.height * entry.width for entry in store.entries])
    pairs = zip(np.split(store.tokens, ends[:-1]), store.entries, strict=True)
    return [rows.reshape(entry.height, entry.width, -1) for rows, entry in pairs]

"""`leopart.extract`: features of photos as arrays."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.api.progress import tracker
from leopart.data.given import PhotoLike, as_files
from leopart.errors import PhotoError
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.custom import BackboneLike, as_backbone
from leopart.models.device import pick_device


@dataclass(frozen=True)
class PhotoFeatures:
    """Features of N photos on grids of h x w tokens with D channels.

    Attributes:
        names: of the photos.
        tokens: [N, h, w, D] float16.
        attention: [N, heads, h, w] float32 in [0, 1], see `leopart.models.backbone.Features`.
        failures: photos that could not be read, and why; they are not among the N.
    """

    names: list[str]
    tokens: NDArray[np.float16]
    attention: NDArray[np.float32]
    failures: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pooled(self) -> NDArray[np.float32]:
        """A vector for each photo: the mean of its tokens, [N, D] float32."""
        found: NDArray[np.float32] = self.tokens.mean((1, 2), dtype=np.float32)
        return found

    def to_torch(self) -> tuple[Tensor, Tensor]:
        """Tokens [N, h, w, D] float16 and attention [N, heads, h, w] float32, without a copy."""
        return torch.from_numpy(self.tokens), torch.from_numpy(self.attention)


def extract(
    backbone: BackboneLike,
    photos: PhotoLike | Iterable[PhotoLike],
    *,
    size: int = 448,
    block: int | None = None,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    progress: bool = False,
) -> PhotoFeatures:
    """Tokens and attention of photos, in memory: 0.8 MB a photo for a ViT-S/14 at 448 pixels.

    Args:
        backbone: name, path, a loaded one, or any callable, see `leopart.models.custom.TokenNetwork`.
        photos: a folder, or photos.
        size: side in pixels of the backbone's input; photos are squeezed into a square.
        block: whose tokens, counted from 0; None = the last.
        precision: number format of the network: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: photos in one forward pass; None = chosen for the device.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: show a bar.

    Raises:
        LeopartError: the backbone cannot be loaded, there is no photo, or none can be read.
    """
    extractor = Extractor(
        as_backbone(backbone, pick_device(device)),
        Preprocessing(size),
        precision=precision,
        batch_size=batch_size,
        block=block,
    )
    with tempfile.TemporaryDirectory(prefix="leopart-") as folder:
        files = as_files(photos, Path(folder) / "photos")
        found = [
            (photo.name, features)
            for photo, features in extractor.stream(files, track=tracker(progress), title="features")
        ]
    return _gathered(found)


def _gathered(found: list[tuple[str, Any]]) -> PhotoFeatures:
    failures = [(name, str(error)) for name, error in found if isinstance(error, PhotoError)]
    good = [(name, features) for name, features in found if not isinstance(features, PhotoError)]
    if not good:
        raise PhotoError(f"no photo could be used, of {len(found)} given: {failures[0][1]}")
    if failures:
        text = f"{len(failures)} of {len(found)} photos left out: {failures[0][1]}"
        warnings.warn(text, stacklevel=3)
    tokens, attention = zip(*(features for _, features in good), strict=True)
    return PhotoFeatures([name for name, _ in good], np.stack(tokens), np.stack(attention), failures)

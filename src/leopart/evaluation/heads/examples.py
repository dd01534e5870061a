"""Training examples of a head with features that are computed once: stored tokens, and label maps.

Legend: n photos, b of them in a piece, h x w a photo's grid of tokens, D channels, S side of a label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from leopart.evaluation.metrics.confusion import Labels
from leopart.evaluation.tokens import Tokens, home_of, paired_photos, token_shape, tokens_of
from leopart.parallel import ordered_map, workers


class Examples(Protocol):
    """Photos to learn from, one piece at a time."""

    device: torch.device
    """Where the head learns."""
    dim: int
    """D."""
    side: int
    """S."""

    def __len__(self) -> int:
        """Number of photos, n."""
        ...

    def load(self, photos: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """Content and labels of a piece, on the CPU; called ahead, in threads.

        Returns:
            What `encode` takes, b of them; and class rows [b, S, S] uint8, 255 = no label.
        """
        ...

    def encode(self, content: Tensor) -> Tensor:
        """Tokens [b, h, w, D] float32 on `device`, without gradient."""
        ...


class CachedExamples:
    """Tokens that exist already, read piece by piece.

    Args:
        tokens: a store whose photos are all done, a tensor [n, h, w, D], or arrays [h, w, D] of one grid.
        labels: class rows of each photo [S, S], read at once and kept as uint8.
        photos: indices of the photos to use; None = all.
        device: where the head learns; None = where a tensor of tokens is, else the CPU.

    Raises:
        ValueError: tokens and labels differ in number, there are no photos, a store's photos are not all
            done, or grids or label maps differ in size.
        LeopartError: a mask cannot be read (where `labels` reads them).
    """

    def __init__(
        self,
        tokens: Tokens,
        labels: Sequence[Labels],
        *,
        photos: Sequence[int] | None = None,
        device: torch.device | None = None,
    ) -> None:
        chosen = paired_photos(tokens, labels, photos)
        shapes = {token_shape(tokens, index) for index in chosen}
        if len(shapes) != 1:
            raise ValueError(f"a head learns from photos of one grid of tokens, not of {len(shapes)} grids")
        self.tokens, self.photos = tokens, chosen
        self.dim = shapes.pop()[2]
        read = ordered_map(labels.__getitem__, chosen, workers=workers())
        self.labels = np.stack([np.asarray(ids).astype(np.uint8) for ids in read])
        self.side = self.labels.shape[1]
        self.device = home_of(tokens, device)

    def __len__(self) -> int:
        return len(self.photos)

    def load(self, photos: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - always the same
        """See `Examples`; tokens in the type they are stored in."""
        found = torch.stack([tokens_of(self.tokens, self.photos[index]) for index in photos])
        labels = torch.from_numpy(self.labels[list(photos)])
        return pinned(found, self.device), pinned(labels, self.device)

    def encode(self, content: Tensor) -> Tensor:
        """See `Examples`."""
        return content.to(self.device, non_blocking=True).float()


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in pinned memory if it goes to a GPU, so that the copy is asynchronous."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor

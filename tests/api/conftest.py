"""Painted photos with masks, and a network of one's own: mean colours of the patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

CLASSES = ["background", "roof", "wall"]


def paint(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A house on green, RGB [48, 64, 3], and its class ids [48, 64]."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 60, (48, 64, 3))
    photo[..., 1] += 120
    mask = np.zeros((48, 64), np.uint8)
    top, left = (int(number) for number in rng.integers(2, 16, 2))
    mask[top : top + 12, left : left + 24] = 1
    mask[top + 12 : top + 28, left : left + 24] = 2
    photo[mask == 1] = [220, 30, 30]
    photo[mask == 2] = [30, 30, 210]
    return photo.astype(np.uint8), mask


@pytest.fixture(scope="session")
def painted() -> list[tuple[np.ndarray, np.ndarray]]:
    return [paint(seed) for seed in range(6)]


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, painted) -> Path:
    """The same as a labelled folder."""
    folder = tmp_path_factory.mktemp("labelled")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number, (photo, mask) in enumerate(painted):
        Image.fromarray(photo).save(folder / "images" / f"{number:06}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:06}.png")
    (folder / "classes.txt").write_text("".join(f"{i}\t{name}\n" for i, name in enumerate(CLASSES)))
    return folder


def mean_colours(images: Tensor) -> Tensor:
    """Tokens [B, H / 4, W / 4, 3] of images [B, 3, H, W] in [0, 1]."""
    return F.avg_pool2d(images, 4).permute(0, 2, 3, 1)


class ColoursAndRed(torch.nn.Module):
    """The same, with weights, and the red share as attention."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = mean_colours(images) * self.scale
        return tokens, tokens[..., :1].permute(0, 3, 1, 2)

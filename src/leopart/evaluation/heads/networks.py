"""Small heads that predict the class of every place from the tokens of a frozen network.

Legend: B photos, h x w their grid of tokens, D channels of a token, C classes, M channels inside a head.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.evaluation.heads.files import HeadFile

Size = int | tuple[int, int]
"""Side of a square, or height and width."""

DROPOUT = 0.1
"""Share of the channels of an FCN that are dropped for each photo in training."""


class SegmentationHead(nn.Module):
    """Tokens to the scores of C classes.

    Attributes:
        dim: D.
        classes: C.
        width: M, 0 for a head without inner channels.
    """

    kind: Literal["linear", "fcn"]
    dim: int
    classes: int
    width: int = 0

    def forward(self, tokens: Tensor, size: Size, channels: Tensor | None = None) -> Tensor:
        """Logits for training.

        Args:
            tokens: [B, h, w, D], any float type that the head's weights have.
            size: of the result.
            channels: factors of the inner channels, see `dropout_factors`, [B, M]; None = all 1.

        Returns:
            [B, C, *size], interpolated bilinearly if the head computes on another grid.
        """
        return resized(self.coarse(tokens, size, channels), size)

    def coarse(self, tokens: Tensor, grid: Size | None = None, channels: Tensor | None = None) -> Tensor:
        """Logits on the grid that the head computes on.

        Args:
            tokens: as in `forward`.
            grid: of the 3 x 3 convolutions; None = that of the tokens. A linear head always computes on the
                grid of the tokens.
            channels: as in `forward`.

        Returns:
            [B, C, h', w'].
        """
        raise NotImplementedError

    def to_file(self) -> HeadFile:
        """What `write_head` writes: a copy, float32 on the CPU."""
        state = {key: value.detach().cpu().float().clone() for key, value in self.state_dict().items()}
        return HeadFile(self.kind, state, self.dim, self.classes)

    @staticmethod
    def from_file(file: HeadFile) -> LinearHead | FCNHead:
        """The head that `read_head` has read."""
        head: LinearHead | FCNHead
        if file.kind == "linear":
            head = LinearHead(file.dim, file.classes)
        else:
            head = FCNHead(file.dim, file.classes, len(file.state["conv_seg.weight"][0]))
        head.load_state_dict(file.state)
        return head


class LinearHead(SegmentationHead):
    """One linear classifier for all tokens: a 1 x 1 convolution with bias.

    Naive form:
        logits = conv1x1(bilinear(tokens, size))

    Both steps are linear and bilinear weights sum to 1, so their order only changes rounding. The
    classifier comes first here: 1,024 tokens instead of 10,000 places at 100 x 100, and C channels to enlarge
    instead of D.

    Args:
        dim: D.
        classes: C.
        generator: for the initial weights, drawn on the CPU; None = torch's own.

    Source: Leopart, CVPR 2022, linear classifier; the authors' linear_finetune.py.
    """

    kind = "linear"

    def __init__(self, dim: int, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.weight = nn.Parameter(torch.empty(classes, dim, 1, 1))
        self.bias = nn.Parameter(torch.empty(classes))
        _start_classifier(self.weight, self.bias, generator)

    def coarse(self, tokens: Tensor, grid: Size | None = None, channels: Tensor | None = None) -> Tensor:  # noqa: ARG002 - for an FCN only
        """Logits of the tokens, [B, C, h, w]."""
        return F.linear(tokens, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class FCNHead(SegmentationHead):
    """Three 3 x 3 convolutions, the third with the tokens as additional input, then a linear classifier.

    Naive form, x the tokens enlarged to the grid:
        y = relu(conv3x3(relu(conv3x3(x))))
        z = relu(conv3x3(concatenate(x, y)))
        logits = conv1x1(channels * z)

    No normalisation layers; zero padding. Dropout is done by `channels` alone, whatever the mode of the
    module, so that it can depend on the photo (see `dropout_factors`).

    Args:
        dim: D.
        classes: C.
        width: M.
        generator: for the initial weights, drawn on the CPU; None = torch's own.

    Source: Leopart, CVPR 2022, FCN head; the authors' fcn_head.py. Weights start as there: Kaiming's normal
    by fan-out and zero biases, the classifier as torch has it.
    """

    kind = "fcn"

    def __init__(
        self, dim: int, classes: int, width: int = 512, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.dim, self.classes, self.width = dim, classes, width
        self.convs = nn.ModuleList([_Conv(dim, width, generator), _Conv(width, width, generator)])
        self.conv_cat = _Conv(dim + width, width, generator)
        self.conv_seg = nn.Conv2d(width, classes, 1)
        _start_classifier(self.conv_seg.weight, self.conv_seg.bias, generator)

    def coarse(self, tokens: Tensor, grid: Size | None = None, channels: Tensor | None = None) -> Tensor:
        """Logits [B, C, *grid] of tokens [B, h, w, D]."""
        x = tokens.permute(0, 3, 1, 2)
        x = x if grid is None else resized(x, grid)
        y = x
        for conv in self.convs:
            y = conv(y)
        z = self.conv_cat(torch.cat([x, y], dim=1))
        if channels is not None:
            z = z * channels.to(z.dtype)[:, :, None, None]
        logits: Tensor = self.conv_seg(z)
        return logits


class _Conv(nn.Module):
    """A 3 x 3 convolution and ReLU; `conv` is a module of its own because the authors' files name it."""

    def __init__(self, dim: int, out: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


def resized(maps: Tensor, size: Size) -> Tensor:
    """Maps at another size, bilinear with pixel centres at halves (`align_corners=False`).

    Naive form:
        torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)

    Two matrix products do the same. They are faster on CPUs, and their gradient on GPUs is deterministic.

    Args:
        maps: [B, C, h, w] of any float type.
        size: H x W.

    Returns:
        [B, C, H, W] of the same type, computed in it under autocast too.
    """
    height, width = (size, size) if isinstance(size, int) else size
    with torch.autocast(maps.device.type, enabled=False):
        wide = maps @ bilinear_matrix(maps, maps.shape[3], width).T
        return bilinear_matrix(maps, maps.shape[2], height) @ wide


def bilinear_matrix(like: Tensor, length: int, size: int) -> Tensor:
    """Matrix of bilinear resizing along one axis: `size` rows of `length` weights that sum to 1.

    Args:
        like: a tensor of the wanted type on the wanted device.
        length: before resizing.
        size: after resizing.
    """
    exact = torch.promote_types(like.dtype, torch.float32)
    places = torch.eye(length, dtype=exact, device=like.device)[None]
    weights = F.interpolate(places, size, mode="linear", align_corners=False)[0].T
    return weights.to(like.dtype)


def dropout_factors(width: int, generator: np.random.Generator) -> Tensor:
    """Factors of the channels for one photo, [width] float32: 0 for a tenth of them, 1 / 0.9 for the rest."""
    kept = torch.from_numpy(generator.random(width) >= DROPOUT)
    return kept.float() / (1 - DROPOUT)


def _start_classifier(weight: Tensor, bias: Tensor | None, generator: torch.Generator | None) -> None:
    """As torch starts a convolution: uniform within 1 / sqrt(channels)."""
    bound = 1 / math.sqrt(weight.shape[1])
    for values in (weight, bias):
        if values is not None:
            nn.init.uniform_(values, -bound, bound, generator=generator)

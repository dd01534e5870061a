"""The regions that two crops of a photo share, and maps of tokens aligned to them.

Legend: V views, T target (large) crops, N crops of a photo with the T large ones first, P = N - 1 other crops
    of a target, B photos of this process, G and L tokens along the side of a large and a small crop, C cells
    of a shared region (bins * bins), K channels.

The other crops of target g are taken in the order g + 1, g + 2, .. (modulo T), then the small crops: so
partners of equal offset lie side by side, and no pair is looked up by an index that would have to be copied
to the device. Each map meets the matrices of all its boxes in one product, in float32 whatever the map's
type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from leopart.training.methods.alignment import alignment_matrix


@dataclass(frozen=True)
class SharedRegions:
    """Boxes in tokens: x1, y1, x2, y2.

    Attributes:
        of_targets: region of target g that crop v shows too, [B, T, N, 4].
        of_crops: region of crop v that target g shows too, [B, N, T, 4].
    """

    of_targets: Tensor
    of_crops: Tensor

    @classmethod
    def in_tokens(cls, of_targets: Tensor, of_crops: Tensor, patch_size: int) -> Self:
        """From boxes in pixels of the resized crops."""
        return cls(of_targets / patch_size, of_crops / patch_size)

    def check(self, teacher: Tensor, student: Tensor, local: Tensor | None) -> None:
        """Refuse shapes that would broadcast or reshape to a wrong loss in silence.

        Raises:
            ValueError: scores [T, B, G, G, K] and boxes do not fit each other.
        """
        targets, batch = teacher.shape[:2]
        crops = targets + (0 if local is None else len(local))
        if student.shape != teacher.shape:
            shapes = f"{tuple(student.shape)} and teacher {tuple(teacher.shape)}"
            raise ValueError(f"student {shapes} differ in shape")
        boxes = (self.of_targets.shape, self.of_crops.shape)
        if crops < 2 or boxes != ((batch, targets, crops, 4), (batch, crops, targets, 4)):
            found = " and ".join(str(tuple(shape)) for shape in boxes)
            raise ValueError(f"boxes {found} do not fit {batch} photos, {targets} targets and {crops} crops")
        for maps in [teacher] if local is None else [teacher, local]:
            if maps.ndim != 5 or maps.shape[2] != maps.shape[3] or maps.shape[1] != batch:
                raise ValueError(f"scores {tuple(maps.shape)} are no square maps of {batch} photos")


def target_matrices(regions: SharedRegions, side: int, bins: int) -> Tensor:
    """Alignment of maps of the targets with their regions, [T, B, P, C, side * side], see `aligned`."""
    boxes = regions.of_targets
    targets = boxes.shape[1]
    own = torch.arange(targets, device=boxes.device)[:, None]
    ahead = torch.arange(1, boxes.shape[2], device=boxes.device)
    partner = torch.where(ahead < targets, (own + ahead) % targets, ahead)
    return alignment_matrix(boxes[:, own, partner].transpose(0, 1), side, side, bins)


def partners_aligned(maps: Tensor, local: Tensor | None, regions: SharedRegions, bins: int) -> Tensor:
    """Maps of all crops on the regions shared with each target, by target; [T, B, P, C, K].

    Args:
        maps: of the large crops, [T, B, G, G, K].
        local: of the small crops, [n, B, L, L, K], or None.
        regions: what they share.
        bins: cells along a side of a region.
    """
    boxes, targets = regions.of_crops, len(maps)
    views = torch.arange(targets, device=boxes.device)[:, None]
    ahead = torch.arange(1, targets, device=boxes.device)
    parts = []
    if targets > 1:
        chosen = boxes[:, views, (views - ahead) % targets].transpose(0, 1)
        seen = aligned(alignment_matrix(chosen, maps.shape[2], maps.shape[3], bins), maps)
        # `seen[v, :, j - 1]` is meant for target v - j: turned by j, it lies at that target's place.
        parts += [seen[:, :, step - 1 : step].roll(-step, dims=0) for step in range(1, targets)]
    if local is not None:
        chosen = boxes[:, targets:].transpose(0, 1)
        matrices = alignment_matrix(chosen, local.shape[2], local.shape[3], bins)
        parts.append(aligned(matrices, local).transpose(0, 2))
    return torch.cat(parts, dim=2)


def views_aligned(maps: Sequence[Tensor], boxes: Tensor, bins: int) -> Tensor:
    """Maps of several views, each on one region of its own; float32 [V, B, C, K].

    Args:
        maps: views of each resolution, [v, B, h, w, K]; V in all.
        boxes: the regions in tokens, in the order of the views, [B, V, 4].
        bins: cells along a side of a region.
    """
    parts, first = [], 0
    for part in maps:
        own = boxes[:, first : first + len(part)].transpose(0, 1)
        matrices = alignment_matrix(own, part.shape[2], part.shape[3], bins)
        parts.append(aligned(matrices[:, :, None], part)[:, :, 0])
        first += len(part)
    return torch.cat(parts)


def aligned(matrices: Tensor, maps: Tensor) -> Tensor:
    """Each map [V, B, h, w, K] under all its matrices [V, B, P, C, h * w]; float32 [V, B, P, C, K]."""
    views, batch, pairs, cells, tokens = matrices.shape
    stacked = matrices.reshape(views * batch, pairs * cells, tokens)
    flat = maps.float().reshape(views * batch, tokens, -1)
    return torch.bmm(stacked, flat).reshape(views, batch, pairs, cells, -1)

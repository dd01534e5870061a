"""How well the attention of the CLS token covers the objects of labelled photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.cells import cell_counts
from leopart.evaluation.metrics.confusion import Labels
from leopart.evaluation.metrics.jaccard import foreground_jaccard
from leopart.models.attention import attention_mask, heaviest

Attention = Tensor | npt.NDArray[np.floating[Any]]
"""CLS attention to a photo's tokens, [heads, h, w], >= 0, any scale."""
Mask = npt.NDArray[np.bool_]


class AttentionScores:
    """Streaming scores of attention as foreground ("merged") and of single heads as objects ("best head").

    Naive form, for each photo:
        merged += IoU(merged_mask, labels != background)
        for each object (id other than background and void):
            best[object] = max over heads of IoU(head's mask, labels == object)
        best_head += mean of best, if the photo has objects

    Masks are compared at the labels' size, enlarged by nearest. Scores are means over photos, which all count
    the same.

    Args:
        keep: share of the attention that is kept, see `attention_mask`.
        background: id of the background.
        ignore_index: id of void: foreground for "merged", as in `foreground_jaccard`, but not an object.

    Source: Leopart, CVPR 2022, evaluation of attention maps on PVOC val at 224; spec 5.2. Deviations: the
    authors' code skips the last, partial batch but divides by all photos; it takes the first and last id of a
    photo for background and void even where it has none, which drops an object; and photos without objects
    count as 0 for the best head, whereas here they are left out.
    """

    def __init__(self, keep: float = 0.6, background: int = 0, ignore_index: int = 255) -> None:
        self.keep, self.background, self.ignore_index = keep, background, ignore_index
        self.photos = 0
        """Number of photos added."""
        self.photos_with_objects = 0
        """Number of them with objects; the others are left out of `best_head`."""
        self.head_wins: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        """Number of objects that each head covers best, [heads]; ties go to the lowest head, no head wins
        where all miss."""
        self._merged = self._best_head = 0.0

    def add(self, attention: Attention, labels: npt.ArrayLike) -> None:
        """Score one photo.

        Args:
            attention: of its tokens, [heads, h, w], any float dtype, tensor (any device) or array.
            labels: ids [H, W], 0 .. 255, of any size.

        Raises:
            ValueError: a shape is wrong, the number of heads changes, or an id is out of range.
        """
        ids = np.asarray(labels)
        if attention.ndim != 3 or ids.ndim != 2:
            shapes = f"{tuple(attention.shape)} and {ids.shape}"
            raise ValueError(f"attention [heads, h, w] and labels [H, W] were expected, not {shapes}")
        if self.photos and len(attention) != len(self.head_wins):
            raise ValueError(f"attention of {len(self.head_wins)} heads, then of {len(attention)}")
        best, winners = best_heads(
            head_masks(attention, self.keep), ids, {self.background, self.ignore_index}
        )
        mask = nearest(merged_mask(attention, self.keep).view(np.uint8), (ids.shape[0], ids.shape[1]))
        self._merged += float(foreground_jaccard(ids, mask, self.background))
        self.photos += 1
        if not self.head_wins.size:
            self.head_wins = np.zeros(len(attention), np.int64)
        self.head_wins += np.bincount(winners[best > 0], minlength=len(attention))
        if best.size:
            self._best_head += float(best.mean())
            self.photos_with_objects += 1

    @property
    def merged(self) -> float:
        """Mean foreground Jaccard of the mean over heads, blurred and without specks; NaN without photos."""
        return self._merged / self.photos if self.photos else float("nan")

    @property
    def best_head(self) -> float:
        """Mean over photos with objects: the mean over objects of the best head's IoU; NaN without any."""
        return self._best_head / self.photos_with_objects if self.photos_with_objects else float("nan")


def merged_mask(attention: Attention, keep: float = 0.6) -> Mask:
    """`attention_mask` of the mean over heads, [h, w]."""
    return attention_mask(torch.as_tensor(attention).float().mean(0, keepdim=True), keep)[0].cpu().numpy()


def head_masks(attention: Attention, keep: float = 0.6) -> Mask:
    """Tokens that carry most of each head's attention, [heads, h, w]: not blurred, specks stay."""
    maps = torch.as_tensor(attention).float()
    return heaviest(maps.flatten(1), keep).reshape(maps.shape).cpu().numpy()


def best_heads(
    masks: Mask, labels: Labels, no_objects: set[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The best IoU of each object with a head's mask, and the head.

    Args:
        masks: of the heads, [heads, h, w].
        labels: ids [H, W], 0 .. 255.
        no_objects: ids that are not objects.

    Returns:
        Two arrays [objects], objects in ascending order of their ids.
    """
    counts = cell_counts(labels, (masks.shape[1], masks.shape[2]), 256).reshape(-1, 256)
    area = counts.sum(axis=0)
    objects = [index for index in np.flatnonzero(area).tolist() if index not in no_objects]
    on = masks.reshape(len(masks), -1).astype(np.int64)
    both = on @ counts[:, objects]  # a mask is the same all over a cell
    either = (on @ counts.sum(axis=1))[:, None] + area[objects] - both
    iou = both / either
    return iou.max(axis=0), iou.argmax(axis=0)

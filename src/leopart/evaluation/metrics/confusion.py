"""Counts of pixels by class and cluster; every score of a segmentation follows from this matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from leopart.processes import total, world_size

Labels = npt.NDArray[np.integer[Any]]
_BLOCK = 1 << 18  # pixels counted at a time: temporary arrays then stay in the processor's cache


class Confusion:
    """Streaming count of pixels by class and cluster; how photos are batched makes no difference.

    Naive form:
        for each pixel with gt != ignore_index:
            matrix[gt, pred] += 1

    Counts of several processes are added by `over_processes`.

    Args:
        num_classes: C; classes are 0 .. C-1.
        num_clusters: K; predicted ids are 0 .. K-1. Equal to C for a classifier's predictions.
        ignore_index: class id of pixels that are never counted, whatever is predicted there.

    Source: Leopart's evaluation pools all labelled pixels. Ids out of range are an error here; widely copied
    code silently drops the pixels of extra clusters.
    """

    def __init__(self, num_classes: int, num_clusters: int, ignore_index: int = 255) -> None:
        if num_classes < 1 or num_clusters < 1 or 0 <= ignore_index < num_classes:
            numbers = f"{num_classes} classes, {num_clusters} clusters, ignored id {ignore_index}"
            raise ValueError(
                f"{numbers}: there must be classes and clusters, and the ignored id must not be a class"
            )
        self.num_classes = num_classes
        self.num_clusters = num_clusters
        self.ignore_index = ignore_index
        self.matrix: npt.NDArray[np.int64] = np.zeros((num_classes, num_clusters), np.int64)
        """Pixels of class c under cluster k, [C, K] int64."""
        self._size = (num_classes + 1) * num_clusters
        self._cells = np.min_scalar_type(self._size)  # narrow types are summed faster

    def update(self, gt: npt.ArrayLike, pred: npt.ArrayLike) -> None:
        """Count the pixels of one or many photos.

        Args:
            gt: class ids, any shape, any integer type (arrays or CPU tensors).
            pred: cluster ids, the same shape, any integer type.

        Raises:
            ValueError: the shapes differ, the ids are not integers, or a counted pixel has an id out of
                range. Nothing is counted then.
        """
        truth, found = _integers(gt, "classes"), _integers(pred, "clusters")
        if truth.shape != found.shape:
            raise ValueError(f"classes {truth.shape} and clusters {found.shape} differ in shape")
        truth, found = truth.ravel(), found.ravel()
        counts = np.zeros(self.matrix.size, np.int64)
        block = max(_BLOCK, counts.size)  # summing matrices must not cost more than counting
        for start in range(0, truth.size, block):
            counts += self._count(truth[start : start + block], found[start : start + block])
        self.matrix += counts.reshape(self.matrix.shape)

    def _count(self, truth: Labels, found: Labels) -> npt.NDArray[np.int64]:
        if not _within(found, self.num_clusters):  # harmless at ignored pixels
            counted = truth != self.ignore_index
            truth, found = truth[counted], found[counted]
            _check_range(found, self.num_clusters, "cluster")
        if not _within(truth, self.num_classes):
            ignored = truth == self.ignore_index
            if np.count_nonzero(ignored) < np.count_nonzero(_outside(truth, self.num_classes)):
                _check_range(truth[~ignored], self.num_classes, "class")
            # An extra row for ignored pixels is cheaper than filtering them out.
            truth = truth - ignored * truth.dtype.type(self.ignore_index - self.num_classes)
        cells = np.multiply(truth, self._cells.type(self.num_clusters), dtype=self._cells, casting="unsafe")
        cells += found.astype(self._cells, copy=False)
        return np.bincount(cells, minlength=self._size)[: self.matrix.size]

    def over_processes(self, group: dist.ProcessGroup | None = None) -> Confusion:
        """The sum of the counts of all processes, the same in each process."""
        summed = Confusion(self.num_classes, self.num_clusters, self.ignore_index)
        device = "cuda" if world_size(group) > 1 and dist.get_backend(group) == "nccl" else "cpu"
        counts = torch.from_numpy(self.matrix.copy()).to(device)
        summed.matrix = total(counts, group).cpu().numpy()
        return summed


def _integers(ids: npt.ArrayLike, what: str) -> Labels:
    array = np.asarray(ids)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{what} must be integers, not {array.dtype}")
    narrow = {"?": np.uint8, "b": np.int16}  # room for differences
    return array.astype(narrow[array.dtype.char]) if array.dtype.char in narrow else array


def _within(ids: Labels, count: int) -> bool:
    return ids.size == 0 or bool(ids.min() >= 0 and ids.max() < count)


def _outside(ids: Labels, count: int) -> npt.NDArray[np.bool_]:
    outside: npt.NDArray[np.bool_] = ids >= count
    return outside if ids.dtype.kind == "u" else outside | (ids < 0)


def _check_range(ids: Labels, count: int, what: str) -> None:
    if not _within(ids, count):
        wrong = ids[(ids < 0) | (ids >= count)][0]
        raise ValueError(f"{what} id {wrong} is out of range: there are {count}, 0 to {count - 1}")

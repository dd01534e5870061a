"""Clusters of a few photos' tokens during training, as pictures whose colours stay.

RUN/sheets/  step-000100.png     every photo, below it the photo with its clusters
             step-000100.npz     `ids`, the clusters [n, h, w] uint8
             photos.npz          `photos`, as they are drawn, [n, H, W, 3] uint8

Legend: n photos, H x W their pixels, h x w their grid of tokens, D channels, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from leopart.clustering.kmeans import kmeans
from leopart.clustering.reduce import fit_reduction
from leopart.drawing.masks import overlay, upsample_labels
from leopart.drawing.palette import colours
from leopart.files import whole_file

SHEETS = "sheets"
"""Folder of the sheets in a run's folder."""

TokensOf = Callable[[Tensor], Tensor]
"""From photos, uint8 [n, 3, H, W], to tokens [n, h, w, D]."""
Pixels = NDArray[np.uint8]
Ids = NDArray[np.uint8]

#: Longest side of a photo on the sheet, photos in a row, and what lies between them, in pixels.
_TILE, _COLUMNS, _GAP, _CAPTION = 160, 8, 6, 22
_CARD, _INK = (247, 246, 242), (45, 45, 50)


@dataclass(frozen=True)
class ContactSheet:
    """The sheet of a run: the same photos after every so many steps.

    Attributes:
        folder: of the sheets; made if it does not exist.
        photos: RGB at the network's input size, uint8 [n, H, W, 3].
        clusters: K, at most 255.
        seed: of k-means.
    """

    folder: Path
    photos: Pixels
    clusters: int = 20
    seed: int = 0

    def add(self, step: int, tokens_of: TokensOf) -> Pixels:
        """Cluster the photos' tokens and write the sheet of a step.

        Colours are those of the sheet before it, if there is one: a cluster keeps the number of the cluster
        that it shares most tokens with.

        Args:
            step: optimiser steps done.
            tokens_of: the network, see `TokensOf`.

        Returns:
            The sheet, RGB uint8 [height, width, 3].

        Raises:
            LeopartError: a file cannot be written.
        """
        images = torch.from_numpy(self.photos).permute(0, 3, 1, 2)
        ids = cluster_maps(tokens_of(images), self.clusters, self.seed, maps_before(self.folder, step))
        small = _shrunk(self.photos)
        sheet = draw_sheet(small, ids, f"step {step}")
        _save_array(self.folder / "photos.npz", "photos", small)
        _save_array(self.folder / f"step-{step:06d}.npz", "ids", ids)
        with whole_file(self.folder / f"step-{step:06d}.png") as file:
            Image.fromarray(sheet).save(file, format="PNG")
        return sheet


@torch.no_grad()
def cluster_maps(tokens: Tensor, clusters: int, seed: int, previous: Ids | None = None) -> Ids:
    """Cluster of every token, standardised and reduced to 50 dimensions, by k-means.

    Args:
        tokens: [n, h, w, D], any float type, on any device; the clustering runs on the CPU.
        clusters: K, at most 255; fewer come back where there are fewer different tokens.
        seed: of k-means.
        previous: maps of the same photos whose numbers to keep, see `follow`.

    Returns:
        [n, h, w] in 1 .. K; without `previous`, numbered by falling area.
    """
    flat = tokens.flatten(0, 2).float().cpu()
    reduced = fit_reduction(flat)(flat)
    fit = kmeans(reduced, clusters, seed=seed, restarts=3)
    ids = fit.assign(reduced).reshape(tokens.shape[:3]).numpy()
    if previous is not None and previous.shape == ids.shape and previous.max() <= clusters:
        return follow(ids, previous, clusters)
    order = np.argsort(-np.bincount(ids.ravel(), minlength=clusters), kind="stable")
    return np.asarray(1 + order.argsort()[ids], np.uint8)


def follow(ids: NDArray[np.int64], previous: Ids, clusters: int) -> Ids:
    """Number clusters like those of earlier maps that they overlap most, over all clusters together.

    Args:
        ids: new maps, 0 .. K-1.
        previous: maps of the same shape, 1 .. K.
        clusters: K.

    Returns:
        The new maps in the numbers of `previous`, 1 .. K.
    """
    cells = ids.ravel() * clusters + (previous.ravel().astype(np.int64) - 1)
    overlap = np.bincount(cells, minlength=clusters**2).reshape(clusters, clusters)
    _, number = linear_sum_assignment(overlap, maximize=True)
    return np.asarray(1 + number[ids], np.uint8)


def maps_before(folder: Path, step: int) -> Ids | None:
    """Maps of the latest sheet before a step, [n, h, w]; None where there is none."""
    steps = {int(file.stem.removeprefix("step-")): file for file in folder.glob("step-*.npz")}
    earlier = [found for found in steps if found < step]
    if not earlier:
        return None
    with np.load(steps[max(earlier)], allow_pickle=False) as arrays:
        ids: Ids = arrays["ids"]
        return ids


def draw_sheet(photos: Pixels, ids: Ids, caption: str) -> Pixels:
    """Photos in rows of eight, each row followed by the same photos with their clusters.

    Args:
        photos: RGB uint8 [n, H, W, 3].
        ids: clusters [n, h, w], 1 .. K; enlarged to the photos' size.
        caption: a few words, above.

    Returns:
        RGB uint8 [height, width, 3].
    """
    n, height, width = photos.shape[:3]
    palette = colours(int(ids.max()) + 1)
    columns, step = min(n, _COLUMNS), (height + _GAP, width + _GAP)
    rows = 2 * -(-n // columns)
    size = (columns * step[1] + _GAP, rows * step[0] + _GAP + _CAPTION)
    card = Image.new("RGB", size, _CARD)
    text = ImageDraw.Draw(card)
    text.text(
        (_GAP, (_CAPTION + _GAP) // 2), caption, fill=_INK, font=ImageFont.load_default(15), anchor="lm"
    )
    for index, photo in enumerate(photos):
        row, column = divmod(index, columns)
        left, top = _GAP + column * step[1], _GAP + _CAPTION + 2 * row * step[0]
        card.paste(Image.fromarray(photo), (left, top))
        drawn = overlay(photo, upsample_labels(ids[index], height, width), palette)
        card.paste(Image.fromarray(drawn), (left, top + step[0]))
    return np.asarray(card)


def _shrunk(photos: Pixels) -> Pixels:
    """Photos [n, H, W, 3] with their longest side at most `_TILE`."""
    height, width = photos.shape[1:3]
    scale = min(1.0, _TILE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS) for photo in photos]
    return np.stack([np.asarray(photo) for photo in small])


def _save_array(path: Path, name: str, array: Pixels) -> None:
    arrays: dict[str, Any] = {name: array}
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)

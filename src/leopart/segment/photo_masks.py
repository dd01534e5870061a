"""Part and object ids of one photo at its own size, and how sure the objects are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leopart.data.images import load_photo, photo_size
from leopart.drawing.masks import upsample_labels
from leopart.segment import refinement
from leopart.segment.part_model import PartModel
from leopart.segment.segments import Segments, find_segments

Pixels = NDArray[np.uint8]
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class PhotoMasks:
    """Masks of one photo.

    Attributes:
        parts: part ids, 0 = background, 1..K, int32 [H, W].
        objects: object ids, 0 = none, 1..M, int32 [H, W].
        confidence: of each object that has a segment in the photo, also of those below the least confidence,
            in [-1, 1], see `Segments`; empty where objects are not found by segments.
    """

    parts: Ids
    objects: Ids
    confidence: Mapping[int, float] = field(default_factory=dict)


def photo_masks(
    model: PartModel,
    tokens: NDArray[np.float16],
    photo: Path | Pixels,
    *,
    refine: bool,
    least_confidence: float = 0.0,
) -> PhotoMasks:
    """Masks of one photo.

    Args:
        model: gives the ids.
        tokens: of the photo, [h, w, D].
        photo: its file, or RGB uint8 [H, W, 3].
        refine: see `leopart.segment.refinement`.
        least_confidence: a segment of less is no object.

    Raises:
        PhotoError: the file cannot be read.
    """
    coarse, parts = part_masks(model, tokens, photo, refine=refine)
    if model.prototypes is None:
        return PhotoMasks(parts, model.object_table(coarse).astype(np.int32)[parts])
    segments = segments_of(model, tokens, coarse > 0)
    found = 1 + (segments.directions @ model.prototypes.centroids.numpy().T).argmax(1)
    cells = segments.painted(np.where(segments.confidence >= least_confidence, found, 0))
    objects = np.where(parts > 0, upsample_labels(cells, *parts.shape), 0).astype(np.int32)
    confidence: dict[int, float] = {}
    for number, value in zip(found.tolist(), segments.confidence.tolist(), strict=True):
        confidence[number] = max(value, confidence.get(number, -1.0))
    return PhotoMasks(parts, objects, confidence)


def segments_of(model: PartModel, tokens: NDArray[np.float16], foreground: NDArray[np.bool_]) -> Segments:
    """Segments of one photo, given its tokens [h, w, D] and its foreground on the model's finer grid."""
    margin = refinement.resized(refinement.soft_margin(model, tokens), *foreground.shape)
    return find_segments(foreground, model.embed(tokens).numpy(), margin)


def part_masks(
    model: PartModel, tokens: NDArray[np.float16], photo: Path | Pixels, *, refine: bool
) -> tuple[Ids, Ids]:
    """Part ids of a photo: before any split on the model's finer grid, and at its own upright size [H, W].

    Args:
        model: gives the ids.
        tokens: of the photo, [h, w, D].
        photo: its file, or RGB uint8 [H, W, 3].
        refine: see `leopart.segment.refinement`.

    Raises:
        PhotoError: the file cannot be read.
    """
    coarse, parts = _unsplit_masks(model, tokens, photo, refine=refine)
    return coarse, model.in_pieces(parts, tokens)


def _unsplit_masks(
    model: PartModel, tokens: NDArray[np.float16], photo: Path | Pixels, *, refine: bool
) -> tuple[Ids, Ids]:
    height, width = photo_size(photo) if isinstance(photo, Path) else photo.shape[:2]
    if not refine:
        coarse, _ = model.label_scored(tokens)
        return coarse, upsample_labels(coarse, height, width)
    scale = min(1.0, refinement.EDGES_SIDE / max(height, width))
    smallest = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = load_photo(photo, smallest=smallest) if isinstance(photo, Path) else photo
    return refinement.refine(model, tokens, pixels, height, width)

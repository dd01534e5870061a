"""Whether the arrays of a saved segmenter fit each other, so that predicting with them cannot go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from leopart.segment.part_model import PartModel

_SUM = 1e-6


def checked_arrays(model: PartModel) -> PartModel:
    """The model, if its shapes, number formats and values are those that `PartModel` describes.

    Raises:
        ValueError: names the first array that does not fit.
    """
    for name, fits in _checks(model):
        if not fits:
            raise ValueError(f"the array {name} does not fit the others")
    return model


def _checks(model: PartModel) -> Iterator[tuple[str, bool]]:
    """Each array and whether it fits; later checks rely on the ones before them."""
    offset, projection = model.reduction.offset, model.reduction.projection
    yield "reduction.projection", _is_real(projection, 2)
    width, dimensions = projection.shape
    yield "reduction.offset", _is_real(offset, 1) and len(offset) == width
    clusters, parts = model.clusters.centroids, model.parts.centroids
    yield "clusters.centroids", _is_real(clusters, 2) and clusters.shape[1] == dimensions
    yield "parts.centroids", _is_real(parts, 2) and parts.shape[1] == dimensions
    foreground = model.is_foreground
    yield "clusters.is_foreground", foreground.dtype == torch.bool and foreground.shape == clusters.shape[:1]
    yield (
        "clusters.margin",
        model.margin is None or (_is_real(model.margin, 1) and len(model.margin) == len(clusters)),
    )
    yield from _object_checks(model, len(parts))


def _object_checks(model: PartModel, parts: int) -> Iterator[tuple[str, bool]]:
    objects = model.object_of_part
    whole = objects.dtype == np.int64 and objects.shape == (parts + 1,)
    yield "object_of_part", whole and objects[0] == 0 and objects.min() >= 0 and objects.max() <= parts
    if model.mixture is not None:
        rows = model.mixture.parts_of_object
        shaped = rows.dtype == np.float64 and rows.ndim == 2 and rows.shape[1:] == (parts,)
        yield "parts_of_object", bool(shaped and (rows >= 0).all() and (rows.sum(1) <= 1 + _SUM).all())
        yield "object_of_part", bool(objects.max() <= len(rows))
    if model.prototypes is not None:
        directions = model.prototypes.centroids
        shaped = _is_real(directions, 2) and directions.shape[1] == model.parts.centroids.shape[1]
        yield "object_prototypes", shaped
        yield "object_of_part", bool(objects.max() <= len(directions))
    if model.scene_of_object is not None:
        scenes = model.scene_of_object
        shaped = scenes.dtype == np.int64 and scenes.shape == (model.n_objects,)
        yield "scene_of_object", bool(shaped and (scenes >= 1).all() and (scenes <= len(scenes)).all())


def _is_real(array: Tensor, axes: int) -> bool:
    """float32 with values, none of them infinite or NaN."""
    if array.dtype != torch.float32 or array.ndim != axes or not array.numel():
        return False
    return bool(torch.isfinite(array).all())

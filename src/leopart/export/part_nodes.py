"""A segmenter's learned part as ONNX nodes: `PartModel.label` and `object_table`, written once more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.contexts import FOLD_IN, TINY, ObjectMixture
from leopart.export.graph import Graph
from leopart.segment.part_model import FINER, PartModel
from leopart.segment.pieces import Split


def write_part_model(graph: Graph, model: PartModel, tokens: str) -> tuple[str, str]:
    """Write the nodes from tokens to ids.

    Args:
        graph: to write into.
        model: what the segmenter has learned.
        tokens: float32 [B, h, w, D], of the graph.

    Returns:
        Part ids and object ids, int64 [B, FINER * h, FINER * w], 0 = background. A graph finds no connected
        regions: where objects have prototypes, each foreground cell gets the object that is nearest to it.
    """
    reduction = model.reduction
    # Features are stored as float16, so the ids were learned from rounded tokens and are decided by them.
    tokens = graph.cast(graph.cast(tokens, np.float16))
    reduced = graph.add("MatMul", graph.add("Sub", tokens, reduction.offset), reduction.projection)
    embeddings = _finer(graph, reduced)
    clusters = graph.add("MatMul", embeddings, model.clusters.centroids.T)
    nearest = graph.add("ArgMax", clusters, axis=-1, keepdims=0)
    foreground = graph.add("Gather", model.is_foreground, nearest)
    zero, one = (np.array(value, dtype=np.int64) for value in (0, 1))
    parts = graph.add("Add", _nearest(graph, embeddings, model.parts.centroids), one)
    parts = graph.add("Where", foreground, parts, zero)
    if model.prototypes is not None:
        likeness = graph.add("MatMul", embeddings, model.prototypes.centroids.T)
        objects = graph.add("Add", graph.add("ArgMax", likeness, axis=-1, keepdims=0), one)
        return parts, graph.add("Where", foreground, objects, zero)
    if model.mixture is None:
        objects = graph.add("Gather", model.object_of_part, parts)
    else:
        objects = _objects_in_context(graph, model.mixture, parts)
    for split in model.splits:
        parts = _in_pieces(graph, split, embeddings, parts)
    return parts, objects


def _in_pieces(graph: Graph, split: Split, embeddings: str, parts: str) -> str:
    """Part ids after a split: `Split.piece_of` where the id is that of the part."""
    piece = graph.add(
        "Gather", graph.constant(split.ids), _nearest(graph, embeddings, split.pieces.centroids)
    )
    own = graph.add("Equal", parts, np.array(split.part, dtype=np.int64))
    return graph.add("Where", own, piece, parts)


def _nearest(graph: Graph, embeddings: str, centroids: Tensor) -> str:
    """Index of the nearest centroid by distance: largest x.c - |c|^2 / 2."""
    scores = graph.add("MatMul", embeddings, centroids.T)
    scores = graph.add("Sub", scores, centroids.pow(2).sum(1) / 2)
    return graph.add("ArgMax", scores, axis=-1, keepdims=0)


def write_labels(graph: Graph, table: NDArray[np.uint16], parts: str, objects: str) -> str:
    """Write the nodes from ids to labels.

    Args:
        graph: to write into.
        table: label of every part within every object, [M + 1, K + 1]; see `Labels.table`.
        parts: part ids of the graph, int64.
        objects: object ids of the graph, int64, of the same shape.

    Returns:
        Label ids, int64, of the same shape.
    """
    columns = np.array(table.shape[1], dtype=np.int64)
    cell = graph.add("Add", graph.add("Mul", objects, columns), parts)
    return graph.add("Gather", graph.constant(table.ravel().astype(np.int64)), cell)


def _objects_in_context(graph: Graph, mixture: ObjectMixture, parts: str) -> str:
    """Object ids of part ids [B, h, w], as `ObjectMixture.assign` decides on them in each photo.

    In double precision, as there, so that the ids agree. Photos without parts, which have no cell that needs
    an object, are no case of their own.
    """
    flat = graph.add("Reshape", parts, [0, -1])
    of_photo = _fold_in(graph, mixture, _counts(graph, flat, mixture.parts_of_object.shape[1]))
    scores = graph.add("Mul", graph.add("Unsqueeze", of_photo, [2]), graph.constant(mixture.parts_of_object))
    objects = graph.add("Add", graph.add("ArgMax", scores, axis=1, keepdims=0), np.array(1, dtype=np.int64))
    objects = graph.add("Pad", objects, [0, 1, 0, 0])  # the background's 0 before the parts
    objects = graph.add("GatherElements", objects, flat, axis=1)
    return graph.add("Reshape", objects, graph.add("Shape", parts))


def _counts(graph: Graph, flat: str, n_parts: int) -> str:
    """Cells of each part, double [B, K], from part ids [B, n], 0 = background."""
    batch = graph.add("Gather", graph.add("Shape", flat), [0])
    one, zero = (graph.constant(np.full((1, 1), value)) for value in (1.0, 0.0))
    ones = graph.add("Expand", one, graph.add("Shape", flat))
    zeros = graph.add("Expand", zero, graph.add("Concat", batch, [n_parts + 1], axis=0))
    counts = graph.add("ScatterElements", zeros, flat, ones, axis=1, reduction="add")
    return graph.add("Slice", counts, [1], [n_parts + 1], [1])


def _fold_in(graph: Graph, mixture: ObjectMixture, counts: str) -> str:
    """P(object | photo) [B, M] from counts [B, K], both double: `ObjectMixture.mixture`."""
    matrix = mixture.parts_of_object
    of_object, transposed = graph.constant(matrix), graph.constant(np.ascontiguousarray(matrix.T))
    tiny, one = (graph.constant(np.full((), value)) for value in (TINY, 1.0))
    known = graph.add("Mul", counts, graph.constant(np.asarray(matrix.any(0), np.float64)))
    shares = graph.add("Div", known, graph.add("Max", graph.add("ReduceSum", known, [1], keepdims=1), one))
    of_photo = graph.constant(np.full((1, len(matrix)), 1 / len(matrix)))
    for _ in range(FOLD_IN):
        expected = graph.add("Max", graph.add("MatMul", of_photo, of_object), tiny)
        gain = graph.add("MatMul", graph.add("Div", shares, expected), transposed)
        of_photo = graph.add("Mul", of_photo, gain)
    return of_photo


def _finer(graph: Graph, reduced: str) -> str:
    """[B, h, w, d] interpolated to [B, FINER * h, FINER * w, d], as `finer_embeddings` does it."""
    maps = graph.add("Transpose", reduced, perm=[0, 3, 1, 2])
    scales = np.array([1, 1, FINER, FINER], dtype=np.float32)
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.add("Transpose", graph.add("Resize", maps, "", scales, **how), perm=[0, 2, 3, 1])

"""A segmenter's learned part as ONNX nodes: `PartModel.label`, written once more."""

from __future__ import annotations

import numpy as np

from leopart.export.graph import Graph
from leopart.segment.part_model import FINER, PartModel


def write_part_model(graph: Graph, model: PartModel, tokens: str) -> tuple[str, str]:
    """Write the nodes from tokens to ids.

    Args:
        graph: to write into.
        model: what the segmenter has learned.
        tokens: float32 [B, h, w, D], of the graph.

    Returns:
        Part ids and object ids, int64 [B, FINER * h, FINER * w], 0 = background.
    """
    reduction = model.reduction
    # Features are stored as float16, so the ids were learned from, and are told by, rounded tokens.
    tokens = graph.cast(graph.cast(tokens, np.float16))
    reduced = graph.add("MatMul", graph.add("Sub", tokens, reduction.offset), reduction.projection)
    embeddings = _finer(graph, reduced)
    clusters = graph.add("MatMul", embeddings, model.clusters.centroids.T)
    nearest = graph.add("ArgMax", clusters, axis=-1, keepdims=0)
    foreground = graph.add("Gather", model.is_foreground, nearest)
    centroids = model.parts.centroids
    # Nearest by distance: largest x.c - |c|^2 / 2.
    scores = graph.add("MatMul", embeddings, centroids.T)
    scores = graph.add("Sub", scores, centroids.pow(2).sum(1) / 2)
    zero, one = (np.array(value, dtype=np.int64) for value in (0, 1))
    parts = graph.add("Add", graph.add("ArgMax", scores, axis=-1, keepdims=0), one)
    parts = graph.add("Where", foreground, parts, zero)
    return parts, graph.add("Gather", model.object_of_part, parts)


def _finer(graph: Graph, reduced: str) -> str:
    """[B, h, w, d] interpolated to [B, FINER * h, FINER * w, d], as `finer_embeddings` does it."""
    maps = graph.add("Transpose", reduced, perm=[0, 3, 1, 2])
    scales = np.array([1, 1, FINER, FINER], dtype=np.float32)
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.add("Transpose", graph.add("Resize", maps, "", scales, **how), perm=[0, 2, 3, 1])

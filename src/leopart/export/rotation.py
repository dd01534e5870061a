"""DINOv3's rotary positions as ONNX nodes: queries and keys of the patches are rotated by where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from leopart.export.graph import Graph, unknown


@dataclass(frozen=True)
class Rotation:
    """Sines and cosines [h * w, d] of a grid, and how a head's d channels pair up."""

    sine: str
    cosine: str
    halves: bool
    """Whether channel i turns with i + d / 2, else with its neighbour."""
    prefix: int
    """Tokens before the patches, which are not rotated."""
    width: int
    """Channels d of a head."""

    def rotated(self, graph: Graph, heads: str) -> str:
        """Queries or keys [B, heads, N, d], turned."""
        end = 2**31 - 1
        before = graph.add("Slice", heads, [0], [self.prefix], [2])
        patches = graph.add("Slice", heads, [self.prefix], [end], [2])
        # A quarter turn is a signed permutation of the channels, so it is a product with a constant.
        quarter = graph.add("MatMul", patches, _quarter_turn(self.width, self.halves))
        turned = graph.add(
            "Add", graph.add("Mul", patches, self.cosine), graph.add("Mul", quarter, self.sine)
        )
        return graph.add("Concat", before, turned, axis=2)


def write_rotation(graph: Graph, model: Any, rows: str, columns: str) -> Rotation | None:
    """Sines and cosines for a grid of rows x columns; None where positions do not rotate.

    Naive form, for a patch in row i and column j, and period p of d / 4:
        angles = 2 pi / p * (2 * (i + 0.5) / rows - 1), then the same for j and columns

    Args:
        graph: to write into.
        model: timm's.
        rows: int64 scalar of the graph.
        columns: int64 scalar of the graph.

    Raises:
        LeopartError: rotary positions of another kind than DINOv3's.

    Source: DINOv3 (Siméoni et al., 2025), as timm's `RotaryEmbeddingDinoV3` computes it.
    """
    rope = getattr(model, "rope", None)
    if rope is None:
        return None
    plain = (
        type(rope).__name__ == "RotaryEmbeddingDinoV3"
        and (rope.normalize_coords, rope.grid_offset, rope.grid_indexing) == ("separate", 0.0, "ij")
        and not getattr(model, "rope_mixed", False)
    )
    if not plain:
        raise unknown(f"rotary positions by {type(rope).__name__}")
    quarter = len(rope.periods)
    shape = graph.add(
        "Concat", *(graph.add("Unsqueeze", count, [0]) for count in (rows, columns)), [quarter], axis=0
    )
    down = graph.add("Unsqueeze", _angles(graph, rows, rope.periods), [1])  # [h, 1, d / 4]
    across = graph.add("Unsqueeze", _angles(graph, columns, rope.periods), [0])
    grid = graph.add("Concat", *(graph.add("Expand", part, shape) for part in (down, across)), axis=2)
    angles = graph.add("Reshape", grid, [-1, 2 * quarter])
    channels = np.arange(4 * quarter)
    order = channels % (2 * quarter) if rope.rotate_half else channels // 2
    sine, cosine = (graph.add("Gather", graph.add(wave, angles), order, axis=1) for wave in ("Sin", "Cos"))
    return Rotation(sine, cosine, rope.rotate_half, int(model.num_prefix_tokens), 4 * quarter)


def _angles(graph: Graph, count: str, periods: Tensor) -> str:
    """Of the cells along one axis, [count, d / 4]."""
    zero, one = (np.array(value, dtype=np.int64) for value in (0, 1))
    places = graph.add("Add", graph.cast(graph.add("Range", zero, count, one)), 0.5)
    places = graph.add("Sub", graph.add("Mul", graph.add("Div", places, graph.cast(count)), 2.0), 1.0)
    return graph.add("Mul", graph.add("Unsqueeze", places, [1]), 2 * math.pi / periods.float())


def _quarter_turn(width: int, halves: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[d, d]: x times it holds -x[partner] in a pair's first channel and x[partner] in its second."""
    turn = np.zeros((width, width), dtype=np.float32)
    first = np.arange(width // 2) if halves else np.arange(0, width, 2)
    second = first + (width // 2 if halves else 1)
    turn[second, first], turn[first, second] = -1.0, 1.0
    return turn

"""Position tables inside an ONNX graph, resampled to whatever size the image has.

The counterpart of `leopart.models.positions`. Not by ONNX's Resize: its bicubic differs between runtimes, and
none offers DINO's scale factor. Interpolation is linear in the table, so it is two matrix products with
weights that the graph works out from the number of rows and columns.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from torch import Tensor

from leopart.export.graph import Graph

Rule = Literal["timm", "bicubic", "dino"]
_REACH = 2  # of the cubic kernel to either side, in cells


def resampled_positions(graph: Graph, table: Tensor, rows: str, columns: str, rule: Rule) -> tuple[str, int]:
    """Write the nodes that bring a position table to a grid of rows x columns.

    Args:
        graph: to write into.
        table: [P + g * g, D], prefix rows first, P what is left over by the largest square.
        rows: int64 scalar of the graph.
        columns: int64 scalar of the graph.
        rule: see `leopart.models.positions`.

    Returns:
        The value [1, P + rows * columns, D], and P.
    """
    side, dim = math.isqrt(len(table)), table.shape[1]
    prefix = len(table) - side * side
    stretch = _stretch(graph, rows, columns, side) if rule == "dino" else 0.0
    grid = table[prefix:].reshape(side, side * dim)
    down = graph.add("MatMul", _weights(graph, rows, side, rule, stretch), grid)
    lines = graph.add("Reshape", down, [-1, side, dim])
    across = graph.add("MatMul", _weights(graph, columns, side, rule, stretch), lines)
    resampled = graph.add("Reshape", across, [1, -1, dim])
    if prefix:
        resampled = graph.add("Concat", table[None, :prefix], resampled, axis=1)
    return resampled, prefix


def _stretch(graph: Graph, rows: str, columns: str, side: int) -> str:
    """DINO's 0.1, and 0 where the grid is the table's own: there the table is taken as it is."""
    own = [graph.add("Equal", count, np.array(side, dtype=np.int64)) for count in (rows, columns)]
    other = graph.cast(graph.add("Not", graph.add("And", *own)))
    return graph.add("Mul", other, 0.1)


def _weights(graph: Graph, count: str, side: int, rule: Rule, stretch: str | float) -> str:
    """Interpolation along one axis as a matrix, [count, side]: row i holds the weights of target cell i.

    With a target cell's centre c in source cells, cell j weighs cubic(j - c). Without antialiasing the cells
    beyond the border repeat it; with antialiasing the kernel widens where the grid shrinks, the border is cut
    off, and the weights are brought to sum 1.
    """
    zero, one = (np.array(value, dtype=np.int64) for value in (0, 1))
    places = graph.add("Unsqueeze", graph.cast(graph.add("Range", zero, count, one)), [1])
    factor = graph.add("Div", float(side), graph.add("Add", graph.cast(count), stretch))
    centres = graph.add("Sub", graph.add("Mul", graph.add("Add", places, 0.5), factor), 0.5)
    if rule == "timm":
        distances = graph.add("Sub", np.arange(side, dtype=np.float32)[None], centres)
        distances = graph.add("Div", distances, graph.add("Max", factor, 1.0))
        weights = _cubic(graph, distances, -0.5)  # Pillow's constant, which torch takes when antialiasing
        return graph.add("Div", weights, graph.add("ReduceSum", weights, [1], keepdims=1))
    cells = np.arange(-_REACH, side + _REACH)
    weights = _cubic(graph, graph.add("Sub", cells.astype(np.float32)[None], centres), -0.75)
    repeated = np.eye(side, dtype=np.float32)[cells.clip(0, side - 1)]
    return graph.add("MatMul", weights, repeated)


def _cubic(graph: Graph, distances: str, a: float) -> str:
    """Keys' kernel of signed distances: 1 at 0, 0 at every other whole number and from 2 on.

    Source: R. Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    x = graph.add("Abs", distances)
    near = graph.add("Sub", graph.add("Mul", x, a + 2), a + 3)
    near = graph.add("Add", graph.add("Mul", graph.add("Mul", near, x), x), 1.0)
    far = graph.add("Sub", graph.add("Mul", x, a), 5 * a)
    far = graph.add("Add", graph.add("Mul", far, x), 8 * a)
    far = graph.add("Sub", graph.add("Mul", far, x), 4 * a)
    outer = graph.add("Where", graph.add("Less", x, 2.0), far, 0.0)
    return graph.add("Where", graph.add("Less", x, 1.0), near, outer)

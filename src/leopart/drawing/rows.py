"""Layout of pictures of any shape in rows of equal width: nothing is cropped, distorted or left blank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Place:
    """Place of one picture on a page, in pixels.

    Attributes:
        row: counted from 0.
        left: distance from the left edge.
        width: of the picture.
        height: of the picture; the same in all of a row.
    """

    row: int
    left: int
    width: int
    height: int


def justified(aspects: Sequence[float], columns: int, width: int, gap: int) -> list[Place]:
    """Places of pictures, in their order, so that every row is exactly as wide as the page.

    The number of rows is that of `columns` pictures a row. Rows are broken so that their heights differ least
    (sum of squared logarithms of height over mean height, by dynamic programming). Pictures of one shape, a
    multiple of `columns`, form a plain grid.

    Args:
        aspects: width over height of each picture, at least one.
        columns: approximate number of pictures in a row.
        width: of the page in pixels; each picture of a row needs at least one.
        gap: pixels between two pictures of a row.

    Returns:
        A place for each picture.
    """
    ends = _breaks(aspects, -(-len(aspects) // columns))
    places: list[Place] = []
    for row, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        shares = np.cumsum([0.0, *aspects[start:end]])
        free = width - gap * (end - start - 1)
        edges = np.rint(shares / shares[-1] * free).astype(int).tolist()
        height = max(1, round(free / float(shares[-1])))
        for index, (left, right) in enumerate(pairwise(edges)):
            places.append(Place(row, left + index * gap, max(1, right - left), height))
    return places


def _breaks(aspects: Sequence[float], rows: int) -> list[int]:
    """Where each row ends: number of pictures up to it, inclusive."""
    total = np.cumsum([0.0, *aspects])
    usual = total[-1] / rows

    def cost(start: int, end: int) -> float:
        return math.log(float(total[end] - total[start]) / usual) ** 2

    n = len(aspects)
    best = [[math.inf] * (n + 1) for _ in range(rows + 1)]
    came = [[0] * (n + 1) for _ in range(rows + 1)]
    best[0][0] = 0.0
    for row in range(1, rows + 1):
        for end in range(row, n - (rows - row) + 1):
            options = [(best[row - 1][start] + cost(start, end), start) for start in range(row - 1, end)]
            best[row][end], came[row][end] = min(options)
    ends = [n]
    for row in range(rows, 1, -1):
        ends.append(came[row][ends[-1]])
    return ends[::-1]

"""Which part lies where in a photo of the report, small enough to be embedded in the page."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 180
"""Longest side, in cells, of the map of a photo: it says what is under the pointer, not where edges run."""


@dataclass(frozen=True)
class Regions:
    """Parts of one photo, by place."""

    ids: NDArray[np.integer[Any]]
    """Part id of each cell, [h, w] in 0 .. 65535; 0 = background."""
    objects: Mapping[int, int] = field(default_factory=dict)
    """Object id of each part that the photo shows, in this photo; 0 = none."""

    @property
    def packed(self) -> str:
        """The ids as little-endian uint16, row by row, compressed by zlib, in base64."""
        return base64.b64encode(zlib.compress(self.ids.astype("<u2").tobytes(), 9)).decode("ascii")

    @property
    def size(self) -> str:
        """Width and height of the map."""
        height, width = self.ids.shape
        return f"{width} {height}"

    @property
    def table(self) -> str:
        """JSON: id and object id of each part, in the order of the ids."""
        rows = [[part, self.objects[part]] for part in sorted(self.objects)]
        return json.dumps(rows, separators=(",", ":"))

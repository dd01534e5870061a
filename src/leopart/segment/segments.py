"""The segments of a photo: regions of its foreground that hang together, each with one object.

Legend: h x w cells of the model's finer grid, S segments, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from leopart.segment.part_model import FINER

#: Bridges narrower than about twice this many cells do not join two regions.
_OPENING = 2
#: Share of the photo that a segment covers at least: about ten tokens of the usual 32 x 32.
_LEAST = 0.01
#: Cells around a segment that are its own too: one token. Outlines that follow the photo move by about that.
_REACH = FINER


@dataclass(frozen=True)
class Segments:
    """Segments of one photo.

    Attributes:
        ids: segment 1..S of each cell, 0 = none, int32 [h, w].
        directions: mean embedding of each as a unit vector, float32 [S, d].
        confidence: mean foreground margin of each: how much more often the attention covers what looks like
            this than the threshold asks for; in [-1, 1], float32 [S].
    """

    ids: NDArray[np.int32]
    directions: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def at_least(self, confidence: float) -> Segments:
        """Those of at least this confidence, numbered anew."""
        sure = self.confidence >= confidence
        table = np.concatenate([[0], np.where(sure, np.cumsum(sure), 0)]).astype(np.int32)
        return Segments(table[self.ids], self.directions[sure], self.confidence[sure])

    def painted(self, objects: NDArray[np.integer]) -> NDArray[np.int32]:
        """Object ids of all cells, int32 [h, w]: those of the segment nearest to each, 0 where none is near.

        Args:
            objects: object id of each segment, [S].
        """
        if not len(objects):
            return np.zeros(self.ids.shape, np.int32)
        distance, (rows, columns) = ndimage.distance_transform_edt(self.ids == 0, return_indices=True)
        nearest = np.where(distance <= _REACH, self.ids[rows, columns], 0)
        return np.concatenate([[0], objects]).astype(np.int32)[nearest]


def find_segments(
    foreground: NDArray[np.bool_], embeddings: NDArray[np.float32], margin: NDArray[np.float32]
) -> Segments:
    """Connected regions of the foreground, without thin bridges and without small ones.

    Args:
        foreground: [h, w].
        embeddings: [h, w, d].
        margin: foreground margin of each cell, [h, w].
    """
    opened = ndimage.binary_opening(foreground, iterations=_OPENING)
    regions, found = ndimage.label(opened)
    large = np.bincount(regions.ravel(), minlength=found + 1) >= _LEAST * foreground.size
    large[0] = False
    ids = np.where(large, np.cumsum(large), 0).astype(np.int32)[regions]
    masks = [ids == number for number in range(1, int(large.sum()) + 1)]
    means = np.array([embeddings[mask].mean(0) for mask in masks]).reshape(-1, embeddings.shape[-1])
    length = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    confidence = np.array([margin[mask].mean() for mask in masks], np.float32)
    return Segments(ids, (means / length).astype(np.float32), confidence)

"""What a folder shows: things on a background, scenes, or texture. Decided from the photos alone.

Things are seldom cut off by the border of a photo. Where the foreground is about as frequent at the border as
in the middle, it is no thing: the attention picked some of the ground, and the rest is as worth segmenting.

Legend: h x w tokens, C clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Width of the border, and of what lies around the middle, as shares of a side.
_BORDER, _AROUND = 1 / 16, 1 / 4
#: From this ratio on the foreground is no thing, and from this on it does not care for the place at all.
#: Things had 0.05 to 0.25, street scenes 0.5, micrographs 1.2: see results/masks.md.
_SCENES, _TEXTURE = 0.4, 0.9


@dataclass
class PlaceCounts:
    """Tokens of each cluster at the border and in the middle of the photos, one photo at a time.

    Attributes:
        border: [C] int64.
        middle: [C] int64.
        photos: number of photos.
    """

    n_clusters: int
    photos: int = 0
    border: NDArray[np.int64] = field(init=False)
    middle: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.border, self.middle = np.zeros((2, self.n_clusters), np.int64)

    def add(self, ids: NDArray[np.integer]) -> None:
        """Count one photo: cluster ids [h, w]."""
        inner, middle = (_inside(ids, share) for share in (_BORDER, _AROUND))
        everywhere, within, centre = (
            np.bincount(cells.ravel(), minlength=self.n_clusters) for cells in (ids, inner, middle)
        )
        self.border += everywhere - within
        self.middle += centre
        self.photos += 1

    def border_ratio(self, is_foreground: NDArray[np.bool_]) -> float:
        """Share of the border that is foreground by that of the middle; 0 = things never touch the border."""
        at_border = self.border[is_foreground].sum() / max(self.border.sum(), 1)
        in_middle = self.middle[is_foreground].sum() / max(self.middle.sum(), 1)
        return float(at_border / max(in_middle, 1e-9))


@dataclass(frozen=True)
class FolderKind:
    """What a folder shows, and by what it was decided.

    Attributes:
        border_ratio: see `PlaceCounts.border_ratio`.
    """

    border_ratio: float

    @property
    def name(self) -> Literal["things", "scenes", "texture"]:
        """Things on a background; scenes, in which everything is something; or texture."""
        if self.border_ratio < _SCENES:
            return "things"
        return "scenes" if self.border_ratio < _TEXTURE else "texture"


def _inside(ids: NDArray[np.integer], share: float) -> NDArray[np.integer]:
    """The map without a border of this share of its sides, one cell at least."""
    rows, columns = (max(1, round(side * share)) for side in ids.shape)
    return ids[rows : ids.shape[0] - rows, columns : ids.shape[1] - columns]

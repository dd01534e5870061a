"""Statistics of every part over all photos: area, neighbours and its best patches.

Legend: K parts, N photos.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.cooccurrence import Cooccurrence

#: Groups of photos that the bootstrap of the number of objects draws from.
FOLDS = 20


@dataclass(frozen=True, order=True)
class Patch:
    """A place in a photo that shows a part well.

    Attributes:
        score: how near its embedding is to the part's centroid; larger is nearer.
        photo: index of the photo.
        y: centre, as a fraction of the photo's height.
        x: centre, as a fraction of the photo's width.
    """

    score: float
    photo: int
    y: float
    x: float


@dataclass
class PartSurvey:
    """Running statistics of K parts, one photo at a time.

    Attributes:
        n_parts: K.
        pixels: grid cells of each part over all photos, [K] int64.
        photos: number of photos that show each part, [K] int64.
        cells: grid cells seen, background included.
        counts: grid cells of each part in each photo that was added, [N, K] int32.
        halves: the same of its left and its right half, [N, 2, K] int32.
        folds: co-occurrence of the parts in disjoint groups of photos.
        patches: up to `patches_per_part` best patches of each part, at most one a photo.
    """

    n_parts: int
    patches_per_part: int = 8
    pixels: NDArray[np.int64] = field(init=False)
    photos: NDArray[np.int64] = field(init=False)
    cells: int = 0
    folds: list[Cooccurrence] = field(init=False)
    patches: list[list[Patch]] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels, self.photos = np.zeros((2, self.n_parts), np.int64)
        self.folds = [Cooccurrence(self.n_parts) for _ in range(FOLDS)]
        self.patches = [[] for _ in range(self.n_parts)]
        self._halves: list[NDArray[np.int32]] = []

    @property
    def halves(self) -> NDArray[np.int32]:
        """See the class."""
        return np.array(self._halves, np.int32).reshape(-1, 2, self.n_parts)

    @property
    def counts(self) -> NDArray[np.int32]:
        """See the class."""
        return np.asarray(self.halves.sum(1), np.int32)

    def add(self, photo: int, fold: int, ids: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        """Count one photo.

        Args:
            photo: its index.
            fold: the group it belongs to.
            ids: parts 0..K-1 of its grid cells, -1 = background, [h, w].
            scores: how near each cell is to its part's centroid, [h, w]; background is ignored.
        """
        middle = ids.shape[1] // 2
        halves = [
            np.bincount(half[half >= 0], minlength=self.n_parts)
            for half in (ids[:, :middle], ids[:, middle:])
        ]
        self._halves.append(np.array(halves, np.int32))
        counts = halves[0] + halves[1]
        self.pixels += counts
        self.photos += counts > 0
        self.cells += ids.size
        self.folds[fold].add(ids)
        height, width = ids.shape
        for part, cell in _best_cells(ids, scores):
            y, x = divmod(cell, width)
            patch = Patch(float(scores[y, x]), photo, (y + 0.5) / height, (x + 0.5) / width)
            self._keep(part, patch)

    def best_patches(self, part: int) -> list[Patch]:
        """Patches of one part, the best first."""
        return sorted(self.patches[part], reverse=True)

    def reordered(self, order: NDArray[np.int64]) -> PartSurvey:
        """The same with part `order[i]` called i; the folds, which have done their work, are left out."""
        copy = PartSurvey(self.n_parts, self.patches_per_part)
        copy.pixels, copy.photos, copy.cells = self.pixels[order], self.photos[order], self.cells
        copy.patches = [self.patches[part] for part in order]
        copy._halves = [halves[:, order] for halves in self._halves]
        return copy

    def _keep(self, part: int, patch: Patch) -> None:
        heap = self.patches[part]
        if len(heap) < self.patches_per_part:
            heapq.heappush(heap, patch)
        else:
            heapq.heappushpop(heap, patch)


def _best_cells(ids: NDArray[np.integer], scores: NDArray[np.floating]) -> list[tuple[int, int]]:
    """(part, flat index of its best cell, the first of equal ones) for every part in the photo."""
    flat, fit = ids.ravel(), scores.ravel()
    cells = np.flatnonzero(flat >= 0)
    parts, fit = flat[cells], fit[cells]
    best = np.full(int(flat.max(initial=-1)) + 1, -np.inf, fit.dtype)
    np.maximum.at(best, parts, fit)
    ties = np.flatnonzero(fit == best[parts])
    found, first = np.unique(parts[ties], return_index=True)
    return [(int(part), int(cells[ties[i]])) for part, i in zip(found, first, strict=True)]

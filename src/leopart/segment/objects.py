"""Objects of the photos: kinds of segments where there are things, otherwise kinds of parts.

Legend: N photos, S segments of all photos, K parts, M objects, d dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.contexts import Membership
from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.spectral import spectral_embedding
from leopart.clustering.tree import NUMBERS, Labels, StableNumber, Tree, average_tree, stable_number
from leopart.segment.segments import Segments

Rows = NDArray[np.float32]

#: Segments that a tree is made of, at most: its time grows with their square.
_MOST_SEGMENTS = 4000
#: Points by which the parts of two halves of the photos are compared.
_POINTS = 5000
#: Points per part while comparing.
_POINTS_PER_PART = 128


@dataclass(frozen=True)
class FoundObjects:
    """Objects, and the evidence for their number.

    Attributes:
        objects: object 0..M-1 of each of the things that were clustered.
        curve: see `StableNumber`; empty where the number was given.
    """

    objects: Labels
    curve: tuple[tuple[int, float], ...] = ()


@dataclass
class SegmentSurvey:
    """The segments of all photos, one photo at a time.

    Attributes:
        n_parts: K.
        n_photos: photos so far, those without a segment included.
        directions: of each segment, unit rows [S, d].
        photos: number of its photo, 0.. in the order they came, [S].
        parts: grid cells of each part in it, [S, K].
    """

    n_parts: int

    def __post_init__(self) -> None:
        self._directions: list[Rows] = []
        self._photos: list[int] = []
        self._parts: list[NDArray[np.int32]] = []
        self.n_photos = 0

    def add(self, segments: Segments, parts: NDArray[np.integer]) -> None:
        """Count one photo: its segments, and part ids 0 = none, 1..K of the same cells [h, w]."""
        shape = len(segments.directions) + 1, self.n_parts + 1
        cells = np.ravel_multi_index((segments.ids.ravel(), parts.ravel()), shape)
        counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)[1:, 1:]
        self._directions.append(segments.directions)
        self._parts.extend(counts.astype(np.int32))
        self._photos.extend([self.n_photos] * len(segments.directions))
        self.n_photos += 1

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def directions(self) -> Rows:
        """See the class."""
        return np.concatenate(self._directions)

    @property
    def photos(self) -> Labels:
        """See the class."""
        return np.array(self._photos, np.int64)

    def membership(self, objects: Labels) -> Membership:
        """How much of each part each object has, given the object 0.. of each segment."""
        cells, photos = np.zeros((2, int(objects.max()) + 1, self.n_parts), np.int64)
        parts = np.array(self._parts)
        np.add.at(cells, objects, parts)
        for number in range(len(photos)):
            mine = np.flatnonzero(objects == number)
            seen = {(self._photos[i], int(part)) for i in mine for part in np.flatnonzero(parts[i])}
            np.add.at(photos[number], [part for _, part in seen], 1)
        return Membership(cells, photos)


def kinds_of_segments(
    directions: Rows, photos: Labels, n_photos: int, number: int | None, *, most: int, seed: int
) -> tuple[KMeans, FoundObjects]:
    """Cluster the segments of all photos; an object is a cluster.

    Segments are joined along chains of neighbours (spectral embedding, then a tree); what is kept of an
    object is the mean direction of its segments, and every segment has the object nearest to it, in these
    photos as in later ones.

    Args:
        directions: unit rows, [S, d]. Of more than 4,000, a random choice makes the objects.
        photos: the photo 0.. of each, [S].
        n_photos: photos, those without a segment included.
        number: of objects; None = the one that `stable_number` finds.
        most: objects, at most, where their number is free.
        seed: of the choice and of the splits.
    """
    chosen = np.arange(len(directions))
    if len(chosen) > _MOST_SEGMENTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(chosen), _MOST_SEGMENTS, replace=False))
    rows, of_photo = directions[chosen], photos[chosen]

    def labels_from(half: NDArray[np.bool_]) -> Callable[[int], Labels]:
        own = rows[half[of_photo]]
        tree = _segment_tree(own)
        return lambda wanted: nearest(mean_directions(own, tree.cut(wanted)), rows)

    fewest = len(rows) // 4  # either half has more, but for a freak of chance
    numbers = [count for count in NUMBERS if count <= min(most, fewest)] or [1]
    curve: tuple[tuple[int, float], ...] = ()
    if number is None:
        found = stable_number(labels_from, n_photos, numbers, seed=seed)
        number, curve = found.number, found.curve
    prototypes = mean_directions(rows, _segment_tree(rows).cut(number))
    used = np.unique(nearest(prototypes, directions))
    kept = KMeans(torch.from_numpy(prototypes[used]), spherical=True, objective=float("nan"))
    return kept, FoundObjects(nearest(prototypes[used], directions), curve)


def kinds_of_parts(
    parts: KMeans,
    points: Tensor,
    photos: Labels,
    number: int | None,
    *,
    most: int,
    seed: int,
) -> FoundObjects:
    """Join parts that look alike; an object is a cluster of parts.

    Args:
        parts: K parts.
        points: embeddings of many photos, [n, d].
        photos: the photo 0.. of each, [n].
        number: see `kinds_of_segments`.
        most: see `kinds_of_segments`.
        seed: of the clusterings and of the splits.
    """
    tree = average_tree(parts.centroids.numpy())
    if number is not None:
        return FoundObjects(tree.cut(number))
    random = np.random.default_rng(seed)
    shown = points[torch.from_numpy(random.permutation(len(points))[:_POINTS])]

    def labels_from(half: NDArray[np.bool_]) -> Callable[[int], Labels]:
        own = points[torch.from_numpy(half[photos])]
        few = kmeans(
            own, len(parts.centroids), seed=seed, restarts=1, max_points_per_centroid=_POINTS_PER_PART
        )
        names, of_half = few.assign(shown).numpy(), average_tree(few.centroids.numpy())
        return lambda wanted: np.asarray(of_half.cut(wanted)[names])

    numbers = [count for count in NUMBERS if count <= min(most, len(parts.centroids) - 1)] or [1]
    found: StableNumber = stable_number(labels_from, int(photos.max()) + 1, numbers, seed=seed)
    return FoundObjects(tree.cut(found.number), found.curve)


def mean_directions(rows: Rows, clusters: Labels) -> Rows:
    """Mean of each cluster's rows as a unit row, [M, d]."""
    sums = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    length = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.asarray(sums / length, np.float32)


def nearest(prototypes: Rows, rows: Rows) -> Labels:
    """The prototype of largest inner product for each row, [S]."""
    return np.asarray((rows @ prototypes.T).argmax(1), np.int64)


def _segment_tree(rows: Rows) -> Tree:
    return average_tree(spectral_embedding(rows))

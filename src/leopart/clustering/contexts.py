"""Parts in context: one part can belong to several objects, and the parts around it decide which.

A wheel is a car's in one photo and a bus's in the next. Communities give it to one of the two everywhere.
Probabilistic latent semantic analysis lets it be both: photos are documents, parts are words, objects are
topics, and the communities are where it starts from.

Legend: D photos, K parts, M objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer] | NDArray[np.float64]
Probabilities = NDArray[np.float64]

#: Steps of EM on one photo. So many always, not until convergence, so that every runtime does the same.
FOLD_IN = 50
#: Stands for 0 in a division, where the other side of it is 0.
TINY = 1e-300
#: Share of every part in every object at the start: what starts at 0 stays at 0.
_SMOOTHING = 0.05
#: Photos whose probabilities are held at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class ObjectMixture:
    """Which parts an object consists of, as probabilities; a part may have some in several objects.

    Attributes:
        parts_of_object: P(part | object), [M, K] float64; rows sum to 1.

    Source: Hofmann, Probabilistic latent semantic analysis, UAI 1999; a new photo is "folded in".
    """

    parts_of_object: Probabilities

    def mixture(self, counts: Counts) -> Probabilities:
        """P(object | photo) of photos on their own: `FOLD_IN` steps of EM from all objects alike.

        Naively, with `s = counts / sum(counts)` and `m[o] = 1 / M`, repeat

            m[o] = m[o] * sum over p of  s[p] * P(p | o) / (sum over q of m[q] * P(p | q))

        Args:
            counts: cells of each part, [..., K]; parts that no object has are ignored.

        Returns:
            float64 [..., M], sums of 1; all alike where there is no part.
        """
        of_object = self.parts_of_object
        known = np.where(of_object.any(0), counts, 0).astype(np.float64)
        total = known.sum(-1, keepdims=True)
        shares = known / np.maximum(total, 1)
        mixture = np.full((*shares.shape[:-1], len(of_object)), 1 / len(of_object))
        even = mixture
        for _ in range(FOLD_IN):
            mixture = mixture * ((shares / np.maximum(mixture @ of_object, TINY)) @ of_object.T)
        return np.where(total > 0, mixture, even)

    def assign(self, counts: Counts) -> NDArray[np.int64]:
        """Object of every part in a photo: argmax over o of P(o | photo) * P(part | o).

        Args:
            counts: cells of each part, [..., K].

        Returns:
            int64 [..., K], 0..M-1, also for parts that are not there; of equal ones the lowest.
        """
        mixture = self.mixture(counts)
        best, objects = np.full(np.shape(counts), -1.0), np.zeros(np.shape(counts), np.int64)
        for number, parts in enumerate(self.parts_of_object):
            scores = mixture[..., number, None] * parts
            objects[scores > best] = number
            best = np.maximum(best, scores)
        return objects

    def reordered(self, objects: NDArray[np.int64], parts: NDArray[np.int64]) -> ObjectMixture:
        """The same with object `objects[i]` called i and part `parts[i]` called i; some may be left out."""
        return ObjectMixture(np.ascontiguousarray(self.parts_of_object[objects][:, parts]))


@dataclass(frozen=True)
class Membership:
    """How much of every part each object has in some photos.

    Attributes:
        cells: grid cells of part p where it is object o's, [M, K] int64.
        photos: photos in which there are such, [M, K] int64.
    """

    cells: NDArray[np.int64]
    photos: NDArray[np.int64]

    @property
    def main_object(self) -> NDArray[np.int64]:
        """The object that has most of each part, 0..M-1, [K] int64; of equal ones the lowest."""
        return np.asarray(self.cells.argmax(0), np.int64)

    @property
    def shared(self) -> NDArray[np.int64]:
        """Parts 0..K-1 that more than one object has, int64."""
        return np.flatnonzero((self.photos > 0).sum(0) > 1)

    def reordered(self, objects: NDArray[np.int64], parts: NDArray[np.int64]) -> Membership:
        """See `ObjectMixture.reordered`."""
        return Membership(self.cells[objects][:, parts], self.photos[objects][:, parts])


def membership(mixture: ObjectMixture, counts: Counts) -> Membership:
    """Give every part of every photo to an object, and count.

    Args:
        mixture: of K parts.
        counts: cells of each part in each photo, [D, K].
    """
    cells, photos = np.zeros((2, *mixture.parts_of_object.shape), np.int64)
    for start in range(0, len(counts), _BLOCK):
        block = np.asarray(counts[start : start + _BLOCK], np.int64)
        objects = mixture.assign(block)
        for number in range(len(cells)):
            own = np.where(objects == number, block, 0)
            cells[number] += own.sum(0)
            photos[number] += (own > 0).sum(0)
    return Membership(cells, photos)


def fit_mixture(
    counts: Counts, object_of_part: NDArray[np.integer], *, steps: int = 300, tolerance: float = 1e-7
) -> ObjectMixture:
    """Learn from the photos which parts make up an object, starting from communities of parts.

    At the start an object consists of its community's parts, each as likely as it is large, and of a little
    of everything; parts of no community are spread over all objects. Every photo starts as all objects alike.
    Then steps of EM raise the likelihood of the counts, see `em_step`.

    Args:
        counts: cells of each part in each photo, [D, K], >= 0.
        object_of_part: community of each part, [K]; 0 = none, 1..M.
        steps: of EM, at most.
        tolerance: stop when the log-likelihood of a cell grows by less.

    Returns:
        M objects. A part that no photo shows has probability 0 in all of them.

    Raises:
        ValueError: there is no community.

    Source: Hofmann, Probabilistic latent semantic analysis, UAI 1999. The start from communities is ours: it
    makes the outcome one with no random choice in it.
    """
    n_objects = int(np.max(object_of_part, initial=0))
    if n_objects < 1:
        raise ValueError("a mixture of objects needs at least one community")
    of_object = _start(np.asarray(counts).sum(0, dtype=np.float64), object_of_part, n_objects)
    of_photo = np.full((len(counts), n_objects), 1 / n_objects)
    before, cells = -np.inf, max(float(np.sum(counts, dtype=np.float64)), 1)
    for _ in range(steps):
        of_photo, of_object, likelihood = em_step(counts, of_photo, of_object)
        if likelihood - before < tolerance * cells:
            break
        before = likelihood
    return ObjectMixture(of_object)


def em_step(
    counts: Counts, of_photo: Probabilities, of_object: Probabilities
) -> tuple[Probabilities, Probabilities, float]:
    """One step of expectation maximisation.

    Naively, with P(o | d, p) = P(o | d) P(p | o) / (sum over all objects of the same):

        P(o | d)  is proportional to  sum over p of  counts[d, p] * P(o | d, p)
        P(p | o)  is proportional to  sum over d of  counts[d, p] * P(o | d, p)

    Photos without a part and objects without a cell stay as they are.

    Args:
        counts: cells of each part in each photo, [D, K].
        of_photo: P(o | d), [D, M]; rows sum to 1.
        of_object: P(p | o), [M, K]; rows sum to 1.

    Returns:
        Both after the step, and the log-likelihood before it: the sum of `counts * log P(p | d)`.
    """
    photos, objects, likelihood = np.empty_like(of_photo), np.zeros_like(of_object), 0.0
    for start in range(0, len(counts), _BLOCK):
        block = slice(start, start + _BLOCK)
        cells, old = np.asarray(counts[block], np.float64), of_photo[block]
        expected = np.maximum(old @ of_object, TINY)
        ratio = cells / expected
        photos[block] = _normalised(old * (ratio @ of_object.T), old)
        objects += old.T @ ratio
        likelihood += float((cells * np.log(expected)).sum())
    return photos, _normalised(of_object * objects, of_object), likelihood


def _start(area: Probabilities, object_of_part: NDArray[np.integer], n_objects: int) -> Probabilities:
    """P(part | object) of communities, [M, K]."""
    share = area / max(area.sum(), 1)
    own = n_objects * share * (object_of_part == np.arange(1, n_objects + 1)[:, None])
    nobodys = np.where(object_of_part == 0, share, 0.0)
    weights = _SMOOTHING / len(area) + own + nobodys
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _normalised(weights: Probabilities, otherwise: Probabilities) -> Probabilities:
    """Rows that sum to 1; a row without weight is that of `otherwise`."""
    total = weights.sum(1, keepdims=True)
    return np.where(total > 0, weights / np.maximum(total, TINY), otherwise)

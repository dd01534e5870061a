"""How many objects and parts, where parts have contexts: the numbers that best predict what photos show.

The parts in one half of a photo suggest which objects it shows, and these predict the parts in the other
half. With too few objects, the predicted parts do not go together; with too many, each object is learned from
too few photos, and the two halves of one object become two. So the best number lies in between, and no label
is needed.

Small parts are harder to predict, so numbers of parts are compared by their gain: how much better the
prediction is than the parts' frequencies. That is the information one half of a photo has about the other.

Legend: D photos, K parts, M objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.communities import detect_communities
from leopart.clustering.contexts import ObjectMixture, Probabilities, fit_mixture

#: 1 / Markov times to choose from: prediction can also judge communities finer than those of Markov time 1.
CANDIDATES = (1 / 3, 1 / 2, 1 / 1.5, 1 / 1.25, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
#: Groups of photos; each is predicted by what was learned from the others.
_GROUPS = 5
#: Steps of EM while comparing: enough for that, and the last decimals cost the most.
_STEPS = 50
#: Weight of the parts' frequencies in the prediction, so that no part is impossible.
_SURPRISE = 0.05


@dataclass(frozen=True)
class Prediction:
    """Communities of a candidate, and how well they predict.

    Attributes:
        resolution: 1 / Markov time.
        object_of_part: [K] int64; 0 = none, 1..M.
        score: mean over photos of the log-probability of a cell's part, in nats; nearer to 0 is better.
        scores: of each photo, [D]; NaN where only one half shows a part.
        gains: the scores less those of the parts' frequencies, in nats, [D]; NaN likewise.
    """

    resolution: float
    object_of_part: NDArray[np.int64]
    score: float
    scores: NDArray[np.float64]
    gains: NDArray[np.float64]

    @property
    def n_objects(self) -> int:
        """M."""
        return int(self.object_of_part.max(initial=0))

    @property
    def gain(self) -> float:
        """Mean of the gains."""
        return float(np.nanmean(self.gains))


def predictions(
    edges: NDArray[np.float64],
    halves: NDArray[np.integer],
    *,
    engine: str,
    most_objects: int,
    seed: int,
) -> list[Prediction]:
    """Every candidate of 2 to `most_objects` objects, coarse to fine; those of equal partitions once.

    Args:
        edges: of the co-occurrence graph, see `cooccurrence.edge_list`.
        halves: cells of each part in the left and in the right half of each photo, [D, 2, K].
        engine: `map-equation` or `infomap`.
        most_objects: no candidate has more.
        seed: of the engine, and of the groups of photos.
    """
    groups = np.random.default_rng(seed).permutation(len(halves)) % _GROUPS
    usual = frequency_scores(halves, groups)
    found: list[Prediction] = []
    for resolution in CANDIDATES:
        objects = detect_communities(
            edges, halves.shape[2], engine=engine, resolution=resolution, keep_isolated=True, seed=seed
        )
        known = any(np.array_equal(objects, other.object_of_part) for other in found)
        if 2 <= objects.max(initial=0) <= most_objects and not known:
            scores = prediction_scores(halves, objects, groups)
            if not np.isnan(scores).all():
                mean = float(np.nanmean(scores))
                found.append(Prediction(resolution, objects, mean, scores, scores - usual))
    return found


def best_prediction(found: Sequence[Prediction]) -> Prediction:
    """The coarsest whose score is within one standard error of the difference to the best.

    Raises:
        ValueError: there is none.
    """
    best = max(found, key=lambda candidate: candidate.score)
    return next(candidate for candidate in found if _as_good(candidate.scores, best.scores))


def most_informative(found: Mapping[int, Prediction]) -> int:
    """The smallest number of parts whose gain is within one standard error of the difference to the best.

    Args:
        found: the best prediction of each number of parts, from the same photos.

    Raises:
        ValueError: there is none.
    """
    best = max(found.values(), key=lambda candidate: candidate.gain)
    return min(number for number, candidate in found.items() if _as_good(candidate.gains, best.gains))


def _as_good(scores: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    difference = best - scores
    difference = difference[~np.isnan(difference)]
    return bool(difference.mean() <= difference.std() / len(difference) ** 0.5)


def prediction_scores(
    halves: NDArray[np.integer], object_of_part: NDArray[np.integer], groups: NDArray[np.integer]
) -> NDArray[np.float64]:
    """How well each half of a photo predicts the other, with objects learned from other groups of photos.

    Naively, for each photo, with `m` = P(object | its left half) and P(part | object) of the other groups:

        mean over the cells of the right half of  log(0.95 * sum over o of m[o] P(part | o) + 0.05 P(part))

    and the same from right to left; the score is the mean of the two.

    Args:
        halves: cells of each part in the halves of each photo, [D, 2, K].
        object_of_part: community of each part, [K]; 0 = none, 1..M.
        groups: of each photo, [D] int.

    Returns:
        Nats, [D] <= 0; NaN where only one half shows a part.
    """
    scores = np.full(len(halves), np.nan)
    both = (halves.sum(2) > 0).all(1)
    for group in np.unique(groups):
        others = halves[groups != group].sum(1)
        here = (groups == group) & both
        if not here.any() or not others.any():
            continue
        mixture = fit_mixture(others, object_of_part, steps=_STEPS)
        frequent = _frequent(others)
        left, right = halves[here, 0], halves[here, 1]
        there = _log_likelihood(mixture, frequent, left, right)
        scores[here] = (there + _log_likelihood(mixture, frequent, right, left)) / 2
    return scores


def frequency_scores(halves: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """The same for a prediction by the parts' frequencies in the other groups, whatever a half shows."""
    scores = np.full(len(halves), np.nan)
    both = (halves.sum(2) > 0).all(1)
    for group in np.unique(groups):
        others = halves[groups != group].sum(1)
        here = (groups == group) & both
        if here.any() and others.any():
            logs = np.log(_frequent(others))
            scores[here] = ((halves[here] * logs).sum(2) / halves[here].sum(2)).mean(1)
    return scores


def _frequent(counts: NDArray[np.integer]) -> Probabilities:
    """P(part), with one cell more of each, so that none is impossible."""
    return np.asarray((counts.sum(0) + 1) / (counts.sum() + counts.shape[1]))


def _log_likelihood(
    mixture: ObjectMixture, frequent: Probabilities, seen: NDArray[np.integer], hidden: NDArray[np.integer]
) -> NDArray[np.float64]:
    parts = mixture.mixture(seen) @ mixture.parts_of_object
    logs = np.log((1 - _SURPRISE) * parts + _SURPRISE * frequent)
    return np.asarray((hidden * logs).sum(1) / hidden.sum(1))

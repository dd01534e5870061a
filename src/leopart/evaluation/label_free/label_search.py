"""Settings chosen with labels, as in the paper: the foreground threshold, and those of communities.

These settings have seen labels: a score on the same photos is not the score of a method without labels.

Legend: n photos, K clusters, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from leopart.errors import LeopartError
from leopart.evaluation.label_free.foreground import Floats, Ids
from leopart.evaluation.label_free.objects import (
    ForegroundPhotos,
    Tally,
    Truth,
    communities,
    count,
    merged,
    part_tally,
)
from leopart.evaluation.label_free.published import Published
from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.confusion import Labels
from leopart.evaluation.metrics.matching import hungarian
from leopart.progress import Track, silent

#: Least and largest share of the clusters that becomes background, those of least precision first.
_BACKGROUND = (0.55, 0.75)
#: Thresholds are multiples of this.
_STEP = 0.05
#: Search space of communities, each as from, to, step: percent, tenths, clusters.
_EDGES, _MARKOV, _CLUSTERS = (1, 10, 1), (1, 20, 1), (99, 249, 10)
_TPE_SEED = 1000


@dataclass(frozen=True)
class ThresholdSearch:
    """Foreground Jaccard at each cut between clusters in the order of their precision.

    Attributes:
        threshold: the precision at the best cut, to the nearest 0.05.
        thresholds: clusters of at least this precision are foreground, ascending, [K].
        jaccard: mean over the photos at that threshold, [K] in [0, 1].
    """

    threshold: float
    thresholds: Floats
    jaccard: Floats


def search_threshold(
    photos: Iterable[tuple[Ids, Labels]], precision: Floats, *, background: int = 0, side: int = 100
) -> ThresholdSearch:
    """The foreground threshold that agrees best with labels.

    Naive form, for each number s of clusters from 55 % to 75 % of all:
        foreground = all clusters except the s of least precision
        mean over the photos of |foreground & truth| / |foreground | truth|

    Args:
        photos: clusters 0 .. K-1 of a photo's tokens, [h, w], and its class rows, [H, W]; every row except
            `background` is foreground, void as well. Clusters are resized to `side`, then to [H, W], by
            nearest.
        precision: of each cluster, [K], see `list_precisions`.
        background: row of the background class.
        side: see above.

    Raises:
        ValueError: there are no photos.

    Source: Leopart's evaluation (`find_good_threshold`), which searches on PASCAL VOC train.
    """
    order = np.argsort(precision, kind="stable")
    total, n_photos = np.zeros(len(order)), 0
    for ids, labels in photos:
        size = (labels.shape[0], labels.shape[1])
        total += _jaccard_at_cuts(nearest(nearest(ids, side), size), labels != background, order)
        n_photos += 1
    if not n_photos:
        raise ValueError("there is no photo to search on")
    first, last = (round(share * len(order)) for share in _BACKGROUND)
    last = min(last, len(order) - 1)
    jaccard = total / n_photos
    best = precision[order[first + int(jaccard[first : last + 1].argmax())]]
    return ThresholdSearch(round(round(best / _STEP) * _STEP, 2), precision[order], jaccard)


def _jaccard_at_cuts(ids: Ids, truth: npt.NDArray[np.bool_], order: Ids) -> Floats:
    """Jaccard of one photo with the clusters order[s:] as foreground, for s = 0 .. K-1."""
    pixels = np.bincount(ids.ravel(), minlength=len(order))[order]
    hits = np.bincount(ids[truth], minlength=len(order))[order]
    found, both = (np.cumsum(counts[::-1])[::-1] for counts in (pixels, hits))
    union = found + np.count_nonzero(truth) - both
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, with their mean IoU in [0, 1]."""

    clusters: int
    markov_time: float
    edge: float
    miou: float


def search_communities(
    photos: ForegroundPhotos,
    truth: Truth,
    recipe: Published,
    *,
    engine: str,
    trials: int,
    track: Track = silent,
) -> tuple[Trial, ...]:
    """Try settings of community detection, by Optuna's tree-structured Parzen estimator.

    Edge probability 0.01 .. 0.10 in steps of 0.01, Markov time 0.1 .. 2.0 in steps of 0.1, clusters 99 .. 249
    in steps of 10. K-means runs once for each number of clusters. A class without pixels counts 0.

    Args:
        photos: all that are clustered.
        truth: labels of the photos to search on; None for the others.
        recipe: the other settings.
        engine: see `detect_communities`.
        trials: number of settings to try.
        track: progress, one step a trial.

    Returns:
        All trials in their order; `best` picks one.

    Raises:
        LeopartError: Optuna is not installed.
        ValueError: nothing is foreground.

    Source: Leopart's evaluation, 300 trials on PASCAL VOC train with the sampler's seed 1000.
    """
    points = photos.pool(_CLUSTERS[1], track)
    counted: dict[int, Tally] = {}

    def score(clusters: int, markov_time: float, edge: float) -> float:
        tried = replace(recipe, clusters=clusters, markov_time=markov_time, edge=edge)
        if clusters not in counted:
            counted[clusters] = part_tally(points, truth.num_classes, tried)
            count(photos, [counted[clusters]], truth.labels)
        tally = counted[clusters]
        modules = communities(tally, tried, engine=engine, seed=0)
        return hungarian(merged(tally.confusion.matrix, modules), truth.background).miou

    return optimise(score, trials, track)


def optimise(
    score: Callable[[int, float, float], float], trials: int, track: Track = silent
) -> tuple[Trial, ...]:
    """Search settings (clusters, Markov time, edge probability) with a high `score`.

    Raises:
        LeopartError: Optuna is not installed.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=_TPE_SEED))
    done = []
    for _ in track(range(trials), trials, "search"):
        asked = study.ask()
        # Whole numbers, so that 0.07 is 7 / 100 and not a sum of steps.
        settings = (
            _suggest(asked.suggest_int, "clusters", _CLUSTERS),
            _suggest(asked.suggest_int, "markov time", _MARKOV) / 10,
            _suggest(asked.suggest_int, "edge", _EDGES) / 100,
        )
        done.append(Trial(*settings, score(*settings)))
        study.tell(asked, done[-1].miou)
    return tuple(done)


def _suggest(suggest: Callable[..., int], name: str, bounds: tuple[int, int, int]) -> int:
    low, high, step = bounds
    return int(suggest(name, low, high, step=step))


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the largest mean IoU; the first one of equals."""
    return max(trials, key=lambda trial: trial.miou)


def require_optuna() -> None:
    """Check that the search can run.

    Raises:
        LeopartError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise LeopartError(
            'Optuna is not installed: pip install "leopart[tune]", or leave --tune-on-labels out'
        )

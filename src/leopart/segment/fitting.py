"""From a store of features to parts and objects, in eight steps; no label is read anywhere.

1. Standardise and reduce the tokens (PCA), fitted on a sample.
2. Cluster all tokens (spherical k-means).
3. Foreground: keep the clusters that agree with the CLS attention (CBFE).
4. Cluster the foreground's interpolated embeddings: parts.
5. Count which parts lie beside which, their areas and best patches.
6. Communities of that graph: objects.
7. Let a part's object in a photo depend on the parts around it.
8. Communities of the objects: scene groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.communities import engine_name
from leopart.clustering.contexts import Membership, fit_mixture, membership
from leopart.clustering.foreground import ClusterCounts, ForegroundCut, agreeing_cut
from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.prediction import Prediction, best_prediction, most_informative, predictions
from leopart.clustering.reduce import Reduction, fit_reduction
from leopart.clustering.sampling import RandomShare
from leopart.clustering.scenes import scene_groups
from leopart.clustering.stability import Communities, find_objects, numbers_of_objects
from leopart.config.method import FitSettings
from leopart.errors import LeopartError
from leopart.features.store import FeatureStore
from leopart.models.attention import attention_mask
from leopart.parallel import side_by_side
from leopart.progress import Track, silent
from leopart.segment.part_model import FINER, PartModel, finer_embeddings
from leopart.segment.survey import FOLDS, PartSurvey

#: Tokens that the reduction is fitted on, at most.
_SAMPLE = 100_000
#: Clusters of all tokens for the foreground, as in the paper. Fewer where tokens are few: the attention is
#: noisy, and a cluster's precision is an average that needs tokens from several photos.
_CLUSTERS = 200
_FEWEST_CLUSTERS = 8
_TOKENS_PER_CLUSTER = 400
#: Share of the attention's mass that the noisy foreground masks keep, as in the paper.
_ATTENTION_KEPT = 0.65
_POINTS_PER_CENTROID = 256
#: Photos an object that contexts are learned from, at least. With one photo an object, every photo would be
#: an object of its own, and nothing would be found again in another one.
_PHOTOS_PER_OBJECT = 10
#: Parts that `auto` takes where nothing can be measured: the paper's number for objects.
_USUAL_PARTS = 100
#: Numbers of parts to choose from where they can, while sqrt(n / 2), the old rule of thumb for the number of
#: clusters of n tokens, is not fewer. 200 is the number of clusters of all tokens.
_PARTS = (25, 50, 100, 200)


@dataclass(frozen=True)
class Fit:
    """A part model and what it was decided on.

    Attributes:
        model: see `PartModel`.
        cut: the foreground decision; None when everything is foreground.
        threshold: the precision threshold in force; None when everything is foreground.
        communities: main objects and their graph, parts numbered 0..K-1.
        survey: areas, neighbours and patches of the parts 0..K-1.
        membership: how much of the parts 0..K-1 the objects 1, 2, .. (rows 0, 1, ..) have in the photos; None
            where a part has one object everywhere.
        parts_curve: numbers of parts that were tried, and the information one half of a photo has about the
            other with each, in nats per cell; empty where the number was not chosen so.
    """

    model: PartModel
    cut: ForegroundCut | None
    threshold: float | None
    communities: Communities
    survey: PartSurvey
    membership: Membership | None = None
    parts_curve: tuple[tuple[int, float], ...] = ()


def fit_parts(store: FeatureStore, settings: FitSettings, *, track: Track = silent) -> Fit:
    """Learn parts, objects and scene groups from stored features.

    Parts come back ordered by object and then by area, objects by area, so that ids read from large to
    small and parts of one object stand together.

    Raises:
        LeopartError: the store holds no whole photo, or Infomap is asked for and not installed.

    Source: Leopart, CVPR 2022, section on cluster-based foreground extraction and supplement A.1.
    Deviations: attention masks and counts on the token grid instead of 100 x 100; the foreground cut and
    the numbers of parts and objects are found without labels; parts that lie beside no other stay objects
    when the number of objects is free; a part can be one object's in a photo and another's in the next; scene
    groups.
    """
    engine_name(settings.communities)  # before the work: Infomap may be missing
    steps = _Steps(store, settings, track)
    sample = steps.sample_tokens()
    reduction = fit_reduction(sample, settings.dimensions)
    foreground = steps.find_foreground(reduction, reduction(sample))
    candidates = _candidates(steps, reduction, foreground)
    chosen = candidates[_number_of_parts(candidates)]
    found = chosen.communities
    if chosen.predictions:
        found = _predictive(found, chosen.predictions)
    gains = {number: candidate.gain for number, candidate in candidates.items() if candidate.predictions}
    fit = Fit(
        chosen.model,
        foreground.cut,
        foreground.threshold,
        found,
        chosen.survey,
        parts_curve=tuple(sorted(gains.items())) if len(gains) > 1 else (),
    )
    return _in_scenes(_in_order(_in_context(fit) if chosen.in_context else fit), settings.seed)


@dataclass(frozen=True)
class _Candidate:
    """Parts of one number, and what objects they form.

    Attributes:
        model: parts without objects.
        survey: of these parts.
        communities: by stability, or of the number asked for.
        in_context: whether a part may belong to several objects.
        predictions: candidates of other numbers of objects; none where the number is given, or parts have no
            contexts.
    """

    model: PartModel
    survey: PartSurvey
    communities: Communities
    in_context: bool
    predictions: Sequence[Prediction] = ()

    @property
    def gain(self) -> float:
        """Information that one half of a photo has about the other, in nats per cell."""
        return best_prediction(self.predictions).gain


def _candidates(steps: _Steps, reduction: Reduction, foreground: _Foreground) -> dict[int, _Candidate]:
    """Candidates by their number of parts, the usual one first; others where they can be compared."""
    settings = steps.settings
    if settings.n_parts is not None:
        return steps.candidates(reduction, foreground, [settings.n_parts])
    rule = max(2, round(math.sqrt(foreground.n_tokens / 2)))
    usual = min(_USUAL_PARTS, rule)
    found = steps.candidates(reduction, foreground, [usual])
    if found[usual].predictions:
        others = [number for number in _PARTS if number <= rule and number != usual]
        found |= steps.candidates(reduction, foreground, others)
    return found


def _number_of_parts(candidates: dict[int, _Candidate]) -> int:
    """The most informative number, or the usual one where they cannot be compared."""
    found = {
        number: best_prediction(candidate.predictions)
        for number, candidate in candidates.items()
        if candidate.predictions
    }
    return most_informative(found) if found else next(iter(candidates))


@dataclass(frozen=True)
class _Foreground:
    """Clusters of all tokens, which of them are foreground, and how many tokens those hold."""

    clusters: KMeans
    is_foreground: Tensor
    n_tokens: int
    cut: ForegroundCut | None = None
    threshold: float | None = None
    margin: Tensor | None = None


class _Steps:
    """Passes over the photos of one store; each holds one photo at a time, or a sample of bounded size."""

    def __init__(self, store: FeatureStore, settings: FitSettings, track: Track) -> None:
        self.store, self.settings, self.track = store, settings, track
        self.photos = [int(index) for index in np.flatnonzero(store.done)]
        if not self.photos:
            raise LeopartError("none of the photos could be used")
        self.n_tokens = sum(store.entries[i].height * store.entries[i].width for i in self.photos)

    def sample_tokens(self) -> Tensor:
        """About `_SAMPLE` random tokens, or all where there are fewer, [n, D]."""
        share = RandomShare(_SAMPLE / self.n_tokens, self.settings.seed)
        return torch.cat([share(torch.from_numpy(self.store.tokens_of(index))) for index in self.photos])

    def find_foreground(self, reduction: Reduction, sample: Tensor) -> _Foreground:
        """Cluster all tokens and judge the clusters by the attention."""
        if self.settings.foreground == "none":
            everything = KMeans(torch.zeros(1, sample.shape[1]), spherical=True, objective=0.0)
            return _Foreground(everything, torch.ones(1, dtype=torch.bool), self.n_tokens)
        n_clusters = min(_CLUSTERS, max(_FEWEST_CLUSTERS, len(sample) // _TOKENS_PER_CLUSTER))
        clusters = kmeans(sample, n_clusters, seed=self.settings.seed, spherical=True, track=self.track)
        counts = ClusterCounts(len(clusters.centroids))

        def look(index: int) -> tuple[Tensor, Tensor]:
            ids = clusters.assign(reduction(torch.from_numpy(self.store.tokens_of(index))))
            attention = torch.from_numpy(self.store.attention_of(index)).mean(0, keepdim=True)
            return ids, attention_mask(attention, _ATTENTION_KEPT)[0]

        for ids, mask in self.track(side_by_side(look, self.photos), len(self.photos), "foreground"):
            counts.add(ids.numpy(), mask.numpy())
        return _decide_foreground(clusters, counts, self.settings.foreground)

    def sample_foreground(self, reduction: Reduction, foreground: _Foreground, wanted: int) -> Tensor:
        """About `wanted` random foreground embeddings of the finer grid, [n, d]."""
        share = RandomShare(wanted / (foreground.n_tokens * FINER**2), self.settings.seed)
        entries = self.store.entries
        drawn = ((i, share.draw((FINER * entries[i].height, FINER * entries[i].width))) for i in self.photos)

        def chosen(photo: tuple[int, NDArray[np.bool_]]) -> Tensor:
            tokens = torch.from_numpy(self.store.tokens_of(photo[0]))
            rows = finer_embeddings(reduction(tokens))[torch.from_numpy(photo[1])]
            return rows[foreground.is_foreground[foreground.clusters.assign(rows)]]

        points = torch.cat(list(self.track(side_by_side(chosen, drawn), len(self.photos), "sampling")))
        if not len(points):
            raise LeopartError("hardly anything is foreground: lower --foreground, or give none")
        return points

    def candidates(
        self, reduction: Reduction, foreground: _Foreground, numbers: Sequence[int]
    ) -> dict[int, _Candidate]:
        """Cluster the foreground into each of these numbers of parts, and find objects among them."""
        models = [self.parts(reduction, foreground, number) for number in numbers]
        surveys = self.surveys(models) if models else []
        return {
            number: self.candidate(model, survey)
            for number, model, survey in zip(numbers, models, surveys, strict=True)
        }

    def parts(self, reduction: Reduction, foreground: _Foreground, number: int) -> PartModel:
        """So many parts, without objects."""
        parts = kmeans(
            self.sample_foreground(reduction, foreground, number * _POINTS_PER_CENTROID),
            number,
            seed=self.settings.seed,
            max_points_per_centroid=_POINTS_PER_CENTROID,
            track=self.track,
        )
        return PartModel(
            reduction,
            foreground.clusters,
            foreground.is_foreground,
            parts,
            object_of_part=np.zeros(len(parts.centroids) + 1, np.int64),
            margin=foreground.margin,
        )

    def candidate(self, model: PartModel, survey: PartSurvey) -> _Candidate:
        """Find objects among parts: of the number asked for, that predict best, or that are stable."""
        settings, n_photos = self.settings, len(self.photos)
        engine = engine_name(settings.communities)
        if settings.n_objects is None:
            graph, numbers = numbers_of_objects(survey.folds, engine=engine, seed=settings.seed)
            # Which number is stable does not matter where with each of them the prediction decides.
            if all(_wants_contexts(settings, n_photos, number) for number in numbers):
                predicted = _predictions(graph, survey, settings)
                if predicted:
                    return _Candidate(model, survey, graph, True, predicted)
        found = find_objects(survey.folds, engine=engine, n_objects=settings.n_objects, seed=settings.seed)
        wanted = _wants_contexts(settings, n_photos, int(found.object_of_part.max()))
        if not wanted or settings.n_objects is not None:
            return _Candidate(model, survey, found, wanted)
        return _Candidate(model, survey, found, wanted, _predictions(found, survey, settings))

    def surveys(self, models: Sequence[PartModel]) -> list[PartSurvey]:
        """Label every photo by each of the models, which differ in their parts alone, and count."""
        surveys = [PartSurvey(len(model.parts.centroids)) for model in models]
        folds = np.random.default_rng(self.settings.seed).permutation(len(self.photos)) % FOLDS

        def label(index: int) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
            embeddings = models[0].embed(self.store.tokens_of(index))
            foreground = models[0].foreground(embeddings)
            return [model.label_embedded(embeddings, foreground) for model in models]

        labelled = self.track(side_by_side(label, self.photos), len(self.photos), "parts")
        for index, fold, found in zip(self.photos, folds, labelled, strict=True):
            for survey, (ids, scores) in zip(surveys, found, strict=True):
                survey.add(index, int(fold), ids - 1, scores)
        return surveys


def _decide_foreground(
    clusters: KMeans, counts: ClusterCounts, wanted: float | Literal["auto", "none"]
) -> _Foreground:
    cut = agreeing_cut(counts)
    threshold = cut.threshold if wanted == "auto" else float(wanted)
    chosen = (counts.precision >= threshold) & (counts.pixels > 0)
    if not chosen.any():
        message = (
            f"no cluster reaches the foreground precision {threshold:g} (the best has "
            f"{counts.precision.max():.2f}): lower --foreground or leave it at auto"
        )
        raise LeopartError(message)
    n_tokens = int(counts.pixels[chosen].sum())
    margin = torch.from_numpy(counts.precision - threshold).float()
    return _Foreground(clusters, torch.from_numpy(chosen), n_tokens, cut, threshold, margin)


def _wants_contexts(settings: FitSettings, n_photos: int, n_objects: int) -> bool:
    if n_objects < 2:
        return False
    if settings.contexts == "auto":
        return n_photos >= _PHOTOS_PER_OBJECT * n_objects
    return settings.contexts


def _predictions(found: Communities, survey: PartSurvey, settings: FitSettings) -> list[Prediction]:
    """Communities of other numbers of objects, by how well they predict what photos show."""
    halves = survey.halves
    most = len(halves) // _PHOTOS_PER_OBJECT if settings.contexts == "auto" else survey.n_parts
    return predictions(found.edges, halves, engine=found.engine, most_objects=most, seed=settings.seed)


def _predictive(found: Communities, candidates: Sequence[Prediction]) -> Communities:
    """The number of objects that predicts best."""
    best = best_prediction(candidates)
    return replace(
        found,
        object_of_part=best.object_of_part,
        resolution=best.resolution,
        curve=tuple((one.resolution, float(one.n_objects), one.score) for one in candidates),
        criterion="prediction",
    )


def _in_context(fit: Fit) -> Fit:
    """Let the parts around it decide on a part's object; objects that no photo shows then are left out."""
    counts = fit.survey.counts
    every = np.arange(fit.survey.n_parts)
    mixture = fit_mixture(counts, fit.communities.object_of_part)
    found = membership(mixture, counts)
    while not found.cells.any(1).all():
        mixture = mixture.reordered(np.flatnonzero(found.cells.any(1)), every)
        found = membership(mixture, counts)
    communities = replace(fit.communities, object_of_part=1 + found.main_object)
    return replace(fit, model=replace(fit.model, mixture=mixture), communities=communities, membership=found)


def _in_order(fit: Fit) -> Fit:
    """Number objects by falling area and parts by main object, then by falling area."""
    objects, area, object_area = fit.communities.object_of_part, fit.survey.pixels, _object_area(fit)
    by_area = np.argsort(-object_area, kind="stable")
    ranks = np.zeros(len(object_area) + 1, np.int64)  # 0 stays background
    ranks[1 + by_area] = np.arange(1, len(ranks))
    objects = ranks[objects]
    last = np.where(objects == 0, len(ranks), objects)  # parts of no object come last
    order = np.lexsort((-area, last))
    model = replace(
        fit.model,
        parts=replace(fit.model.parts, centroids=fit.model.parts.centroids[torch.from_numpy(order)]),
        object_of_part=np.concatenate([[0], objects[order]]),
        mixture=fit.model.mixture and fit.model.mixture.reordered(by_area, order),
    )
    communities = fit.communities.reordered(order, objects)
    return replace(
        fit,
        model=model,
        communities=communities,
        survey=fit.survey.reordered(order),
        membership=fit.membership and fit.membership.reordered(by_area, order),
    )


def _in_scenes(fit: Fit, seed: int) -> Fit:
    """Put objects that lie beside each other into one scene group."""
    found = fit.communities
    scenes = scene_groups(
        found.edges, found.object_of_part, _object_area(fit), engine=found.engine, seed=seed
    )
    return replace(fit, model=replace(fit.model, scene_of_object=scenes))


def _object_area(fit: Fit) -> NDArray[np.float64]:
    """Grid cells of each object over all photos, [M]."""
    if fit.membership is not None:
        return np.asarray(fit.membership.cells.sum(1), np.float64)
    objects = fit.communities.object_of_part
    area = np.bincount(objects, weights=fit.survey.pixels, minlength=int(objects.max(initial=0)) + 1)
    return np.asarray(area[1:], np.float64)

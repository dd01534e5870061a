"""From a store of features to parts and objects, in eight steps; no label is read anywhere.

1. Standardise and reduce the tokens (PCA), fitted on a sample.
2. Cluster all tokens (spherical k-means).
3. Foreground: keep the clusters that agree with the CLS attention (CBFE).
4. Cluster the foreground's interpolated embeddings: parts.
5. Count which parts lie beside which, their areas and best patches.
6. Objects: kinds of segments (connected regions of the foreground); where everything is foreground, kinds of
   parts that look alike; or communities of the graph of 5.
7. With communities, let a part's object in a photo depend on the parts around it.
8. Communities of the objects: scene groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.communities import engine_name
from leopart.clustering.contexts import fit_mixture, membership
from leopart.clustering.foreground import ClusterCounts
from leopart.clustering.kmeans import kmeans
from leopart.clustering.prediction import Prediction, best_prediction, most_informative, predictions
from leopart.clustering.reduce import Reduction, fit_reduction
from leopart.clustering.sampling import RandomShare
from leopart.clustering.stability import Communities, find_objects, merged_edges, numbers_of_objects
from leopart.config.method import FitSettings
from leopart.errors import LeopartError
from leopart.features.store import FeatureStore
from leopart.models.attention import attention_mask
from leopart.parallel import side_by_side
from leopart.progress import Track, silent
from leopart.segment.fit import Fit, Objects, in_order, in_scenes
from leopart.segment.folder_kind import PlaceCounts
from leopart.segment.foreground import FEW_PHOTOS, ForegroundClusters, decide_foreground, everything
from leopart.segment.objects import SegmentSurvey, kinds_of_parts, kinds_of_segments
from leopart.segment.part_model import FINER, PartModel, finer_embeddings
from leopart.segment.photo_masks import segments_of
from leopart.segment.refinement import refined_foreground
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
#: Segments that their kinds are learned from, at least, where `auto` decides.
_FEWEST_SEGMENTS = 50
#: Points by which kinds of parts are compared.
_SIMILARITY_POINTS = 25_600
#: Parts that `auto` takes where nothing can be measured: the paper's number for objects.
_USUAL_PARTS = 100
#: Numbers of parts to choose from where they can, while sqrt(n / 2), the old rule of thumb for the number of
#: clusters of n tokens, is not fewer. 200 is the number of clusters of all tokens.
_PARTS = (25, 50, 100, 200)


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
    by = _objects_by(settings, foreground, len(steps.photos))
    candidates = _candidates(steps, reduction, foreground, by)
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
        kind=foreground.kind,
    )
    if by == "similarity":
        fit = _by_similarity(fit, steps, foreground)
    elif by == "segments" and (segments := steps.segments(fit.model)) is not None:
        fit = _by_segments(fit, segments, settings)
    elif chosen.in_context:
        fit = _in_context(fit)
    return in_scenes(in_order(fit), settings.seed)


def _objects_by(settings: FitSettings, foreground: ForegroundClusters, n_photos: int) -> Objects:
    """What objects are, if there are segments enough."""
    if settings.objects_by != "auto":
        return settings.objects_by
    paper = settings.contexts != "auto" or settings.communities != "auto"
    if paper or n_photos < FEW_PHOTOS:
        return "communities"
    return "similarity" if foreground.is_everything else "segments"


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


def _candidates(
    steps: _Steps, reduction: Reduction, foreground: ForegroundClusters, by: Objects
) -> dict[int, _Candidate]:
    """Candidates by their number of parts, the usual one first; others where they can be compared."""
    settings = steps.settings
    if settings.n_parts is not None:
        return steps.candidates(reduction, foreground, [settings.n_parts], by)
    rule = max(2, round(math.sqrt(foreground.n_tokens / 2)))
    usual = min(_USUAL_PARTS, rule)
    found = steps.candidates(reduction, foreground, [usual], by)
    if found[usual].predictions:
        others = [number for number in _PARTS if number <= rule and number != usual]
        found |= steps.candidates(reduction, foreground, others, by)
    return found


def _number_of_parts(candidates: dict[int, _Candidate]) -> int:
    """The most informative number, or the usual one where they cannot be compared."""
    found = {
        number: best_prediction(candidate.predictions)
        for number, candidate in candidates.items()
        if candidate.predictions
    }
    return most_informative(found) if found else next(iter(candidates))


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

    def find_foreground(self, reduction: Reduction, sample: Tensor) -> ForegroundClusters:
        """Cluster all tokens and judge the clusters by the attention."""
        if self.settings.foreground == "none":
            return everything(sample.shape[1], self.n_tokens)
        n_clusters = min(_CLUSTERS, max(_FEWEST_CLUSTERS, len(sample) // _TOKENS_PER_CLUSTER))
        clusters = kmeans(sample, n_clusters, seed=self.settings.seed, spherical=True, track=self.track)
        counts, places = ClusterCounts(len(clusters.centroids)), PlaceCounts(len(clusters.centroids))

        def look(index: int) -> tuple[Tensor, Tensor]:
            ids = clusters.assign(reduction(torch.from_numpy(self.store.tokens_of(index))))
            attention = torch.from_numpy(self.store.attention_of(index)).mean(0, keepdim=True)
            return ids, attention_mask(attention, _ATTENTION_KEPT)[0]

        for ids, mask in self.track(side_by_side(look, self.photos), len(self.photos), "foreground"):
            counts.add(ids.numpy(), mask.numpy())
            places.add(ids.numpy())
        return decide_foreground(clusters, counts, places, self.settings.foreground)

    def sample_foreground(
        self, reduction: Reduction, foreground: ForegroundClusters, wanted: int
    ) -> tuple[Tensor, NDArray[np.int64]]:
        """About `wanted` random foreground embeddings of the finer grid, [n, d], and the photo of each."""
        share = RandomShare(wanted / (foreground.n_tokens * FINER**2), self.settings.seed)
        entries = self.store.entries
        drawn = ((i, share.draw((FINER * entries[i].height, FINER * entries[i].width))) for i in self.photos)

        def chosen(photo: tuple[int, NDArray[np.bool_]]) -> Tensor:
            tokens = torch.from_numpy(self.store.tokens_of(photo[0]))
            rows = finer_embeddings(reduction(tokens))[torch.from_numpy(photo[1])]
            return rows[foreground.is_foreground[foreground.clusters.assign(rows)]]

        rows = list(self.track(side_by_side(chosen, drawn), len(self.photos), "sampling"))
        points = torch.cat(rows)
        if not len(points):
            raise LeopartError("hardly anything is foreground: lower --foreground, or give none")
        return points, np.repeat(np.arange(len(rows)), [len(found) for found in rows])

    def candidates(
        self, reduction: Reduction, foreground: ForegroundClusters, numbers: Sequence[int], by: Objects
    ) -> dict[int, _Candidate]:
        """Cluster the foreground into each of these numbers of parts, and find objects among them."""
        models = [self.parts(reduction, foreground, number) for number in numbers]
        surveys = self.surveys(models) if models else []
        return {
            number: self.candidate(model, survey, by)
            for number, model, survey in zip(numbers, models, surveys, strict=True)
        }

    def parts(self, reduction: Reduction, foreground: ForegroundClusters, number: int) -> PartModel:
        """So many parts, without objects."""
        parts = kmeans(
            self.sample_foreground(reduction, foreground, number * _POINTS_PER_CENTROID)[0],
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

    def candidate(self, model: PartModel, survey: PartSurvey, by: Objects) -> _Candidate:
        """Find objects among parts: of the number asked for, that predict best, or that are stable."""
        settings, n_photos = self.settings, len(self.photos)
        engine = engine_name(settings.communities)
        if by == "similarity":  # which parts lie beside each other is for the report
            none = np.zeros(survey.n_parts, np.int64)
            graph = Communities(none, merged_edges(survey.folds), engine, None)
            return _Candidate(model, survey, graph, False)
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

    def segments(self, model: PartModel) -> SegmentSurvey | None:
        """The segments of all photos that are sure enough; None where `auto` finds them too few.

        Raises:
            LeopartError: they were asked for, and there is none.
        """
        found = SegmentSurvey(len(model.parts.centroids))
        for index in self.track(self.photos, len(self.photos), "segments"):
            tokens = self.store.tokens_of(index)
            if self.settings.refine:
                foreground, parts = refined_foreground(model, tokens), model.nearest_parts(tokens)
            else:
                parts = model.label(tokens)
                foreground = parts > 0
            segments = segments_of(model, tokens, foreground)
            found.add(segments.at_least(self.settings.least_confidence), parts)
        if self.settings.objects_by == "auto":
            return found if len(found) >= _FEWEST_SEGMENTS else None
        if not len(found):
            message = "no photo has a region of foreground that is large and sure enough to be a segment"
            raise LeopartError(
                f"{message}: lower --foreground or --least-confidence, or give --objects-by auto"
            )
        return found

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


def _by_similarity(fit: Fit, steps: _Steps, foreground: ForegroundClusters) -> Fit:
    """Objects that are kinds of parts."""
    settings = steps.settings
    points, photos = steps.sample_foreground(fit.model.reduction, foreground, _SIMILARITY_POINTS)
    most = max(1, len(steps.photos) // _PHOTOS_PER_OBJECT)
    found = kinds_of_parts(fit.model.parts, points, photos, settings.n_objects, most=most, seed=settings.seed)
    communities = replace(fit.communities, object_of_part=1 + found.objects)
    return replace(fit, communities=_with_curve(communities, found.curve), objects_by="similarity")


def _by_segments(fit: Fit, segments: SegmentSurvey, settings: FitSettings) -> Fit:
    """Objects that are kinds of segments."""
    most = max(1, segments.n_photos // _PHOTOS_PER_OBJECT)
    prototypes, found = kinds_of_segments(
        segments.directions,
        segments.photos,
        segments.n_photos,
        settings.n_objects,
        most=most,
        seed=settings.seed,
    )
    members = segments.membership(found.objects)
    main = np.where(members.cells.any(0), 1 + members.main_object, 0)
    communities = replace(fit.communities, object_of_part=main, resolution=None, curve=())
    return replace(
        fit,
        model=replace(fit.model, prototypes=prototypes),
        communities=_with_curve(communities, found.curve),
        membership=members,
        objects_by="segments",
    )


def _with_curve(found: Communities, curve: Sequence[tuple[int, float]]) -> Communities:
    points = tuple((float(number), float(number), agreement) for number, agreement in curve)
    return replace(found, curve=points, criterion="halves", resolution=None) if points else found


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

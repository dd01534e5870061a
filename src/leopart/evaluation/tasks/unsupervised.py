"""The task `unsupervised`: segmentation without labels, with the rows of the paper's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np

from leopart.clustering.communities import engine_name
from leopart.config import UnsupervisedConfig
from leopart.errors import LeopartError
from leopart.evaluation.case import Case
from leopart.evaluation.label_free.clusters import (
    Clusters,
    chosen_settings,
    cluster_photos,
    labels_of,
    labels_of_noisy,
    labels_of_settings,
    photo_lists,
    search_labels,
    tuned_suffix,
)
from leopart.evaluation.label_free.foreground import SIDE
from leopart.evaluation.label_free.label_search import Trial, best, require_optuna, search_communities
from leopart.evaluation.label_free.objects import (
    ForegroundPhotos,
    FullyUnsupervised,
    Truth,
    fully_unsupervised,
)
from leopart.evaluation.label_free.published import REFERENCE_STEPS, Published
from leopart.evaluation.labels import LabelMap
from leopart.evaluation.metrics.matching import Matching
from leopart.evaluation.overclustering import Settings, overcluster
from leopart.evaluation.report import Outcome, Score


def run(case: Case[UnsupervisedConfig]) -> Outcome:
    """See `leopart.evaluation.label_free.objects`.

    Raises:
        LeopartError: a photo or mask cannot be used, there is no background class, no other class or no
            attention, nothing is foreground, or a setting is unknown.
    """
    config, background = case.config, case.background
    if case.num_classes < 2:
        raise LeopartError("background is the only class that counts; leave another one out of --ignore")
    recipe, engine = _settings(config), engine_name(config.communities)
    lists = photo_lists(config, case.labelled)
    labels = case.labels(case.labelled, SIDE)
    known = Known(*(search_labels(case, lists, side) for side in (SIDE, config.size)))
    clusters = cluster_photos(case, lists)
    all_tokens = _all_tokens(case, clusters, labels, background)
    search: dict[str, Any] = {}
    threshold = None
    if config.tune_on_labels:
        threshold = clusters.search(case, known.large, background)
        recipe = replace(recipe, threshold=threshold.threshold, about="a search with labels")
        recipe, trials = _searched(case, clusters, known.small, recipe, engine, background)
        search = {"search": [asdict(trial) for trial in trials]}
    with case.watch.stage("segmentation"):
        found = fully_unsupervised(
            foreground_photos(clusters, recipe),
            Truth(labels_of(clusters, "scored", labels), case.num_classes, background, config.absent),
            recipe,
            engine=engine,
            seeds=range(config.seeds),
            on_map=case.maps.write if case.maps.wanted else None,
            track=case.track,
        )
    rows = _rows(case, clusters, all_tokens, found, recipe)
    extra = clusters.facts(recipe, threshold) | _communities(found, recipe, engine) | search
    return Outcome(rows, _labels_used(case, clusters), tuple(range(config.seeds)), extra)


class Known(NamedTuple):
    """Label maps that a search may use, see `search_labels`: at the side of the score, and of the input."""

    small: Sequence[LabelMap]
    large: Sequence[LabelMap]


def foreground_photos(clusters: Clusters, recipe: Published) -> ForegroundPhotos:
    """The foreground of all photos at these settings.

    Raises:
        LeopartError: nothing is foreground.
    """
    if not (clusters.precision >= recipe.threshold).any():
        reached = f"precision {recipe.threshold:g} (the best has {clusters.precision.max():.2f})"
        raise LeopartError(
            f"no cluster reaches the foreground {reached}; lower --threshold, or search on other photos"
        )
    return ForegroundPhotos(
        clusters.tokens,
        clusters.clusters.reduction,
        clusters.foreground(recipe.threshold),
        "nearest" if "interpolation" in recipe.reference else "bilinear",
    )


def _settings(config: UnsupervisedConfig) -> Published:
    recipe = chosen_settings(config)
    if unknown := [step for step in config.reference if step not in REFERENCE_STEPS]:
        raise LeopartError(f"--reference takes {', '.join(REFERENCE_STEPS)}, not {unknown[0]!r}")
    if config.tune_on_labels:
        require_optuna()
    return replace(recipe, reference=tuple(dict.fromkeys((*recipe.reference, *config.reference))))


def _all_tokens(
    case: Case[UnsupervisedConfig], clusters: Clusters, labels: Sequence[LabelMap], background: int
) -> tuple[Matching, ...]:
    """Clusters of all tokens of the scored photos, as many as classes."""
    with case.watch.stage("all tokens"):
        (found,) = overcluster(
            clusters.tokens[: len(labels)],
            labels,
            case.num_classes,
            Settings(
                ks=[case.num_classes],
                seeds=range(case.config.seeds),
                eval_size=SIDE,
                absent=case.config.absent,
            ),
            background=background,
            device=case.device,
            on_map=(lambda _, index, rows: case.maps.write("all-tokens", index, rows))
            if case.maps.wanted
            else None,
            track=case.track,
        )
    return found.matchings


def _searched(
    case: Case[UnsupervisedConfig],
    clusters: Clusters,
    known: Sequence[LabelMap],
    recipe: Published,
    engine: str,
    background: int,
) -> tuple[Published, tuple[Trial, ...]]:
    """The best settings for the labels, and all trials."""
    labels = labels_of(clusters, "searched" if "searched" in clusters.lists else "scored", known)
    with case.watch.stage("search"):
        trials = search_communities(
            foreground_photos(clusters, recipe),
            Truth(labels, case.num_classes, background),
            recipe,
            engine=engine,
            trials=case.config.tune_on_labels,
            track=case.track,
        )
    chosen = best(trials)
    return replace(recipe, clusters=chosen.clusters, markov_time=chosen.markov_time, edge=chosen.edge), trials


def _rows(
    case: Case[UnsupervisedConfig],
    clusters: Clusters,
    all_tokens: tuple[Matching, ...],
    found: FullyUnsupervised,
    recipe: Published,
) -> tuple[Score, ...]:
    classes, tuned = case.num_classes, tuned_suffix(case.config, clusters)
    one_to_one, many = "hungarian", "precision"
    return (
        Score.of_matchings("all tokens", all_tokens, clusters=classes, matching=one_to_one),
        Score.of_matchings(f"+ CBFE{tuned}", found.cbfe, clusters=classes - 1, matching=one_to_one),
        Score.of_matchings(f"+ CD{tuned}", found.cd, clusters=recipe.clusters, matching=one_to_one),
        Score.of_matchings(
            f"upper bound of CD{tuned}", (found.upper_bound,), clusters=recipe.clusters, matching=many
        ),
    )


def _labels_used(case: Case[UnsupervisedConfig], clusters: Clusters) -> dict[str, str]:
    settings = labels_of_settings(case.config, clusters)
    return {
        "clusters": "none",
        **labels_of_noisy(clusters),
        "all tokens": "none, but for their number: as many clusters as the labels have classes",
        "+ CBFE": f"{settings}; as many clusters as there are classes",
        "+ CD": f"{settings}; as many communities preferred as there are classes",
        "upper bound of CD": f"{settings}; every cluster named after a class by the labels it is scored by",
        "matching": "those of the photos scored, to name what was found and to score it",
    }


def _communities(found: FullyUnsupervised, recipe: Published, engine: str) -> dict[str, Any]:
    """Facts about the communities for the JSON file."""
    parts = [modules[:-1] for modules in found.modules]
    facts = {
        "engine": engine,
        "clusters": recipe.clusters,
        "markov time": recipe.markov_time,
        "edge": recipe.edge,
        "steps of the authors' code": list(recipe.reference),
        "edges": found.edges,
        "communities": [len(np.unique(modules[modules > 0])) for modules in found.modules],
        "clusters in none": [int((of_seed == 0).sum()) for of_seed in parts],
    }
    return {"communities": facts}

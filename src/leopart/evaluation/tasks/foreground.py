"""The task `foreground`: Jaccard index of foreground found without labels, beside simple baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from leopart.config import ForegroundConfig
from leopart.evaluation.case import Case
from leopart.evaluation.label_free.clusters import (
    Clusters,
    chosen_settings,
    cluster_photos,
    labels_of_noisy,
    labels_of_settings,
    photo_lists,
    search_labels,
    tuned_suffix,
)
from leopart.evaluation.label_free.foreground import SIDE, Mask, otsu_mask
from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.attention import merged_mask
from leopart.evaluation.metrics.jaccard import foreground_jaccard
from leopart.evaluation.report import Outcome, Score

_FOLDERS = {
    "attention": "attention",
    "attention by Otsu": "otsu",
    "saliency": "saliency",
    "everything": "everything",
}
"""Folders of maps, by the name of a row; the name of the CBFE row varies."""


def run(case: Case[ForegroundConfig]) -> Outcome:
    """See `leopart.evaluation.label_free.foreground`.

    Raises:
        LeopartError: a photo or mask cannot be used, there is no background class or no attention, or the
            preset is unknown.
    """
    config, background = case.config, case.background
    recipe, lists = chosen_settings(config), photo_lists(config, case.labelled)
    labels, known = case.labels(case.labelled, config.size), search_labels(case, lists, config.size)
    clusters = cluster_photos(case, lists)
    search = clusters.search(case, known, background) if config.tune_on_labels else None
    if search is not None:
        recipe = replace(recipe, threshold=search.threshold, about="a search with labels")
    ways = _ways(case, clusters, recipe.threshold)
    found: dict[str, list[float]] = {name: [] for name in ways}
    with case.watch.stage("scoring"):
        for index in case.track(range(len(labels)), len(labels), "scoring"):
            truth = labels[index]
            for name, mask_of in ways.items():
                mask = mask_of(index)
                case.maps.write_mask(_FOLDERS.get(name, "cbfe"), index, mask)
                mask = nearest(nearest(mask, SIDE), (truth.shape[0], truth.shape[1]))
                found[name].append(foreground_jaccard(truth, mask, background))
    rows = [Score(name, {"jaccard": np.array([np.mean(values)])}) for name, values in found.items()]
    seen = labels_of_noisy(clusters)
    used = {
        "clusters": "none",
        "CBFE": labels_of_settings(config, clusters),
        **seen,
        **({"attention by Otsu": seen["attention"]} if "attention" in seen else {}),
        "everything": "none",
        "scores": "those of the photos scored",
    }
    return Outcome(tuple(rows), used, extra=clusters.facts(recipe, search))


def _ways(
    case: Case[ForegroundConfig], clusters: Clusters, threshold: float
) -> dict[str, Callable[[int], Mask]]:
    """Foreground of a photo, bool [h, w] of any size, by the name of a row."""
    keep = case.config.keep
    ways: dict[str, Callable[[int], Mask]] = {
        f"CBFE{tuned_suffix(case.config, clusters)}": clusters.foreground(threshold).mask
    }
    if clusters.saliency:
        ways["saliency"] = lambda index: clusters.noisy[index]
    if clusters.attention:
        ways["attention"] = lambda index: merged_mask(clusters.attention[index][None], keep)
        ways["attention by Otsu"] = lambda index: otsu_mask(clusters.attention[index])
    return ways | {"everything": lambda _: np.ones((SIDE, SIDE), bool)}

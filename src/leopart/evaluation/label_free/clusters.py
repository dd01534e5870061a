"""The first steps of the tasks `foreground` and `unsupervised`: lists of photos, clusters, noisy masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leopart.config import ForegroundConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.case import Case
from leopart.evaluation.label_free.foreground import (
    SIDE,
    Floats,
    Foreground,
    Mask,
    TokenClusters,
    cluster_tokens,
    list_precisions,
)
from leopart.evaluation.label_free.label_search import ThresholdSearch, search_threshold
from leopart.evaluation.label_free.published import CHOSEN_WITH, Published, published
from leopart.evaluation.label_free.saliency import saliency_of
from leopart.evaluation.labels import LabelMap
from leopart.evaluation.metrics.attention import merged_mask
from leopart.evaluation.tokens import token_views

_TITLES = {"scored": "features", "searched": "search features", "clustered": "more features"}


@dataclass(frozen=True)
class Clusters:
    """Photos of all lists, the scored ones first, and the clusters of their tokens.

    Attributes:
        lists: by use: `scored`, then `searched` and `clustered` if these are other photos.
        tokens: of each photo, views [h, w, D] into the stores.
        attention: of each photo, mean over the heads, [h, w] of the attention backbone; empty if that has no
            CLS attention and saliency is used instead.
        noisy: noisy foreground masks of each photo, for the precision of clusters.
        saliency: facts about the source of the noisy masks; empty for attention.
        clusters: of the tokens.
        list_of: list of each photo.
        precision: of each cluster in each list, [lists, K].
        backbone: facts about the attention backbone; empty if it has no CLS attention.
    """

    lists: Mapping[str, LabelledPhotos]
    tokens: Sequence[npt.NDArray[np.float16]]
    attention: Sequence[npt.NDArray[np.float32]]
    noisy: Sequence[Mask]
    saliency: Mapping[str, str]
    clusters: TokenClusters
    list_of: npt.NDArray[np.int64]
    precision: Floats
    backbone: Mapping[str, str]

    @property
    def searched(self) -> slice:
        """Positions of the photos whose labels a search may use."""
        here = np.flatnonzero(self.list_of == self._searched_list)
        return slice(int(here[0]), int(here[-1]) + 1)

    @property
    def searched_name(self) -> str:
        """These photos in words."""
        return "the photos scored" if self._searched_list == 0 else "the photos of --tune-split"

    def foreground(self, threshold: float) -> Foreground:
        """Clusters of at least this precision."""
        return Foreground(self.clusters.ids, self.precision >= threshold, self.list_of)

    def search(self, case: Case[Any], labels: Sequence[LabelMap], background: int) -> ThresholdSearch:
        """The best threshold for the labels of the `searched` photos."""
        ids = self.clusters.ids[self.searched]
        with case.watch.stage("search"):
            pairs = case.track(zip(ids, labels, strict=True), len(labels), "threshold")
            return search_threshold(pairs, self.precision[self._searched_list], background=background)

    def facts(self, recipe: Published, threshold: ThresholdSearch | None) -> dict[str, Any]:
        """Facts about the foreground for the JSON file."""
        chosen = self.precision >= recipe.threshold
        facts: dict[str, Any] = {
            "settings from": recipe.about,
            "threshold": recipe.threshold,
            "clusters": self.clusters.n_clusters,
            **({"attention": dict(self.backbone)} if self.backbone else {}),
            **({"noisy foreground": dict(self.saliency)} if self.saliency else {}),
            "lists": [
                {"photos": len(photos.pairs), "for": name, "foreground clusters": int(of_list.sum())}
                for (name, photos), of_list in zip(self.lists.items(), chosen, strict=True)
            ],
        }
        if threshold is not None:
            values, first = np.unique(threshold.thresholds, return_index=True)
            curve = np.column_stack([values, threshold.jaccard[first]])
            facts["jaccard by threshold"] = curve.round(4).tolist()
        return {"foreground": facts}

    @property
    def _searched_list(self) -> int:
        return list(self.lists).index("searched") if "searched" in self.lists else 0


def search_labels(case: Case[Any], lists: Mapping[str, LabelledPhotos], side: int) -> Sequence[LabelMap]:
    """Label maps that a search may use; none without a search.

    Raises:
        LeopartError: a mask cannot be used.
    """
    return case.labels(lists.get("searched", lists["scored"]), side) if case.config.tune_on_labels else []


def chosen_settings(config: ForegroundConfig) -> Published:
    """The preset, with the values that the command line replaces.

    Raises:
        LeopartError: there is no such preset.
    """
    recipe, given = published(config.preset), given_settings(config)
    about = f"{recipe.about}; by hand: {', '.join(given)}" if given else recipe.about
    return replace(recipe, **given, about=about)


def given_settings(config: ForegroundConfig) -> dict[str, Any]:
    """Values of the command line that replace those of the preset."""
    values = {name: getattr(config, name, None) for name in ("threshold", "clusters", "markov_time", "edge")}
    return {name: value for name, value in values.items() if value is not None}


def labels_of_settings(config: ForegroundConfig, clusters: Clusters) -> str:
    """Which labels the settings were chosen with, in words."""
    seen = f"; noisy foreground: {clusters.saliency['labels used']}" if clusters.saliency else ""
    given = ", ".join(f"--{name.replace('_', '-')}" for name in given_settings(config))
    by_hand = f"; {given}: unknown, given by hand" if given else ""
    if config.tune_on_labels:
        return f"those of {clusters.searched_name}: the settings were searched with them{seen}"
    return f"{CHOSEN_WITH}{by_hand}{seen}"


def labels_of_noisy(clusters: Clusters) -> dict[str, str]:
    """Which labels attention and saliency were trained with, by the names of their rows."""
    seen = {}
    if clusters.backbone:
        seen["attention"] = f"by its network's training: {clusters.backbone['labels used']}"
    if clusters.saliency:
        seen["saliency"] = clusters.saliency["labels used"]
    return seen


def tuned_suffix(config: ForegroundConfig, clusters: Clusters) -> str:
    """Suffix of the name of a row, if saliency replaced attention or labels were used in a search."""
    saliency = f" [saliency: {Path(clusters.saliency['from']).name}]" if clusters.saliency else ""
    return saliency + (f" [tuned on labels of {clusters.searched_name}]" if config.tune_on_labels else "")


def cluster_photos(case: Case[Any], lists: Mapping[str, LabelledPhotos]) -> Clusters:
    """Features of all photos, clusters of their tokens, and the precision of each cluster.

    Raises:
        LeopartError: a photo cannot be used, the attention backbone has no CLS attention, or the source of
            noisy masks cannot be used.
    """
    config: ForegroundConfig = case.config
    saliency = saliency_of(config.noisy_foreground, config.size)
    attending = attending_case(case)
    network = attending.extractor.backbone
    attends = network.has_attention  # other networks have a stand-in, which is not attention
    if saliency is None and not attends:
        raise LeopartError(
            f"{network.name} has no CLS attention; name a vision transformer with --attention-backbone"
        )
    stores = [case.features(photos, _TITLES[name]) for name, photos in lists.items()]
    theirs = stores
    if attending is not case:
        theirs = [attending.features(photos, _TITLES[name]) for name, photos in lists.items()]
    attention = [store.attention_of(i).mean(0) for store in theirs for i in range(len(store)) if attends]
    tokens = [photo for store in stores for photo in token_views(store)]
    list_of = np.repeat(np.arange(len(lists)), [len(store) for store in stores])
    with case.watch.stage("noisy foreground"):
        noisy = [merged_mask(one[None], config.keep) for one in attention]
        if saliency is not None:
            photos = [photo for labelled in lists.values() for photo, _ in labelled.pairs]
            noisy = saliency.masks(photos, SIDE, config.size, case.track)
    with case.watch.stage("clusters"):
        clusters = cluster_tokens(tokens, device=case.device, track=case.track)
        precision = list_precisions(clusters.ids, noisy, list_of, clusters.n_clusters, pooled=config.pooled)
    facts = {"backbone": network.name, "source": network.source, "fingerprint": network.fingerprint}
    facts["labels used"] = network.spec.labels
    return Clusters(
        lists,
        tokens,
        attention,
        noisy,
        {} if saliency is None else saliency.about,
        clusters,
        list_of,
        precision,
        facts if attends else {},
    )


def attending_case(case: Case[Any]) -> Case[Any]:
    """The case with the attention backbone; its features are stored beside the others."""
    config: ForegroundConfig = case.config
    if config.attention_backbone in (None, config.backbone):
        return case
    beside = config.out.with_name(f"{config.out.stem}.attention.json")
    other = replace(
        config, backbone=config.attention_backbone or "", features="final", out=beside, save_maps=None
    )
    attending = Case(other, case.labelled, case.device, case.track)
    attending.watch, attending.stores = case.watch, case.stores  # timed, closed and deleted together
    return attending


def photo_lists(config: ForegroundConfig, scored: LabelledPhotos) -> dict[str, LabelledPhotos]:
    """The lists of photos to cluster, without common photos; see `Clusters.lists`.

    Raises:
        LeopartError: the data set has no such list, or some but not all photos to search on are scored.
    """
    lists = {"scored": scored}
    if config.tune_split is not None:
        searched = labelled_photos(config.data, config.masks, config.tune_split).without(config.ignore)
        rest = _without(searched, lists)
        if rest.pairs and len(rest.pairs) < len(searched.pairs):
            both = f"{len(searched.pairs) - len(rest.pairs)} of {len(searched.pairs)} photos to search on"
            advice = "give a --tune-split without them, or leave it out to search on the photos scored"
            raise LeopartError(f"{both} are scored; {advice}")
        if rest.pairs:
            lists["searched"] = rest
    if config.cluster_split is not None:
        more = labelled_photos(config.data, config.masks, config.cluster_split)
        if (rest := _without(more, lists)).pairs:
            lists["clustered"] = rest
    return lists


def labels_of(clusters: Clusters, name: str, maps: Sequence[LabelMap]) -> list[LabelMap | None]:
    """Label maps of the photos of one list, None for those of the others."""
    where = list(clusters.lists).index(name)
    found = iter(maps)
    return [next(found) if of == where else None for of in clusters.list_of]


def _without(photos: LabelledPhotos, lists: Mapping[str, LabelledPhotos]) -> LabelledPhotos:
    taken = {photo.path for other in lists.values() for photo, _ in other.pairs}
    return replace(photos, pairs=[pair for pair in photos.pairs if pair[0].path not in taken])

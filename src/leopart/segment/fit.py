"""What a fit found, and its numbering: objects and parts from large to small, objects in scene groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from leopart.clustering.contexts import Membership
from leopart.clustering.foreground import ForegroundCut
from leopart.clustering.kmeans import KMeans
from leopart.clustering.scenes import scene_groups
from leopart.clustering.stability import Communities
from leopart.segment.folder_kind import FolderKind
from leopart.segment.part_model import PartModel
from leopart.segment.survey import PartSurvey

Objects = Literal["segments", "similarity", "communities"]


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
        kind: what the folder shows; None where that was not asked, or there are too few photos.
        objects_by: what objects are: `segments`, `similarity` or `communities`, see `MethodOptions`.
    """

    model: PartModel
    cut: ForegroundCut | None
    threshold: float | None
    communities: Communities
    survey: PartSurvey
    membership: Membership | None = None
    parts_curve: tuple[tuple[int, float], ...] = ()
    kind: FolderKind | None = None
    objects_by: Objects = "communities"


def in_order(fit: Fit) -> Fit:
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
        parts=_reordered(fit.model.parts, order),
        object_of_part=np.concatenate([[0], objects[order]]),
        mixture=fit.model.mixture and fit.model.mixture.reordered(by_area, order),
        prototypes=fit.model.prototypes and _reordered(fit.model.prototypes, by_area),
    )
    communities = fit.communities.reordered(order, objects)
    return replace(
        fit,
        model=model,
        communities=communities,
        survey=fit.survey.reordered(order),
        membership=fit.membership and fit.membership.reordered(by_area, order),
    )


def _reordered(found: KMeans, order: NDArray[np.int64]) -> KMeans:
    return replace(found, centroids=found.centroids[torch.from_numpy(order)])


def in_scenes(fit: Fit, seed: int) -> Fit:
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

"""How good a network is on some photos, without a label: two numbers, from the tokens of these photos.

Clusters of good tokens are the same whichever of the photos they are learned from (stability), and what one
half of a photo shows says something about the other half (gain). Both are measured with the same number of
clusters for every network, so that networks can be compared on one set of photos; numbers of different sets
cannot.

Legend: D photos, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.cooccurrence import Cooccurrence, edge_list
from leopart.clustering.kmeans import kmeans
from leopart.clustering.prediction import best_prediction, predictions
from leopart.clustering.reduce import fit_reduction
from leopart.clustering.stability import adjusted_rand

FEWEST_PHOTOS = 20
"""Photos below which both numbers are chance."""
#: Clusters, if each has so many tokens.
_CLUSTERS, _TOKENS_PER_CLUSTER = 50, 100
#: Times that the photos are divided into two groups.
_DIVISIONS = 3
_THRESHOLD = 0.05


@dataclass(frozen=True)
class Suitability:
    """Two numbers; larger is better.

    Attributes:
        stability: mean adjusted Rand index of clusters learned from one half of the photos and from the
            other; 1: the same clusters, 0: chance.
        gain: information that one half of a photo has about the other, in nats per token; NaN where it cannot
            be measured.
    """

    stability: float
    gain: float


def suitability(tokens: Sequence[NDArray[np.floating]], seed: int) -> Suitability:
    """Measure the tokens of D photos by one network.

    Args:
        tokens: of each photo, [h, w, channels]; at least `FEWEST_PHOTOS` photos.
        seed: of k-means, of the groups, and of the search for objects.

    Raises:
        ValueError: there are too few photos.
    """
    if len(tokens) < FEWEST_PHOTOS:
        raise ValueError(f"{len(tokens)} photos are too few to measure a network on")
    photos = [torch.from_numpy(np.asarray(part, np.float32)) for part in tokens]
    every = torch.cat([photo.flatten(0, 1) for photo in photos])
    reduction = fit_reduction(every)
    reduced = [reduction(photo) for photo in photos]
    n_clusters = max(2, min(_CLUSTERS, len(every) // _TOKENS_PER_CLUSTER))
    return Suitability(_stability(reduced, n_clusters, seed), _gain(reduced, n_clusters, seed))


def _stability(photos: list[Tensor], n_clusters: int, seed: int) -> float:
    generator = np.random.default_rng(seed)
    every = torch.cat([photo.flatten(0, 1) for photo in photos])
    found = []
    for division in range(_DIVISIONS):
        order = generator.permutation(len(photos))
        groups = order[: len(order) // 2], order[len(order) // 2 :]
        ids = []
        for group in groups:
            points = torch.cat([photos[index].flatten(0, 1) for index in group])
            clusters = kmeans(points, n_clusters, seed=seed + division, restarts=2, iterations=50)
            ids.append(clusters.assign(every).numpy())
        found.append(adjusted_rand(*ids))
    return float(np.mean(found))


def _gain(photos: list[Tensor], n_clusters: int, seed: int) -> float:
    every = torch.cat([photo.flatten(0, 1) for photo in photos])
    clusters = kmeans(every, n_clusters, seed=seed, restarts=2, iterations=50)
    graph, halves = Cooccurrence(n_clusters), []
    for photo in photos:
        ids = clusters.assign(photo).numpy()
        graph.add(ids)
        middle = ids.shape[1] // 2
        sides = (ids[:, :middle], ids[:, middle:])
        halves.append([np.bincount(side.ravel(), minlength=n_clusters) for side in sides])
    found = predictions(
        edge_list(graph.conditional, _THRESHOLD),
        np.array(halves),
        engine="map-equation",
        most_objects=n_clusters,
        seed=seed,
    )
    return best_prediction(found).gain if found else float("nan")

"""Overclustering: cluster the tokens of all photos, name each cluster after a class, score the result.

Legend: n photos, h x w a photo's grid of tokens, D channels, d reduced channels, K clusters, C classes,
S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.reduce import Reduction, fit_reduction
from leopart.evaluation.confusion import Confusion, Labels
from leopart.evaluation.labels import nearest
from leopart.evaluation.matching import Floats, Matching, hungarian, many_to_one
from leopart.features.store import FeatureStore
from leopart.progress import Track, silent

Tokens = FeatureStore | Tensor | Sequence[Tensor] | Sequence[npt.NDArray[np.floating[Any]]]
"""Of n photos: a store whose photos are all done, a tensor [n, h, w, D], or a tensor or array [h, w, D] each
(grids may differ)."""

OnMap = Callable[[int, int, Labels], None]
"""Takes K, a photo's index, and class rows [h, w] of its tokens, -1 for none."""

#: Tokens that the reduction is fitted on, at most: 100,000 x 384 in half precision are 77 MB.
_SAMPLE = 100_000
#: Reduced tokens that k-means draws from, at most: 50 dimensions are 200 MB.
_POOL = 1_000_000
#: Of the sample, the pool: they do not change with the seed of the clustering.
_SEED = 0


@dataclass(frozen=True)
class Settings:
    """Of the protocol; the defaults are the paper's.

    Attributes:
        eval_size: side of the square at which cluster ids and labels are compared; None = the labels' size.
        dimensions: of the reduced tokens.
        normalise: make every token a unit vector first.
        iterations: of k-means, at most.
        restarts: of k-means; the best of them counts.
        points_per_centroid: tokens per cluster that k-means learns from, at most.
        many_to_one: how a cluster finds its class where K is not the number of classes: `precision`, the
            class that most of its pixels have, or `iou`, the class with the largest IoU.
        absent: what a class without labelled pixels does to the mean, see `matching.score`.
    """

    eval_size: int | None = 100
    dimensions: int = 50
    normalise: bool = False
    iterations: int = 100
    restarts: int = 5
    points_per_centroid: int = 256
    many_to_one: Literal["precision", "iou"] = "precision"
    absent: Literal["zero", "skip"] = "zero"


@dataclass(frozen=True)
class ClusterScores:
    """Scores of one number of clusters.

    Attributes:
        k: K.
        rule: `hungarian`, one cluster a class, where K is the number of classes; else see
            `Settings.many_to_one`.
        seeds: of k-means, S of them.
        matchings: clusters named, and all scores, of each seed.
    """

    k: int
    rule: Literal["hungarian", "precision", "iou"]
    seeds: tuple[int, ...]
    matchings: tuple[Matching, ...]

    @property
    def miou(self) -> Floats:
        """Mean IoU over the classes, of each seed, [S] in [0, 1]."""
        return np.array([matching.miou for matching in self.matchings])

    @property
    def class_iou(self) -> Floats:
        """IoU of each class and seed, [S, C] in [0, 1]."""
        return np.stack([matching.iou for matching in self.matchings])

    @property
    def mean(self) -> float:
        """Mean of `miou` over the seeds: the number that is published."""
        return float(self.miou.mean())

    @property
    def std(self) -> float:
        """Standard deviation of `miou` over the seeds (of these S, not an estimate for others)."""
        return float(self.miou.std())


def overcluster(
    tokens: Tokens,
    labels: Sequence[Labels],
    num_classes: int,
    *,
    ks: Sequence[int],
    seeds: Sequence[int],
    background: int | None = None,
    settings: Settings = Settings(),
    device: torch.device | None = None,
    on_map: OnMap | None = None,
    track: Track = silent,
) -> tuple[ClusterScores, ...]:
    """Scores of k-means on tokens against labels, one `ClusterScores` for each of `ks`.

    1. Standardise the tokens per dimension and reduce them by PCA, fitted on at most 100,000 of them.
    2. K-means for each K and seed.
    3. Every token's cluster id, enlarged to `eval_size` by nearest; pixels counted by class and cluster over
       all photos.
    4. Clusters named after classes: Hungarian where K is the number of classes, else many to one.

    Labels name the clusters and score them; nothing else sees them. Memory does not grow with the photos,
    apart from `tokens` and `labels` themselves.

    Args:
        tokens: see `Tokens`.
        labels: class rows 0 .. C-1 of each photo, 255 = no label, integer [H, W] of any size; brought to
            `eval_size` by nearest (`evaluation.labels` reads a data set's).
        num_classes: C.
        ks: numbers of clusters.
        seeds: of k-means.
        background: row of the background class, None where there is none; see `matching`.
        settings: see `Settings`.
        device: where to compute; None = where a tensor of tokens is, else the CPU.
        on_map: takes what was found in each photo, of the first seed.
        track: progress, one step a run of k-means, then one a photo.

    Raises:
        ValueError: photos and labels differ in number, there are none, or a store's photos are not all done.

    Source: Leopart, CVPR 2022, overclustering protocol. Deviations: mean and deviation of the tokens, as the
    PCA, come from a sample where there are many (faiss samples for the PCA alone).
    """
    photos = _Photos(tokens, settings.normalise, device)
    if len(photos) != len(labels) or not len(photos):
        raise ValueError(f"tokens of {len(photos)} photos and {len(labels)} label maps: give one for each")
    reduction = _fit_reduction(photos, settings.dimensions)
    pool = torch.cat([reduction(rows) for rows in photos.sample(_POOL)])
    fits = {
        (k, seed): kmeans(
            pool,
            k,
            seed=seed,
            iterations=settings.iterations,
            restarts=settings.restarts,
            max_points_per_centroid=settings.points_per_centroid,
            track=track,
        )
        for k in ks
        for seed in seeds
    }
    del pool
    counts = {key: Confusion(num_classes, key[0]) for key in fits}
    for index in track(range(len(photos)), len(photos), "scoring"):
        truth = labels[index]
        if settings.eval_size is not None:
            truth = nearest(truth, settings.eval_size)
        _count(counts, fits, reduction(photos[index]), truth)
    scores = tuple(_scores(k, seeds, counts, background, settings) for k in ks)
    if on_map is not None:
        for index in track(range(len(photos)), len(photos), "maps"):
            reduced = reduction(photos[index])
            for found in scores:
                ids = fits[found.k, seeds[0]].assign(reduced).cpu().numpy()
                on_map(found.k, index, found.matchings[0].assignment[ids])
    return scores


def _fit_reduction(photos: _Photos, dimensions: int) -> Reduction:
    sample = torch.cat(list(photos.sample(_SAMPLE)))
    # The covariance is summed in float64, which MPS does not have.
    fitted = fit_reduction(sample.cpu() if photos.device.type == "mps" else sample, dimensions)
    return Reduction(fitted.offset.to(photos.device), fitted.projection.to(photos.device))


def _count(
    counts: dict[tuple[int, int], Confusion],
    fits: dict[tuple[int, int], KMeans],
    reduced: Tensor,
    truth: Labels,
) -> None:
    for key, fit in fits.items():
        ids = fit.assign(reduced).cpu().numpy()
        counts[key].update(truth, nearest(ids, (truth.shape[0], truth.shape[1])))


def _scores(
    k: int,
    seeds: Sequence[int],
    counts: dict[tuple[int, int], Confusion],
    background: int | None,
    settings: Settings,
) -> ClusterScores:
    matrices = [counts[k, seed].matrix for seed in seeds]
    if k == len(matrices[0]):
        found = tuple(hungarian(matrix, background, settings.absent) for matrix in matrices)
        return ClusterScores(k, "hungarian", tuple(seeds), found)
    rule = settings.many_to_one
    found = tuple(many_to_one(matrix, rule, background, settings.absent) for matrix in matrices)
    return ClusterScores(k, rule, tuple(seeds), found)


class _Photos:
    """Tokens of n photos, whatever holds them, one photo at a time on `device`."""

    def __init__(self, tokens: Tokens, normalise: bool, device: torch.device | None) -> None:
        if isinstance(tokens, FeatureStore) and not tokens.done.all():
            raise ValueError("the features of some photos are missing in the store")
        self.tokens, self.normalise = tokens, normalise
        here = tokens.device if isinstance(tokens, Tensor) else torch.device("cpu")
        self.device = here if device is None else device

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Tensor:
        """Tokens [h, w, D]."""
        tokens = self.tokens
        found = tokens.tokens_of(index) if isinstance(tokens, FeatureStore) else tokens[index]
        tensor = torch.as_tensor(found).to(self.device)
        return F.normalize(tensor.float(), dim=-1) if self.normalise else tensor

    def sample(self, most: int) -> Iterable[Tensor]:
        """Rows [m, D] of each photo, `most` of all photos' tokens together, or all where there are fewer."""
        sizes = [self._size(index) for index in range(len(self))]
        total = sum(sizes)
        chosen = np.random.default_rng(_SEED).choice(total, min(most, total), replace=False)
        mask = np.zeros(total, bool)
        mask[chosen] = True
        for index, wanted in enumerate(np.split(mask, np.cumsum(sizes)[:-1])):
            rows = self[index].flatten(0, 1)
            yield rows if wanted.all() else rows[torch.from_numpy(wanted).to(self.device)]

    def _size(self, index: int) -> int:
        if isinstance(self.tokens, FeatureStore):
            entry = self.tokens.entries[index]
            return entry.height * entry.width
        height, width = self.tokens[index].shape[:2]
        return int(height * width)

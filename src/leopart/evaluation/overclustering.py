"""Overclustering: cluster the tokens of all photos, assign each cluster a class, score the result.

Legend: n photos, h x w a photo's grid of tokens, D channels, d reduced channels, K clusters, C classes,
S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.reduce import fit_reduction
from leopart.clustering.sampling import draw_rows, take_rows
from leopart.errors import LeopartError
from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.confusion import Confusion, Labels
from leopart.evaluation.metrics.matching import Floats, Matching, hungarian, many_to_one
from leopart.evaluation.tokens import Tokens, home_of, paired_photos, token_shape, tokens_of
from leopart.progress import Track, silent

OnMap = Callable[[int, int, Labels], None]
"""Takes K, a photo's index, and class rows [h, w] of its tokens, -1 for none."""

#: Largest number of tokens that the reduction is fitted on: 100,000 x 384 in half precision are 77 MB.
_SAMPLE = 100_000
#: Largest number of reduced tokens that k-means draws from: 50 dimensions are 200 MB.
_POOL = 1_000_000
#: Seed of both draws: they do not change with the seed of the clustering.
_SEED = 0


class Clusterer(Protocol):
    """A clusterer in the manner of scikit-learn, such as its `MiniBatchKMeans`."""

    def fit_predict(self, points: npt.NDArray[np.float32], /) -> npt.ArrayLike:
        """Learn clusters of points [N, D], and return the id of each, 0 .. K-1."""
        ...

    def predict(self, points: npt.NDArray[np.float32], /) -> npt.ArrayLike:
        """Ids of other points [N, D]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the protocol does; the defaults are the paper's, apart from the number of seeds.

    Attributes:
        ks: numbers of clusters.
        seeds: of k-means.
        eval_size: side of the square at which cluster ids and labels are compared; None = the labels' size.
        dimensions: of the reduced tokens.
        normalise: make every token a unit vector first.
        restarts: of k-means; the best run counts.
        many_to_one: how a cluster finds its class where K is not the number of classes: `precision`, by
            majority vote of its pixels, or `iou`, the class with the largest IoU.
        absent: what a class without labelled pixels does to the mean, see `matching.score`.
    """

    ks: Sequence[int] = (500,)
    seeds: Sequence[int] = (0,)
    eval_size: int | None = 100
    dimensions: int = 50
    normalise: bool = False
    restarts: int = 5
    many_to_one: Literal["precision", "iou"] = "precision"
    absent: Literal["zero", "skip"] = "zero"


@dataclass(frozen=True)
class ClusterScores:
    """Scores of one number of clusters.

    Attributes:
        k: K.
        rule: `hungarian`, one to one, where K is the number of classes; otherwise see
            `Settings.many_to_one`.
        seeds: of k-means, S of them.
        matchings: clusters matched to classes, and all scores, for each seed.
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
        """Mean of `miou` over the seeds: the published number."""
        return float(self.miou.mean())

    @property
    def std(self) -> float:
        """Standard deviation of `miou` over these S seeds (not an estimate for others)."""
        return float(self.miou.std())


def overcluster(
    tokens: Tokens,
    labels: Sequence[Labels],
    num_classes: int,
    settings: Settings,
    *,
    background: int | None = None,
    clusterer: Clusterer | None = None,
    device: torch.device | None = None,
    on_map: OnMap | None = None,
    track: Track = silent,
) -> tuple[ClusterScores, ...]:
    """Scores of k-means on tokens against labels, one `ClusterScores` for each of `settings.ks`.

    1. Standardise the tokens per dimension and reduce them by PCA, fitted on at most 100,000 of them.
    2. K-means for each K and seed.
    3. Every token's cluster id, enlarged to `eval_size` by nearest; pixels counted by class and cluster over
       all photos.
    4. Clusters matched to classes: one to one (Hungarian) where K is their number, otherwise many to one.

    Labels are used for the matching and the scores only. Memory does not grow with the photos,
    apart from `tokens` and `labels` themselves and a few bytes a token.

    Args:
        tokens: see `Tokens`.
        labels: class rows 0 .. C-1 of each photo, 255 = no label, integer [H, W] of any size; brought to
            `eval_size` by nearest (`evaluation.labels` reads a data set's).
        num_classes: C.
        settings: see `Settings`.
        background: row of the background class, None where there is none; see `matching`.
        clusterer: in place of k-means; K is the number of its clusters, and it is run once, with seed 0.
        device: where to compute; None = where a tensor of tokens is, else the CPU.
        on_map: takes the predicted classes of each photo, for the first seed.
        track: progress, one step a run of k-means, then one a photo.

    Raises:
        ValueError: photos and labels differ in number, there are none, or a store's photos are not all done.
        LeopartError: the clusterer gives no cluster ids.

    Source: Leopart, CVPR 2022, overclustering protocol. Deviations: mean and deviation of the tokens, as the
    PCA, come from a sample where there are many (faiss samples for the PCA alone).
    """
    photos = range(len(paired_photos(tokens, labels)))
    clusterings = _Clusterings(tokens, settings, home_of(tokens, device), track, clusterer)
    if clusterer is not None:
        settings = replace(settings, ks=[k for k, _ in clusterings.fits], seeds=(0,))
    counts = {key: Confusion(num_classes, key[0]) for key in clusterings.fits}
    for index in track(photos, len(photos), "scoring"):
        truth = labels[index]
        if settings.eval_size is not None:
            truth = nearest(truth, settings.eval_size)
        for key, ids in clusterings.ids(index):
            counts[key].update(truth, nearest(ids, (truth.shape[0], truth.shape[1])))
    scores = tuple(_scores(k, counts, background, settings) for k in settings.ks)
    if on_map is not None:
        class_of = {(found.k, settings.seeds[0]): found.matchings[0].assignment for found in scores}
        for index in track(photos, len(photos), "maps"):
            for key, ids in clusterings.ids(index, class_of):
                on_map(key[0], index, class_of[key][ids])
    return scores


Key = tuple[int, int]
"""K and the seed of a run of k-means."""


class _Clusterings:
    """K-means of the reduced tokens for each K and seed, or another clusterer. No label is seen."""

    def __init__(
        self,
        tokens: Tokens,
        settings: Settings,
        device: torch.device,
        track: Track,
        clusterer: Clusterer | None = None,
    ) -> None:
        self.tokens, self.normalise, self.device = tokens, settings.normalise, device
        self.reduction = fit_reduction(torch.cat(list(self._sample(_SAMPLE))), settings.dimensions)
        pool = torch.cat([self.reduction(rows) for rows in self._sample(_POOL)])
        self.fits: dict[Key, KMeans | _Given]
        if clusterer is not None:
            given = _Given(clusterer, pool)
            self.fits = {(given.n_clusters, 0): given}
            return
        self.fits = {
            (k, seed): kmeans(
                pool,
                k,
                seed=seed,
                restarts=settings.restarts,
                track=track,
            )
            for k in settings.ks
            for seed in settings.seeds
        }

    def ids(self, index: int, wanted: Iterable[Key] | None = None) -> Iterator[tuple[Key, Labels]]:
        """Cluster of each token of a photo, [h, w], for each K and seed, or for those that are wanted."""
        reduced = self.reduction(self._photo(index))
        for key in self.fits if wanted is None else wanted:
            yield key, self.fits[key].assign(reduced).cpu().numpy()

    def _sample(self, most: int) -> Iterator[Tensor]:
        shapes = (token_shape(self.tokens, index) for index in range(len(self.tokens)))
        sizes = [height * width for height, width, _ in shapes]
        return take_rows(self._photo, draw_rows(sizes, most, _SEED, photo_by_photo=False))

    def _photo(self, index: int) -> Tensor:
        """Tokens [h, w, D] on `device`."""
        tokens = tokens_of(self.tokens, index).to(self.device)
        return F.normalize(tokens.float(), dim=-1) if self.normalise else tokens


class _Given:
    """Clusters by a clusterer that was given, with the part of `KMeans` that is needed here."""

    def __init__(self, clusterer: Clusterer, points: Tensor) -> None:
        self.clusterer = clusterer
        self.n_clusters = 1 + int(
            self._checked(clusterer.fit_predict(points.cpu().numpy()), len(points)).max()
        )

    def assign(self, points: Tensor) -> Tensor:
        """Cluster ids of points [..., D] as int64 [...]."""
        flat = points.reshape(-1, points.shape[-1]).float().cpu().numpy()
        ids = self._checked(self.clusterer.predict(flat), len(flat), self.n_clusters)
        return torch.from_numpy(ids).reshape(points.shape[:-1])

    def _checked(self, found: Any, points: int, most: int = 2**31) -> npt.NDArray[np.int64]:
        ids = np.asarray(found)
        if (
            ids.shape == (points,)
            and np.issubdtype(ids.dtype, np.integer)
            and 0 <= ids.min() <= ids.max() < most
        ):
            return ids.astype(np.int64)
        what = f"{type(self.clusterer).__name__} gave {ids.dtype} {list(ids.shape)} for {points} points"
        raise LeopartError(f"{what}: a clusterer gives each point the id of its cluster, 0, 1, ...")


def _scores(
    k: int, counts: Mapping[Key, Confusion], background: int | None, settings: Settings
) -> ClusterScores:
    seeds, absent = tuple(settings.seeds), settings.absent
    matrices = [counts[k, seed].matrix for seed in seeds]
    if k == len(matrices[0]):
        found = tuple(hungarian(matrix, background, absent) for matrix in matrices)
        return ClusterScores(k, "hungarian", seeds, found)
    rule = settings.many_to_one
    found = tuple(many_to_one(matrix, rule, background, absent) for matrix in matrices)
    return ClusterScores(k, rule, seeds, found)

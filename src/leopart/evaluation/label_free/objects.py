"""Fully unsupervised segmentation: foreground embeddings clustered, clusters joined to objects, and scored.

Legend: n photos, S the side at which they are compared, d reduced channels, K clusters of the foreground,
C classes, M communities. Id K is background.

Source: Leopart, CVPR 2022, and its supplement (appendix A.1, Table 2b).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leopart.clustering.communities import detect_communities
from leopart.clustering.cooccurrence import CLEAN_OFFSETS, REFERENCE_OFFSETS, Cooccurrence, edge_list
from leopart.clustering.enlarge import Interpolation, enlarged
from leopart.clustering.kmeans import KMeans, kmeans
from leopart.clustering.reduce import Reduction
from leopart.clustering.sampling import draw_rows, take_rows
from leopart.evaluation.label_free.foreground import Foreground, Mask
from leopart.evaluation.label_free.published import Published
from leopart.evaluation.metrics.confusion import Confusion, Labels
from leopart.evaluation.metrics.matching import Counts, Matching, hungarian, many_to_one
from leopart.evaluation.tokens import PhotoTokens
from leopart.progress import Track, silent

OnMap = Callable[[str, int, Labels], None]
"""Takes `cbfe` or `cd`, a photo's index, and the predicted class rows [S, S], -1 for none."""

#: Least number of points that k-means samples from: 13 MB at 50 channels. It is the same for all usual
#: numbers of clusters, so that a search and the final score see the same clusters.
_POOL = 1 << 16
#: Points for each cluster that `kmeans` learns from.
_PER_CLUSTER = 256
#: Seed of the sample that k-means learns from, and of the clusters that are joined to communities.
_SEED = 0


@dataclass(frozen=True)
class Truth:
    """What is scored against.

    Attributes:
        labels: class rows [S, S] of the photos that are scored, 255 = no label; None for the others.
        num_classes: C, background included.
        background: row of the background class.
        absent: see `matching.score`.
    """

    labels: Sequence[Labels | None]
    num_classes: int
    background: int
    absent: Literal["zero", "skip"] = "zero"

    def matched(self, matrix: Counts) -> Matching:
        """Ids and classes one to one, see `hungarian`."""
        return hungarian(matrix, self.background, self.absent)


@dataclass(frozen=True)
class ForegroundPhotos:
    """Foreground embeddings of n photos, computed one photo at a time.

    Attributes:
        tokens: of each photo, [h, w, D].
        reduction: tokens to d dimensions, on the device that computes.
        foreground: of each photo.
        interpolation: of reduced tokens to S x S, see `enlarged`.
    """

    tokens: Sequence[PhotoTokens]
    reduction: Reduction
    foreground: Foreground
    interpolation: Interpolation = "bilinear"

    def __len__(self) -> int:
        return len(self.tokens)

    def embeddings(self, index: int) -> tuple[Mask, Tensor]:
        """Foreground of a photo, bool [S, S], and the embeddings of its pixels, float32 [pixels, d]."""
        mask = self.foreground.mask(index)
        device = self.reduction.offset.device
        reduced = self.reduction(torch.as_tensor(self.tokens[index]).to(device))
        pixels = enlarged(reduced, mask.shape, self.interpolation)
        return mask, pixels[torch.from_numpy(mask).to(device)]

    def pool(self, n_clusters: int, track: Track = silent) -> Tensor:
        """The points that k-means with up to `n_clusters` clusters samples from, see `sample`."""
        return self.sample(max(_POOL, _PER_CLUSTER * n_clusters), track)

    def sample(self, most: int, track: Track = silent) -> Tensor:
        """`most` random foreground embeddings of all photos, or all where there are fewer, [points, d].

        Raises:
            ValueError: nothing is foreground.
        """
        sizes = [int(self.foreground.mask(index).sum()) for index in range(len(self))]
        chosen = draw_rows(sizes, most, _SEED)
        found = take_rows(lambda index: self.embeddings(index)[1], track(chosen, len(self), "foreground"))
        drawn = list(found)
        if not drawn:
            raise ValueError("nothing is foreground")
        return torch.cat(drawn)


@dataclass
class Tally:
    """Running counts of one clustering of the foreground; all its scores follow from them.

    Attributes:
        fit: K clusters.
        num_classes: C.
        graph: counts of neighbouring clusters, with K nodes, or K + 1 if background is a node; None = not
            counted.
        confusion: pixels by class and id, C x (K + 1); id K is background.
    """

    fit: KMeans
    num_classes: int
    graph: Cooccurrence | None = None
    confusion: Confusion = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = Confusion(self.num_classes, self.n_clusters + 1)

    @property
    def n_clusters(self) -> int:
        """K."""
        return len(self.fit.centroids)

    def ids(self, mask: Mask, embeddings: Tensor) -> npt.NDArray[np.int64]:
        """Clusters 0 .. K-1 of a photo and K for background, [S, S]."""
        ids = np.full(mask.shape, self.n_clusters)
        ids[mask] = self.fit.assign(embeddings).cpu().numpy()
        return ids

    def add(self, mask: Mask, embeddings: Tensor, labels: Labels | None) -> None:
        """Count one photo; see `ForegroundPhotos.embeddings`.

        Args:
            mask: foreground, bool [S, S].
            embeddings: of its pixels.
            labels: class rows, 255 = no label, [S, S]; None = the photo is not scored.
        """
        ids = self.ids(mask, embeddings)
        if labels is not None:
            self.confusion.update(labels, ids)
        if self.graph is not None:
            background_is_node = self.graph.n_clusters > self.n_clusters
            self.graph.add(ids if background_is_node else np.where(mask, ids, -1))


def part_tally(points: Tensor, num_classes: int, recipe: Published, *, track: Track = silent) -> Tally:
    """The clusters that are joined to communities, with an empty graph."""
    fit = kmeans(points, recipe.clusters, seed=_SEED, track=track)
    offsets = REFERENCE_OFFSETS if "offsets" in recipe.reference else CLEAN_OFFSETS
    nodes = len(fit.centroids) + ("background" in recipe.reference)
    return Tally(fit, num_classes, Cooccurrence(nodes, offsets))


def count(
    photos: ForegroundPhotos,
    tallies: Sequence[Tally],
    labels: Sequence[Labels | None],
    *,
    track: Track = silent,
) -> None:
    """Count all photos; those without labels only if a tally has a graph.

    Raises:
        ValueError: there are not as many labels as photos, or they have another size.
    """
    if len(labels) != len(photos):
        raise ValueError(f"labels of {len(labels)} photos were given for {len(photos)}")
    all_count = any(tally.graph is not None for tally in tallies)
    wanted = [i for i, truth in enumerate(labels) if all_count or truth is not None]
    for index in track(wanted, len(wanted), "counting"):
        found = photos.embeddings(index)
        for tally in tallies:
            tally.add(*found, labels[index])


def communities(tally: Tally, recipe: Published, *, engine: str, seed: int) -> npt.NDArray[np.int64]:
    """Community 1 .. M of each cluster and of background, [K + 1]; 0 = none, which is background.

    C - 1 communities are preferred; the engine may find more or fewer.

    Args:
        tally: with a graph, after `count`.
        recipe: gives the least probability of an edge, and the Markov time.
        engine: see `detect_communities`.
        seed: >= 0; Infomap gets one more, since its seeds begin at 1.

    Raises:
        ValueError: the tally has no graph.
    """
    if tally.graph is None:
        raise ValueError("communities need a tally with a graph")
    modules = detect_communities(
        edge_list(tally.graph.conditional, recipe.edge),
        tally.graph.n_clusters,
        engine=engine,
        resolution=1 / recipe.markov_time,
        n_communities=tally.num_classes - 1,
        seed=seed,
    )
    missing = tally.n_clusters + 1 - len(modules)  # background, where it is no node
    return np.append(modules, np.zeros(missing, np.int64))


def merged(matrix: Counts, modules: npt.NDArray[np.int64]) -> Counts:
    """Pixels by class and community, [C, M + 1], from those by class and id, [C, K + 1]."""
    result = np.zeros((len(matrix), int(modules.max()) + 1), np.int64)
    np.add.at(result.T, modules, matrix.T)
    return result


@dataclass(frozen=True)
class FullyUnsupervised:
    """Scores of the rows of Table 2b that have a foreground.

    Attributes:
        cbfe: C - 1 clusters and background, one to one; of each seed of k-means.
        cd: communities, one to one; of each seed of the engine.
        upper_bound: the same clusters as in `cd`, each matched to a class by majority vote: no communities
            have more correct pixels.
        edges: of the graph.
        modules: community of each cluster and of background, [K + 1], of each seed.
    """

    cbfe: tuple[Matching, ...]
    cd: tuple[Matching, ...]
    upper_bound: Matching
    edges: int
    modules: tuple[npt.NDArray[np.int64], ...]


def fully_unsupervised(
    photos: ForegroundPhotos,
    truth: Truth,
    recipe: Published,
    *,
    engine: str,
    seeds: Sequence[int] = range(5),
    on_map: OnMap | None = None,
    track: Track = silent,
) -> FullyUnsupervised:
    """Cluster the foreground, join neighbouring clusters to objects, and score both.

    1. K-means of the foreground's embeddings into C - 1 clusters (each seed), with background C ids, matched
       one to one with the classes so that the sum of IoUs is largest.
    2. K-means into `recipe.clusters` (seed 0); a graph of which clusters are neighbours, over all photos; its
       communities (each seed), C - 1 preferred; clusters in none are background. Matched one to one; surplus
       communities are background.

    Args:
        photos: all that are clustered.
        truth: what is scored against.
        recipe: see `Published`; its threshold is not used here.
        engine: see `detect_communities`.
        seeds: of k-means in 1, of the engine in 2.
        on_map: takes the predicted classes of each scored photo, for the first seed.
        track: progress.

    Raises:
        ValueError: nothing is foreground, or there is no class besides background.

    Source: see the module. Deviations: k-means learns from a random sample of 256 pixels a cluster (faiss
    samples as many); background is no node of the graph, see `Published.reference`.
    """
    if truth.num_classes < 2:
        raise ValueError("there is no class besides background")
    objects, parts = _counted(photos, truth, recipe, seeds, track)
    modules = tuple(communities(parts, recipe, engine=engine, seed=seed) for seed in seeds)
    matrix = parts.confusion.matrix
    found = FullyUnsupervised(
        cbfe=tuple(truth.matched(tally.confusion.matrix) for tally in objects),
        cd=tuple(truth.matched(merged(matrix, of_seed)) for of_seed in modules),
        upper_bound=many_to_one(matrix, "precision", truth.background, truth.absent),
        edges=0 if parts.graph is None else len(edge_list(parts.graph.conditional, recipe.edge)),
        modules=modules,
    )
    if on_map is not None:
        cbfe = (objects[0], found.cbfe[0].assignment)
        cd = (parts, found.cd[0].assignment[modules[0]])
        _show(photos, truth, {"cbfe": cbfe, "cd": cd}, on_map, track)
    return found


def _counted(
    photos: ForegroundPhotos, truth: Truth, recipe: Published, seeds: Sequence[int], track: Track
) -> tuple[list[Tally], Tally]:
    """Tallies of C - 1 clusters for each seed, and of the clusters that are joined to communities."""
    n_objects = truth.num_classes - 1
    points = photos.pool(max(recipe.clusters, n_objects), track)
    fits = [kmeans(points, n_objects, seed=seed, track=track) for seed in seeds]
    objects = [Tally(fit, truth.num_classes) for fit in fits]
    parts = part_tally(points, truth.num_classes, recipe, track=track)
    count(photos, [*objects, parts], truth.labels, track=track)
    return objects, parts


def _show(
    photos: ForegroundPhotos,
    truth: Truth,
    classes: dict[str, tuple[Tally, npt.NDArray[np.int64]]],
    on_map: OnMap,
    track: Track,
) -> None:
    scored = [index for index, labels in enumerate(truth.labels) if labels is not None]
    for index in track(scored, len(scored), "maps"):
        found = photos.embeddings(index)
        for name, (tally, class_of) in classes.items():
            on_map(name, index, class_of[tally.ids(*found)])

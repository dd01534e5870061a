"""Foreground without labels (CBFE): clusters of all tokens; those that noisy masks cover are foreground.

Legend: n photos in L lists, h x w a photo's grid of tokens, D channels, d reduced channels, K clusters, S the
side at which masks are compared.

Source: Leopart, CVPR 2022, cluster-based foreground extraction; appendix A.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from leopart.clustering.foreground import ClusterCounts
from leopart.clustering.kmeans import kmeans
from leopart.clustering.reduce import Reduction, fit_reduction
from leopart.clustering.sampling import draw_rows, take_rows
from leopart.evaluation.labels import nearest
from leopart.evaluation.tokens import PhotoTokens
from leopart.progress import Track, silent

Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

SIDE = 100
"""S of the paper."""
#: Largest number of tokens to learn from: 77 MB at 384 channels in half precision.
_SAMPLE = 100_000
#: Seed of the sample and of the clusters.
_SEED = 0


@dataclass(frozen=True)
class TokenClusters:
    """Clusters of all tokens of n photos.

    Attributes:
        reduction: tokens to d dimensions.
        ids: cluster of each token, n arrays uint16 [h, w].
        n_clusters: K.
    """

    reduction: Reduction
    ids: tuple[npt.NDArray[np.uint16], ...]
    n_clusters: int


def cluster_tokens(
    tokens: Sequence[PhotoTokens],
    *,
    n_clusters: int = 200,
    dimensions: int = 50,
    device: torch.device | None = None,
    track: Track = silent,
) -> TokenClusters:
    """Standardise all tokens, reduce them by PCA, and cluster them by spherical k-means (seed 0).

    Args:
        tokens: of n photos; grids may differ.
        n_clusters: K, or the number of tokens if that is smaller.
        dimensions: d.
        device: where to compute; None = the CPU.
        track: progress, one step a run of k-means, then one a photo.

    Raises:
        ValueError: there are no tokens.

    Source: see the module. Deviation: standardisation, PCA and k-means learn from a random sample of 100,000
    tokens where there are more (faiss takes 51,200 of them for k-means).
    """
    device = device or torch.device("cpu")
    chosen = draw_rows([photo.shape[0] * photo.shape[1] for photo in tokens], _SAMPLE, _SEED)
    sample = torch.cat(list(take_rows(lambda index: torch.as_tensor(tokens[index]), chosen)))
    reduction = fit_reduction(sample, dimensions).to(device)
    clusters = kmeans(
        reduction(sample.to(device)),
        n_clusters,
        seed=_SEED,
        spherical=True,
        track=track,
    )
    ids = tuple(
        clusters.assign(reduction(torch.as_tensor(photo).to(device))).cpu().numpy().astype(np.uint16)
        for photo in track(tokens, len(tokens), "clusters")
    )
    return TokenClusters(reduction, ids, len(clusters.centroids))


def list_precisions(
    ids: Sequence[Ids],
    noisy: Sequence[Mask],
    list_of: Ids,
    n_clusters: int,
    *,
    pooled: bool = False,
    side: int = SIDE,
) -> Floats:
    """Mean precision of each cluster against noisy foreground masks, of each list of photos, [L, K].

    Args:
        ids: clusters 0 .. K-1 of each photo's tokens, n arrays [h, w].
        noisy: foreground masks of the same photos, n arrays bool of any size.
        list_of: list 0 .. L-1 of each photo, [n].
        n_clusters: K.
        pooled: treat all lists as one; all rows are then the same.
        side: S; ids and masks are resized to it by nearest.

    Source: see the module; the authors' code treats each list by itself.
    """
    counts = [ClusterCounts(n_clusters) for _ in range(1 if pooled else int(max(list_of)) + 1)]
    for photo, mask, where in zip(ids, noisy, list_of, strict=True):
        counts[0 if pooled else where].add(nearest(photo, side), nearest(mask, side))
    rows = np.stack([one.precision for one in counts])
    return np.repeat(rows, int(max(list_of)) + 1, axis=0) if pooled else rows


@dataclass(frozen=True)
class Foreground:
    """Foreground of n photos: the clusters that were chosen for each list.

    Attributes:
        ids: cluster of each token, n arrays [h, w].
        chosen: which clusters are foreground, [L, K] bool.
        list_of: list of each photo, [n].
        side: S.
    """

    ids: Sequence[Ids]
    chosen: Mask
    list_of: Ids
    side: int = SIDE

    def mask(self, index: int) -> Mask:
        """Foreground of photo `index`, bool [S, S]."""
        return nearest(self.chosen[self.list_of[index]][self.ids[index]], self.side)


def otsu_mask(attention: npt.NDArray[np.floating[Any]]) -> Mask:
    """Attention above Otsu's threshold: a simple baseline of foreground.

    Args:
        attention: mean over the heads, [h, w]. It is blurred first as in `models.attention.attention_mask`.

    Returns:
        bool [h, w]; nothing is foreground where all values are equal.

    Source: Otsu, A threshold selection method from gray-level histograms, 1979; 256 bins from the least to
    the largest value.
    """
    maps = np.asarray(attention, np.float64)
    blurred: Floats = np.asarray(
        cv2.GaussianBlur(maps, (7, 7), 0.6, borderType=cv2.BORDER_REFLECT_101), np.float64
    )
    return blurred > otsu_threshold(blurred)


def otsu_threshold(values: npt.NDArray[np.floating[Any]]) -> float:
    """The threshold with the largest variance between the two classes; see `otsu_mask`."""
    if values.min() == values.max():
        return float(values.min())
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    low, low_sum = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    high, high_sum = counts.sum() - low, (counts * centres).sum() - low_sum
    between = low * high * (low_sum / low - high_sum / high) ** 2
    return float(centres[between.argmax()])

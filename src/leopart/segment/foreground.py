"""Which clusters of tokens are foreground, or whether everything is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from leopart.clustering.foreground import ClusterCounts, ForegroundCut, agreeing_cut
from leopart.clustering.kmeans import KMeans
from leopart.errors import LeopartError
from leopart.segment.folder_kind import FolderKind, PlaceCounts

#: Fewer photos do not show what kind of folder it is.
FEW_PHOTOS = 20


@dataclass(frozen=True)
class ForegroundClusters:
    """Clusters of all tokens, and which of them are foreground.

    Attributes:
        clusters: C clusters.
        is_foreground: [C] bool.
        n_tokens: tokens that the foreground clusters hold.
        cut: how the clusters agree with the attention; None where that was not asked.
        threshold: least precision of a foreground cluster; None where everything is foreground.
        margin: precision less the threshold, [C] float32; None likewise.
        kind: what the folder shows; None where it was not asked or there are too few photos.
    """

    clusters: KMeans
    is_foreground: Tensor
    n_tokens: int
    cut: ForegroundCut | None = None
    threshold: float | None = None
    margin: Tensor | None = None
    kind: FolderKind | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is background by decision."""
        return self.threshold is None


def everything(dimensions: int, n_tokens: int, kind: FolderKind | None = None) -> ForegroundClusters:
    """One cluster that holds all tokens of these dimensions."""
    one = KMeans(torch.zeros(1, dimensions), spherical=True, objective=0.0)
    return ForegroundClusters(one, torch.ones(1, dtype=torch.bool), n_tokens, kind=kind)


def decide_foreground(
    clusters: KMeans, counts: ClusterCounts, places: PlaceCounts, wanted: float | Literal["auto"]
) -> ForegroundClusters:
    """Keep the clusters whose precision reaches the threshold.

    With `auto` the threshold is the one that agrees best with the attention, and everything is foreground
    where the clusters above it are no things, see `leopart.segment.folder_kind`.

    Args:
        clusters: of all tokens.
        counts: their agreement with the attention.
        places: where in the photos they are.
        wanted: the threshold.

    Raises:
        LeopartError: no cluster reaches the threshold.
    """
    cut = agreeing_cut(counts)
    threshold = cut.threshold if wanted == "auto" else float(wanted)
    chosen = (counts.precision >= threshold) & (counts.pixels > 0)
    if not chosen.any():
        message = (
            f"no cluster reaches the foreground precision {threshold:g} (the best has "
            f"{counts.precision.max():.2f}): lower --foreground or leave it at auto"
        )
        raise LeopartError(message)
    kind = None
    if wanted == "auto" and places.photos >= FEW_PHOTOS:
        kind = FolderKind(places.border_ratio(chosen))
        if kind.name != "things":
            return everything(clusters.centroids.shape[1], int(counts.pixels.sum()), kind)
    n_tokens = int(counts.pixels[chosen].sum())
    margin = torch.from_numpy(counts.precision - threshold).float()
    return ForegroundClusters(clusters, torch.from_numpy(chosen), n_tokens, cut, threshold, margin, kind)

"""The learned part of a segmenter: from a photo's tokens to part and object ids. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.enlarge import enlarged
from leopart.clustering.kmeans import KMeans
from leopart.clustering.reduce import Reduction
from leopart.drawing.masks import upsample_labels
from leopart.segment.pieces import Split

#: Ids are decided on a grid this many times finer than the tokens', on interpolated embeddings. The paper
#: interpolates 28 x 28 tokens to 100 x 100, about the same.
FINER = 4


@dataclass(frozen=True)
class PartModel:
    """Reduction, foreground clusters, parts and their objects.

    Attributes:
        reduction: tokens to d dimensions.
        clusters: C spherical clusters of all tokens, each foreground or background.
        is_foreground: [C] bool.
        parts: clusters of foreground tokens; those of the part ids 1, 2, .. before any part was split.
        object_of_part: [K + 1] int64, object of each part id; entry 0 (background) is 0. With a mixture or
            prototypes, the object that has most of the part.
        mixture: decides a part's object in a photo by the parts around it, see `object_table`; None = it is
            the same everywhere. Its object o is object id o + 1, its part p is part id p + 1; it knows
            nothing of splits.
        margin: [C] float32, foreground precision of each cluster less the threshold, a graded
            `is_foreground`; None = not known.
        prototypes: unit direction of each object 1..M; then a segment of the foreground has the object whose
            prototype is nearest, whatever its parts, see `leopart.segment.segments`. None = parts decide.
        scene_of_object: [M] int64, scene group 1.. of objects 1..M, see `scene_groups`; no id depends on it.
            None = not known.
        splits: parts that were taken apart, in the order in which it was done; see `with_split`.
    """

    reduction: Reduction
    clusters: KMeans
    is_foreground: Tensor
    parts: KMeans
    object_of_part: NDArray[np.int64]
    mixture: ObjectMixture | None = None
    margin: Tensor | None = None
    scene_of_object: NDArray[np.int64] | None = None
    prototypes: KMeans | None = None
    splits: tuple[Split, ...] = ()

    @property
    def n_parts(self) -> int:
        """K: part ids are 1 to this, pieces of split parts included."""
        return len(self.object_of_part) - 1

    @property
    def unsplit(self) -> NDArray[np.int64]:
        """Part that each part id belonged to before any split, [K + 1]; entry 0 is 0."""
        origin = np.arange(self.n_parts + 1)
        for split in self.splits:
            origin[split.ids] = origin[split.part]
        return origin

    @property
    def centroids(self) -> Tensor:
        """Centroid of every part id, [K, d]; row p - 1 is that of part p, of its piece where it was split."""
        rows = self.parts.centroids.new_zeros(self.n_parts, self.parts.centroids.shape[1])
        rows[: len(self.parts.centroids)] = self.parts.centroids
        for split in self.splits:
            rows[torch.from_numpy(split.ids - 1)] = split.pieces.centroids
        return rows

    def with_split(self, split: Split) -> PartModel:
        """The same with one part in pieces; the pieces belong to the part's object."""
        objects = np.full(len(split.ids) - 1, self.object_of_part[split.part])
        return replace(
            self,
            object_of_part=np.concatenate([self.object_of_part, objects]),
            splits=(*self.splits, split),
        )

    def before_split(self) -> PartModel:
        """The same without the last split.

        Raises:
            IndexError: no part was split.
        """
        added = len(self.splits[-1].ids) - 1
        return replace(self, object_of_part=self.object_of_part[:-added], splits=self.splits[:-1])

    @property
    def scenes(self) -> dict[int, list[int]]:
        """Object ids of each scene group, both ascending; empty without groups."""
        scenes: dict[int, list[int]] = {}
        if self.scene_of_object is not None:
            for number in np.argsort(self.scene_of_object, kind="stable"):
                scenes.setdefault(int(self.scene_of_object[number]), []).append(int(number) + 1)
        return scenes

    @property
    def n_objects(self) -> int:
        """Object ids are 1 to this."""
        if self.prototypes is not None:
            return len(self.prototypes.centroids)
        if self.mixture is not None:
            return len(self.mixture.parts_of_object)
        return int(self.object_of_part.max())

    def object_table(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Object of each part id in one photo, [K + 1] int64; entry 0 (background) is 0.

        Args:
            ids: part ids of the photo on the finer grid, with or without pieces, any shape.
        """
        if self.mixture is None:
            return self.object_of_part
        unsplit = self.unsplit
        counts = np.bincount(unsplit[ids.ravel()], minlength=len(self.parts.centroids) + 1)[1:]
        return np.concatenate([[0], 1 + self.mixture.assign(counts)])[unsplit]

    def label(self, tokens: NDArray[np.float16]) -> NDArray[np.int32]:
        """Part ids of one photo, 0 = background and 1..K, on the finer grid.

        Args:
            tokens: [h, w, D].

        Returns:
            int32 [FINER * h, FINER * w].
        """
        ids = self.label_scored(tokens)[0]
        return self.in_pieces(ids, tokens)

    def in_pieces(self, ids: NDArray[np.int32], tokens: NDArray[np.float16]) -> NDArray[np.int32]:
        """Part ids of one photo after all splits.

        At any size of the photo, pixels of a split part become pieces and all others stay as they are: a
        split moves no outline between parts.

        Args:
            ids: part ids before any split, [H, W].
            tokens: of the photo, [h, w, D].
        """
        if not self.splits:
            return ids
        ids, embeddings = ids.copy(), self.embed(tokens)
        for split in self.splits:
            divide(ids, split, embeddings)
        return ids

    @torch.inference_mode()
    def label_scored(self, tokens: NDArray[np.float16]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """`label` before any split, and how near each cell is to its part's centroid.

        Returns:
            The ids, and a fit that is larger where the centroid is nearer, -inf in the background; both
            [FINER * h, FINER * w].
        """
        embeddings = self.embed(tokens)
        return self.label_embedded(embeddings, self.foreground(embeddings))

    @torch.inference_mode()
    def label_embedded(
        self, embeddings: Tensor, foreground: Tensor
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """`label_scored` of embeddings [H, W, d] whose foreground [H, W] is known."""
        ids = torch.zeros(foreground.shape, dtype=torch.int32)
        scores = torch.full(foreground.shape, -torch.inf)
        parts, fit = self.parts.nearest(embeddings[foreground])
        ids[foreground], scores[foreground] = parts.int() + 1, fit
        return ids.numpy(), scores.numpy()

    @torch.inference_mode()
    def nearest_parts(self, tokens: NDArray[np.float16]) -> NDArray[np.int32]:
        """Part ids before any split of all cells of the finer grid, foreground or not; see `label`."""
        ids, _ = self.parts.nearest(self.embed(tokens))
        return np.asarray(1 + ids.numpy(), np.int32)

    @torch.inference_mode()
    def nearest_objects(self, embeddings: Tensor) -> NDArray[np.int64]:
        """Object 1..M whose prototype each of the embeddings [..., d] points to, int64 [...].

        Raises:
            ValueError: the model has no prototypes.
        """
        if self.prototypes is None:
            raise ValueError("these objects have no prototypes")
        return np.asarray(1 + self.prototypes.assign(embeddings).numpy())

    @property
    def margins(self) -> Tensor:
        """`margin`; where it is not known, 1/2 for foreground and -1/2 for background, [C] float32."""
        return self.is_foreground.float() - 0.5 if self.margin is None else self.margin

    def foreground(self, embeddings: Tensor) -> Tensor:
        """Which of the embeddings [..., d] are foreground, bool [...]."""
        return self.is_foreground[self.clusters.assign(embeddings)]

    def embed(self, tokens: NDArray[np.float16]) -> Tensor:
        """Reduced tokens [h, w, D] on the finer grid, [FINER * h, FINER * w, d] float32."""
        return finer_embeddings(self.reduction(torch.from_numpy(tokens)))


def finer_embeddings(reduced: Tensor) -> Tensor:
    """Reduced tokens [h, w, d] on the finer grid, [FINER * h, FINER * w, d]; see `enlarged`."""
    height, width = reduced.shape[:2]
    return enlarged(reduced, (FINER * height, FINER * width))


def divide(ids: NDArray[np.int32], split: Split, embeddings: Tensor) -> None:
    """Replace a part's id by those of its pieces, in place.

    Args:
        ids: part ids, [H, W]; changed where they are `split.part`.
        split: which pieces.
        embeddings: of the photo on the finer grid, [h, w, d]; see `PartModel.embed`.
    """
    own = ids == split.part
    if own.any():
        ids[own] = upsample_labels(split.piece_of(embeddings), *ids.shape)[own]

"""In-context segmentation: patches of new photos take the labels of their nearest labelled patches.

Legend: n photos, h x w a photo's grid of tokens, D channels, C classes, N tokens in memory, k neighbours.

Source: Balažević et al., "Towards In-context Scene Understanding", NeurIPS 2023, with the numbers of its open
re-implementation (vpariza/open-hummingbird-eval): k = 30, temperature 0.02, cosine, rare classes first where
the memory is limited, class shares enlarged bilinearly. Deviations: the search is exact; void pixels do not
count, whereas the re-implementation treats them as background in the memory; each photo is used once, without
augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.masks import IGNORE
from leopart.evaluation.metrics.cells import cell_counts
from leopart.evaluation.metrics.confusion import Confusion, Labels
from leopart.evaluation.neighbours import CosineIndex
from leopart.evaluation.tokens import Tokens, home_of, paired_photos, tokens_of
from leopart.progress import Track, silent

OnMap = Callable[[int, Labels], None]
"""Takes a photo's index and the predicted class of each of its pixels, [H, W]."""
Floats = npt.NDArray[np.float32]


def fraction_subset(n_photos: int, fraction: float, seed: int = 0) -> npt.NDArray[np.int64]:
    """A random share of the training photos, ascending indices: ceil(n * fraction), at least one.

    The subsets of one seed are nested: a larger fraction contains the photos of a smaller one.

    Args:
        n_photos: n >= 1.
        fraction: in (0, 1]; the protocol takes 1, 1/8, 1/64 and 1/128.
        seed: of the draw; the protocol takes several seeds for fractions below 1.

    Raises:
        ValueError: there are no photos, or the fraction is out of range.
    """
    if n_photos < 1 or not 0 < fraction <= 1:
        raise ValueError(f"{fraction} of {n_photos} photos: give photos, and a fraction in (0, 1]")
    count = max(1, math.ceil(round(n_photos * fraction, 6)))  # 0.1 * 30 is slightly more than 3
    return np.sort(np.random.default_rng(seed).permutation(n_photos)[:count])


@dataclass(frozen=True)
class MemoryBank:
    """Labelled patches of training photos.

    Attributes:
        index: their tokens, unit vectors [N, D].
        shares: of each class among a patch's labelled pixels, float32 [N, C]; rows sum to 1.
    """

    index: CosineIndex
    shares: Tensor

    @classmethod
    def build(
        cls,
        tokens: Tokens,
        labels: Sequence[Labels],
        num_classes: int,
        *,
        memory_size: int | None = None,
        seed: int = 0,
        device: torch.device | None = None,
        photos: Sequence[int] | npt.NDArray[np.int64] | None = None,
        track: Track = silent,
    ) -> MemoryBank:
        """Memory of all labelled patches, or of `memory_size` of them.

        Patches without a labelled pixel are left out. A limited memory takes equally many patches from
        each photo, rare classes first: the score of a patch is a random number times the sum, over its
        classes, of the number of patches of the photo with that class; patches with the lowest scores are
        taken. Where a photo has too few patches, other photos do not fill up. 300 photos of 1024 tokens of
        384 channels take 460 MB, 1.5 times that where the search runs in bfloat16, and double while they are
        gathered.

        Args:
            tokens: of n photos, see `Tokens`.
            labels: class rows 0 .. C-1 of each photo, 255 = no label, integer [H, W] of any size.
            num_classes: C.
            memory_size: largest number of patches; None = all.
            seed: of the random numbers.
            device: where to keep and search them; None = where a tensor of tokens is, else the CPU.
            photos: indices of the photos to take, see `fraction_subset`; None = all.
            track: progress, one step a photo.

        Raises:
            ValueError: tokens and labels differ in number, a store's photos are not all done, a class is out
                of range, or no patch has a label.
        """
        chosen = paired_photos(tokens, labels, photos)
        if memory_size is not None and memory_size < 1:
            raise ValueError(f"a memory of {memory_size} tokens: at least one is needed")
        home, quotas = home_of(tokens, device), _quotas(len(chosen), memory_size, seed)
        vectors, shares = [], []
        for index, quota in track(zip(chosen, quotas, strict=True), len(chosen), "memory"):
            found = unit_tokens(tokens, index, home)
            counted = patch_shares(labels[index], (found.shape[0], found.shape[1]), num_classes)
            taken = _rare_first(counted, quota, np.random.default_rng([seed, index]))
            vectors.append(found.flatten(0, 1)[torch.from_numpy(taken).to(found.device)])
            shares.append(torch.from_numpy(counted[taken]).to(found.device))
        if not sum(map(len, vectors)):
            raise ValueError("no patch has a pixel with a label: the memory would be empty")
        return cls(CosineIndex(torch.cat(vectors)), torch.cat(shares))

    @property
    def num_classes(self) -> int:
        """C."""
        return self.shares.shape[1]

    def __len__(self) -> int:
        """N."""
        return len(self.index)

    @torch.no_grad()
    def predict(self, tokens: Tensor, *, neighbours: int = 30, temperature: float = 0.02) -> Tensor:
        """Share of each class in each patch of a photo, float32 [h, w, C]; the shares of a patch sum to 1.

        Naive form, for each patch:
            similarity, index = the k largest of cosine(token, memory)
            shares = softmax(similarity / temperature) @ memory's shares[index]

        Args:
            tokens: [h, w, D], any float dtype and device, any length.
            neighbours: k; the whole memory if it is smaller.
            temperature: > 0; a smaller one gives more weight to the nearest neighbours.

        Raises:
            ValueError: k < 1, or the temperature is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"the temperature must be positive, not {temperature}")
        queries = F.normalize(tokens.to(self.shares.device).float(), dim=-1)
        found = self.index.search(queries.flatten(0, 1), neighbours)
        weights = (found.similarity / temperature).softmax(dim=1)
        shares = F.embedding_bag(found.index, self.shares, mode="sum", per_sample_weights=weights)
        return shares.view(*tokens.shape[:2], -1)


def in_context(
    memory: MemoryBank,
    tokens: Tokens,
    labels: Sequence[Labels],
    *,
    neighbours: int = 30,
    temperature: float = 0.02,
    on_map: OnMap | None = None,
    track: Track = silent,
) -> Confusion:
    """Pixels of evaluation photos by class and predicted class, [C, C]; one photo is in memory at a time.

    The shares of a photo's patches are enlarged to its labels' size, and each pixel takes the class with the
    largest one. Score the result with `matching.score` and the assignment `numpy.arange(C)`.

    Args:
        memory: of the training photos.
        tokens: of n photos, see `Tokens`.
        labels: class rows 0 .. C-1 of each photo, 255 = no label, integer [H, W] of any size.
        neighbours: see `MemoryBank.predict`.
        temperature: see `MemoryBank.predict`.
        on_map: takes the prediction for each photo.
        track: progress, one step a photo.

    Raises:
        ValueError: tokens and labels differ in number, a store's photos are not all done, or a class is out
            of range.
    """
    chosen = paired_photos(tokens, labels)
    counts = Confusion(memory.num_classes, memory.num_classes, IGNORE)
    for index in track(chosen, len(chosen), "scoring"):
        found = unit_tokens(tokens, index, memory.shares.device)
        shares = memory.predict(found, neighbours=neighbours, temperature=temperature)
        truth = labels[index]
        classes = enlarged_classes(shares, (truth.shape[0], truth.shape[1]))
        counts.update(truth, classes)
        if on_map is not None:
            on_map(index, classes)
    return counts


def patch_shares(labels: Labels, grid: tuple[int, int], num_classes: int) -> Floats:
    """Share of each class among the labelled pixels of each patch, [h * w, C]; 0 where there are none.

    Raises:
        ValueError: a class is out of range.
    """
    counts = cell_counts(labels, grid, num_classes, IGNORE).reshape(-1, num_classes)
    shares: Floats = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    return shares


def enlarged_classes(shares: Tensor, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The class with the largest share in each pixel, [H, W]; the lowest of equal ones.

    Args:
        shares: of each class, >= 0, [h, w, C]; enlarged bilinearly, one class at a time.
        size: (H, W).
    """
    best = torch.full(size, -1.0, device=shares.device)
    classes = torch.zeros(size, dtype=torch.long, device=shares.device)
    # A class that no patch has cannot be the largest.
    for index in torch.nonzero(shares.amax(dim=(0, 1)) > 0)[:, 0].tolist():
        patches = shares[None, None, ..., index]
        share = F.interpolate(patches, size, mode="bilinear", align_corners=False)[0, 0]
        classes[share > best] = index
        best = torch.maximum(best, share)
    return classes.cpu().numpy()


def unit_tokens(tokens: Tokens, index: int, device: torch.device) -> Tensor:
    """Tokens of one photo, length 1 (or 0), float32 [h, w, D]."""
    return F.normalize(tokens_of(tokens, index).to(device).float(), dim=-1)


def _quotas(n_photos: int, memory_size: int | None, seed: int) -> Iterator[int | None]:
    """Number of patches to take from each photo; the remainder is given to random photos."""
    if memory_size is None:
        return iter([None] * n_photos)
    each, rest = divmod(memory_size, n_photos)
    return iter((each + (np.random.default_rng(seed).permutation(n_photos) < rest)).tolist())


def _rare_first(shares: Floats, quota: int | None, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Ascending indices of the labelled patches, or of `quota` of them, see `MemoryBank.build`."""
    present = shares > 0
    labelled = np.flatnonzero(present.any(axis=1))
    if quota is None or quota >= len(labelled):
        return labelled
    scores = (present[labelled] @ present.sum(axis=0)) * random.random(len(labelled))
    return np.sort(labelled[np.argsort(scores, kind="stable")[:quota]])

"""Exact nearest neighbours by cosine among many tokens.

Legend: N stored vectors, m queries, D dimensions, k neighbours, M > k candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.features.extract import fast_precision

#: Queries and stored vectors whose similarities are in memory at a time, 67 MB in bfloat16, 134 in float32:
#: few rows of many columns, so that the number of candidates of a row is small against its length.
_ROWS, _COLUMNS = 256, 1 << 17
#: Columns that share a maximum; the stored vectors are padded to a multiple.
_BLOCK = 32
#: Queries whose candidates are compared at a time, so that these stay in the processor's cache.
_EXACT_ROWS = 16
#: Fewer stored vectors than this are not worth a first pass in bfloat16.
_LARGE = 1 << 13


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of each query, nearest first.

    Attributes:
        similarity: cosine, float32 [m, k] in [-1, 1] up to rounding.
        index: of the stored vectors, int64 [m, k]; equal similarities come in ascending order of it.
    """

    similarity: Tensor
    index: Tensor


class CosineIndex:
    """Unit vectors to search by cosine.

    Naive form:
        similarity = normalised(queries) @ vectors.T
        similarity, index = sort(similarity, descending, stable)[:k]

    A first pass collects M candidates for each query, one block of stored vectors after the other. Their
    similarities are then computed again, one sum for each pair, so that block sizes have no influence.
    The first pass runs in bfloat16 where the processor multiplies it natively. From a bound on its rounding
    errors follows, for each query, whether a vector that is not a candidate could be among the k nearest; if
    so, the query is searched again in float32. Where more than M vectors are equal up to rounding, the choice
    among them is open.

    Args:
        vectors: unit vectors, or zeros, float32 [N, D], N >= 1.
        native: whether to use bfloat16 in the first pass; None = if that is faster.

    Raises:
        ValueError: there are no vectors.
    """

    def __init__(self, vectors: Tensor, native: bool | None = None) -> None:
        if vectors.ndim != 2 or not len(vectors):
            raise ValueError(f"vectors must be [N, D] with N >= 1, not {tuple(vectors.shape)}")
        padding = -len(vectors) % _BLOCK
        self.vectors = F.pad(vectors.float(), (0, 0, 0, padding)) if padding else vectors.float()
        self.count = len(vectors)
        if native is None:
            native = self.count >= _LARGE and _multiplies_bfloat16(vectors.device)
        self._coarse = (self.vectors.bfloat16(), _residual(self.vectors).max()) if native else None

    def __len__(self) -> int:
        return self.count

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> Neighbours:
        """The k nearest stored vectors of each query; all of them where there are fewer.

        Args:
            queries: unit vectors, or zeros, [m, D], on the device of the stored ones.
            k: >= 1.

        Raises:
            ValueError: k < 1.
        """
        if k < 1:
            raise ValueError(f"{k} neighbours: at least one is needed")
        queries, k = queries.float(), min(k, self.count)
        if self._coarse is None:
            _, candidates = self._candidates(queries, self.vectors, k)
            return self._best(queries, candidates, k)
        coarse, rounded_off = self._coarse
        weakest, candidates = self._candidates(queries, coarse, k)
        found = self._best(queries, candidates, k)
        unsure = found.similarity[:, -1] <= _most(queries, weakest, rounded_off)
        if candidates.shape[1] < self.count and unsure.any():
            _, candidates = self._candidates(queries[unsure], self.vectors, k)
            again = self._best(queries[unsure], candidates, k)
            found.similarity[unsure], found.index[unsure] = again.similarity, again.index
        return found

    def _candidates(self, queries: Tensor, vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The least similarity of M candidates, float32 [m], and the candidates' indices, [m, M]."""
        count = min(2 * k + 16, self.count)
        # One buffer for all: fresh memory of this size costs a fifth of the product's time.
        buffer = vectors.new_empty(min(_ROWS, len(queries)) * min(_COLUMNS, len(vectors)))
        weakest = queries.new_empty(len(queries))
        indices = torch.empty(len(queries), count, dtype=torch.long, device=queries.device)
        for start in range(0, len(queries), _ROWS):
            part = slice(start, start + _ROWS)
            top, indices[part] = self._scan(queries[part].to(vectors.dtype), vectors, count, buffer)
            weakest[part] = top.amin(1)
        return weakest, indices

    def _scan(self, queries: Tensor, vectors: Tensor, count: int, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """The `count` largest products of each query and their indices, in no order."""
        top, indices = queries.new_empty(len(queries), 0), buffer.new_empty(len(queries), 0, dtype=torch.long)
        for start in range(0, len(vectors), _COLUMNS):
            block = vectors[start : start + _COLUMNS]
            similar = buffer[: len(queries) * len(block)].view(len(queries), len(block))
            torch.mm(queries, block.T, out=similar)
            similar[:, self.count - start :] = -torch.inf  # padding
            values, columns = _top(similar, count)
            top, indices = torch.cat([top, values], 1), torch.cat([indices, columns + start], 1)
            if top.shape[1] > count:
                top, order = top.topk(count, sorted=False)
                indices = indices.gather(1, order)
        return top, indices

    def _best(self, queries: Tensor, candidates: Tensor, k: int) -> Neighbours:
        """The k nearest of the candidates [m, M] of each query."""
        candidates = candidates.sort(dim=1).values
        similarity = torch.empty(candidates.shape, device=queries.device)
        for start in range(0, len(queries), _EXACT_ROWS):
            rows = slice(start, start + _EXACT_ROWS)
            similarity[rows] = (self.vectors[candidates[rows]] * queries[rows, None]).sum(-1)
        similarity, order = similarity.sort(dim=1, descending=True, stable=True)
        return Neighbours(similarity[:, :k].contiguous(), candidates.gather(1, order)[:, :k].contiguous())


def _most(queries: Tensor, weakest: Tensor, rounded_off: Tensor) -> Tensor:
    """Upper bound on the similarity of vectors that are not candidates, [m].

    q·b = Q·B + (q - Q)·b + Q·(b - B), Q and B rounded, q and b of length 1. A product that was rounded
    down to `weakest` lies at most half a step of bfloat16 above it.
    """
    half_step = torch.ldexp(torch.full_like(weakest, 2.0**-9), torch.frexp(weakest).exponent)
    summing = 2 * queries.shape[1] * torch.finfo(torch.float32).eps
    return weakest + half_step + 1.01 * (_residual(queries) + rounded_off) + summing


def _top(similar: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row of [m, n] and their columns, in no order, n a multiple of the block.

    They lie in the `count` blocks with the largest maxima, so that most columns are read once only. A
    block is every (n / 32)-th column, so that its maximum runs along the rows.
    """
    blocks = similar.view(len(similar), _BLOCK, -1)
    if blocks.shape[2] <= count:
        return similar.topk(min(count, similar.shape[1]), sorted=False)
    chosen = blocks.amax(1).topk(count, sorted=False).indices
    inside = blocks.gather(2, chosen[:, None].expand(-1, _BLOCK, -1)).flatten(1)
    top, where = inside.topk(count, sorted=False)
    return top, where // count * blocks.shape[2] + chosen.gather(1, where % count)


def _residual(vectors: Tensor) -> Tensor:
    """Length of the rounding error of each vector in bfloat16, [N]."""
    parts = (vectors[start : start + _COLUMNS] for start in range(0, max(len(vectors), 1), _COLUMNS))
    return torch.cat([(rows - rows.bfloat16().float()).norm(dim=1) for rows in parts])


def _multiplies_bfloat16(device: torch.device) -> bool:
    # On GPUs float32 is fast enough, and their sums in bfloat16 may be cut into parts that are rounded again.
    return device.type == "cpu" and fast_precision(device) == "bf16"

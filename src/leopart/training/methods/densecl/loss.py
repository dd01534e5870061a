"""DenseCL's loss: contrast of crops, and of their cells with the cells that they match.

Legend: B photos of this process, n cells of a query, m of a key, D channels of a token, E of an embedding, Q
length of the queue.

Source: Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Contrast:
    """A term of the loss.

    Attributes:
        loss: cross-entropy, mean over queries, float32 [].
        accuracy: share of queries closer to their positive than to every negative, [], no gradient.
    """

    loss: Tensor
    accuracy: Tensor


def global_contrast(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Contrast:
    """Each crop against the other crop of its photo, and the keys of earlier photos.

    Naive form:
        for each b:
            logits = [queries[b] . keys[b], queries[b] . negatives[0], queries[b] . negatives[1], ...]
            loss_b = -log(softmax(logits / temperature)[0])

    Args:
        queries: unit vectors [B, E], float32.
        keys: unit vectors [B, E].
        negatives: unit vectors [Q, E].
        temperature: above 0.
    """
    positive = (queries * keys).sum(-1) / temperature
    negative = queries @ negatives.T / temperature
    # Not one matrix of all logits: copying the negatives for the sake of one column doubles the memory.
    losses = torch.logaddexp(positive, negative.logsumexp(-1)) - positive
    return Contrast(losses.mean(), (positive > negative.amax(-1)).float().mean().detach())


def dense_contrast(
    queries: Tensor, keys: Tensor, matches: Tensor, negatives: Tensor, temperature: float
) -> Contrast:
    """`global_contrast` of each cell with the key's cell that it matches.

    Args:
        queries: unit vectors of cells [B, n, E], float32.
        keys: unit vectors of cells [B, m, E].
        matches: of each query's cell in the key, int64 [B, n], see `matching_cells`.
        negatives: unit vectors [Q, E], each of a whole crop: the mean over its cells.
        temperature: above 0.
    """
    positives = keys.gather(1, matches[..., None].expand(-1, -1, keys.shape[2]))
    return global_contrast(queries.flatten(0, 1), positives.flatten(0, 1), negatives, temperature)


@torch.no_grad()
def matching_cells(queries: Tensor, keys: Tensor) -> Tensor:
    """For each cell of the query the key's cell with the largest cosine, the first of equals; int64 [B, n].

    Args:
        queries: outputs of the student's backbone for the query's cells, [B, n, D].
        keys: outputs of the teacher's backbone for the key's cells, [B, m, D].
    """
    similar = F.normalize(queries.float(), dim=-1) @ F.normalize(keys.float(), dim=-1).transpose(1, 2)
    return similar.argmax(-1)

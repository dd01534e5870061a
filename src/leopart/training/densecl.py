"""The paper's baseline of training: DenseCL's contrast of crops and of their cells, on a transformer.

One large crop of a photo, the query, goes through the student, the other, the key, through the teacher; in
one direction alone, as published. Each query is told from the keys of earlier photos: the crop as a whole,
and each of its cells, whose positive is the key's cell that looks most alike to the backbone.

Where this differs from what was published, so that the loss is compared and nothing else:
- the crop as a whole is the CLS token (the mean of the tokens where there is none), not an average;
- tokens are averaged to 7 x 7 cells, the published grid, which a ResNet has without that;
- views, optimiser and schedules are Leopart's; the teacher moves after the student's step, not before it;
- no warm-up without the dense term: tokens of a pretrained start find their like from the first step on;
- no shuffling of the batch over devices: there is no batch norm that could give the answer away.

Legend: B photos of this process, n cells of a query, m of a key, D channels of a token, E of an embedding,
Q length of the queue.

Source: Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021, and its
authors' code; Leopart, CVPR 2022, supplement A.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.processes import world_size
from leopart.recipe import Recipe
from leopart.training.networks import TwoNetworks
from leopart.training.objective import Objective, StepResult, network_options, rank_of_some, two_heads
from leopart.training.queue import TokenQueue


@dataclass(frozen=True)
class Contrast:
    """A term of the loss.

    Attributes:
        loss: cross-entropy, mean over queries, float32 [].
        told_apart: share of queries nearer to their positive than to every negative, [], no gradient.
    """

    loss: Tensor
    told_apart: Tensor


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
    """For each cell of the query the key's cell with the greatest cosine, the first of equals; int64 [B, n].

    Args:
        queries: what the student's backbone makes of the query's cells, [B, n, D].
        keys: what the teacher's makes of the key's, [B, m, D].
    """
    similar = F.normalize(queries.float(), dim=-1) @ F.normalize(keys.float(), dim=-1).transpose(1, 2)
    return similar.argmax(-1)


def to_cells(tokens: Tensor, side: int) -> Tensor:
    """Tokens [B, h, w, D] averaged to a grid of `side` x `side`, [B, n, D].

    Where tokens do not divide evenly, cells overlap. An axis with fewer tokens stays as it is.
    """
    size = (min(side, tokens.shape[1]), min(side, tokens.shape[2]))
    if size == tokens.shape[1:3]:
        return tokens.flatten(1, 2)
    return F.adaptive_avg_pool2d(tokens.permute(0, 3, 1, 2), size).flatten(2).transpose(1, 2)


class ContrastHead(nn.Module):
    """Two projections side by side, of the crop as a whole and of its cells.

    Each Linear(D, hidden), ReLU, Linear(hidden, E), and L2 normalisation, with weights from a normal
    distribution of variance 2 / inputs, as published.

    Args:
        dim: D.
        hidden: channels between the layers.
        out: E.
        generator: fresh weights are drawn from it, on the CPU.
    """

    def __init__(self, dim: int, hidden: int, out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projection_head = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))
                for name in ("whole", "cells")
            }
        )
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)

    def forward(self, summary: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit embeddings, float32: of the crop [B, E], of its cells [B, n, E], and of their mean [B, E].

        Args:
            summary: one vector for each crop, [B, D].
            cells: [B, n, D].
        """
        whole, dense = self.projection_head["whole"](summary), self.projection_head["cells"](cells)
        with torch.autocast(dense.device.type, enabled=False):
            embeddings = (whole.float(), dense.float(), dense.float().mean(1))
            return tuple(F.normalize(part, dim=-1) for part in embeddings)  # type: ignore[return-value]


@dataclass(frozen=True)
class Embedded:
    """What one network says about a batch of crops."""

    whole: Tensor
    """Unit embedding of each crop, [B, E]."""
    cells: Tensor
    """Of its cells, [B, n, E]."""
    pooled: Tensor
    """Of their mean, [B, E]."""
    tokens: Tensor
    """What the backbone makes of the cells, [B, n, D], detached."""


class QueryKey(TwoNetworks):
    """The two of DenseCL, with a `ContrastHead` each: the student sees queries, the teacher keys."""

    def forward(self, queries: Tensor, keys: Tensor, side: int) -> tuple[Embedded, Embedded]:
        """What the student says of the queries, and the teacher, without gradient, of the keys.

        Args:
            queries: uint8 [B, 3, S, S].
            keys: other crops of the same photos, uint8 [B, 3, S, S].
            side: see `to_cells`.
        """
        query = self._embedded(self.student, queries, side)
        with torch.no_grad():
            key = self._embedded(self.student if self.teacher is None else self.teacher, keys, side)
        return query, key

    def _embedded(self, network: nn.ModuleDict, crops: Tensor, side: int) -> Embedded:
        backbone: Backbone = network["backbone"]  # type: ignore[assignment]  # a ModuleDict forgets the class
        pixels = backbone.normalise(crops)
        (trunk,) = self._trunk([pixels])
        tokens, summary = backbone.finish_with_summary(backbone.begin(pixels) if trunk is None else trunk)
        cells = to_cells(tokens, side)
        whole, dense, pooled = network["head"](summary, cells)
        return Embedded(whole, dense, pooled, cells.detach())


class DenseContrast(Objective):
    """DenseCL's networks and queues.

    The queues start with random directions, as published, so that the first steps have negatives too. Rows
    are keys of whole crops: in the first the teacher's embeddings of the crops, in the second the means of
    those of their cells.

    Args:
        backbone: pretrained; becomes the student, in place.
        recipe: see `Recipe`.
    """

    networks: QueryKey

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        head, other = two_heads(
            recipe,
            lambda generator: ContrastHead(backbone.dim, recipe.head_hidden, recipe.contrast_out, generator),
        )
        self.networks = QueryKey(backbone, head, teacher_head=other, **network_options(recipe))
        self.queue = TokenQueue(2, recipe.contrast_queue, recipe.contrast_out)
        random = torch.randn(self.queue.rows.shape, generator=torch.Generator().manual_seed(recipe.seed))
        self.queue.rows.copy_(F.normalize(random, dim=-1))

    def forward(self, views: ViewBatch, step: int, *, watch: bool = True) -> StepResult:
        """See `Objective`; the first large crop is the query, the second the key, which joins the queue."""
        recipe = self.recipe
        self.seed_step(step)
        query, key = self.networks(*views.global_crops, recipe.contrast_grid)
        with torch.autocast(query.cells.device.type, enabled=False):
            # A copy: the queue moves on before the backward pass reads what it was.
            of_crops, of_cells = self.queue.rows.clone()
            whole = global_contrast(query.whole, key.whole, of_crops, recipe.contrast_temperature)
            matches = matching_cells(query.tokens, key.tokens)
            cells = dense_contrast(query.cells, key.cells, matches, of_cells, recipe.contrast_temperature)
            loss = torch.lerp(whole.loss, cells.loss, recipe.contrast_dense)
        fresh = torch.stack([key.whole, key.pooled])[:, :, None]
        self.queue.push(fresh, None, fresh.shape[1] * world_size(), seed=recipe.seed, step=step)
        if not watch:
            return StepResult(loss, {})
        health = {
            "global_loss": whole.loss.detach(),
            "dense_loss": cells.loss.detach(),
            "global_told_apart": whole.told_apart,
            "dense_told_apart": cells.told_apart,
            "feature_rank": rank_of_some(query.tokens.flatten(0, 1)),
            "queue_fill": self.queue.fill.float().mean() / recipe.contrast_queue,
        }
        return StepResult(loss, health)

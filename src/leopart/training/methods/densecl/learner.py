"""One step of DenseCL, the paper's baseline, on a transformer.

One large crop of a photo, the query, goes through the student, the other, the key, through the teacher; in
one direction only, as published. Each query is contrasted with the keys of earlier photos: the whole crop,
and each of its cells, whose positive is the key's cell with the most similar output of the backbone.

Differences from what was published, so that only the loss is compared:
- the whole crop is the CLS token (the mean of the tokens where there is none), not an average;
- tokens are averaged to 7 x 7 cells, the published grid, which a ResNet has anyway;
- views, optimiser and schedules are Leopart's; the teacher moves after the student's step, not before it;
- no warm-up without the dense term: tokens of a pretrained network find their matches from the first step on;
- no shuffling of the batch over devices: there is no batch norm that could leak which crops belong together.

Source: Wang et al., "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", CVPR 2021, and its
authors' code; Leopart, CVPR 2022, supplement A.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.processes import world_size
from leopart.recipe import Recipe
from leopart.training.methods.densecl.loss import dense_contrast, global_contrast, matching_cells
from leopart.training.methods.densecl.networks import ContrastHead, Embedded, QueryKey
from leopart.training.methods.densecl.settings import DenseCLSettings
from leopart.training.methods.diagnostics import rank_of_some
from leopart.training.methods.learner import Learner, StepResult, Tokens, network_options, two_heads
from leopart.training.methods.queue import TokenQueue


class DenseCLLearner(Learner):
    """DenseCL's networks and queues; see `Learner`.

    The queues start with random directions, as published, so that the first steps have negatives too. Rows
    are keys of whole crops: in the first queue the teacher's embeddings of the crops, in the second the means
    of the embeddings of their cells.
    """

    networks: QueryKey

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tokens | None = None) -> None:
        del tokens  # heads start from chance
        super().__init__()
        self.recipe, self.settings = recipe, recipe.densecl
        out = self.settings.contrast_out
        head, other = two_heads(
            recipe, lambda generator: ContrastHead(backbone.dim, recipe.head_hidden, out, generator)
        )
        self.networks = QueryKey(backbone, head, teacher_head=other, **network_options(recipe))
        self.queue = contrast_queue(self.settings, recipe.seed)

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """See `Learner`; the first large crop is the query, the second the key, which joins the queue."""
        self.seed_step(step)
        query, key, tokens, start = self.networks(*views.global_crops, self.settings.contrast_grid)
        result = contrasted(query, key, self.queue.rows, self.settings)
        push_keys(self.queue, key, self.recipe.seed, step)
        diagnostics = result.diagnostics | self._diagnostics(query) if diagnose else {}
        return self.anchored(StepResult(result.loss, diagnostics), tokens, start)

    def _diagnostics(self, query: Embedded) -> dict[str, Tensor]:
        return {
            "feature_rank": rank_of_some(query.tokens.flatten(0, 1)),
            "queue_fill": self.queue.fill.float().mean() / self.settings.contrast_queue,
        }


def contrast_queue(settings: DenseCLSettings, seed: int) -> TokenQueue:
    """Keys of earlier crops and of their cells; random directions at the start, as published."""
    queue = TokenQueue(2, settings.contrast_queue, settings.contrast_out)
    random = torch.randn(queue.rows.shape, generator=torch.Generator().manual_seed(seed))
    queue.rows.copy_(F.normalize(random, dim=-1))
    return queue


def contrasted(query: Embedded, key: Embedded, rows: Tensor, settings: DenseCLSettings) -> StepResult:
    """Both terms of the loss, weighted, and their diagnostics.

    Args:
        query: by the student.
        key: by the teacher.
        rows: of `contrast_queue`, [2, Q, E].
        settings: contrast_temperature and contrast_dense are read.
    """
    temperature = settings.contrast_temperature
    with torch.autocast(query.cells.device.type, enabled=False):
        # A copy: the queue moves on before the backward pass reads what it was.
        of_crops, of_cells = rows.clone()
        whole = global_contrast(query.whole, key.whole, of_crops, temperature)
        matches = matching_cells(query.tokens, key.tokens)
        cells = dense_contrast(query.cells, key.cells, matches, of_cells, temperature)
        loss = torch.lerp(whole.loss, cells.loss, settings.contrast_dense)
    diagnostics = {
        "global_loss": whole.loss.detach(),
        "dense_loss": cells.loss.detach(),
        "global_contrastive_accuracy": whole.accuracy,
        "dense_contrastive_accuracy": cells.accuracy,
    }
    return StepResult(loss, diagnostics)


def push_keys(queue: TokenQueue, key: Embedded, seed: int, step: int) -> None:
    """Let the keys of all processes join the queue."""
    fresh: Tensor = torch.stack([key.whole, key.pooled])[:, :, None]
    queue.push(fresh, None, fresh.shape[1] * world_size(), seed=seed, step=step)

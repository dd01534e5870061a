"""One step of Leopart's training as a function of its batch and number."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead
from leopart.processes import world_size
from leopart.recipe import Recipe
from leopart.training.methods.diagnostics import (
    agreement,
    assignment_entropy,
    prototype_perplexity,
    rank_of_some,
)
from leopart.training.methods.learner import Learner, StepResult, Tokens, network_options, two_heads
from leopart.training.methods.leopart.head_start import start_from_clusters
from leopart.training.methods.leopart.loss import Queued, dense_loss
from leopart.training.methods.leopart.networks import Outputs, StudentTeacher
from leopart.training.methods.queue import TokenQueue
from leopart.training.methods.regions import SharedRegions


class LeopartLearner(Learner):
    """Leopart's networks and queue; see `Learner`."""

    networks: StudentTeacher

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tokens | None = None) -> None:
        super().__init__()
        self.recipe, self.settings = recipe, recipe.leopart
        heads = two_heads(recipe, lambda generator: _head(backbone.dim, recipe, generator))
        if self.settings.head_init == "clusters" and tokens is not None:
            found = tokens()
            for head in heads:
                if head is not None:
                    start_from_clusters(head, found, recipe.seed)
        self.networks = self._networks(backbone, heads)
        self.queue = TokenQueue(self.settings.global_crops, self.settings.queue, self.settings.head_out)

    def _networks(self, backbone: Backbone, heads: tuple[DenseHead, DenseHead | None]) -> StudentTeacher:
        return StudentTeacher(backbone, heads[0], teacher_head=heads[1], **network_options(self.recipe))

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """See `Learner`; pushes the teacher's embeddings into the queue."""
        self.seed_step(step)
        outputs = self._outputs(views)
        result = self._clustered(outputs, views, step, diagnose)
        return self.anchored(result, outputs.tokens, outputs.start_tokens)

    def _outputs(self, views: ViewBatch) -> Outputs:
        local = views.local_crops if len(views.local_crops) else None
        outputs: Outputs = self.networks(views.global_crops, local, self.settings.attention_kept)
        return outputs

    def _clustered(self, outputs: Outputs, views: ViewBatch, step: int, diagnose: bool) -> StepResult:
        """The paper's loss, and its diagnostics."""
        mask = _mask(outputs.foreground, self.settings.loss_mask)
        with torch.autocast(outputs.student_global.device.type, enabled=False):
            loss = dense_loss(
                outputs.teacher_scores,
                (outputs.student_global, outputs.student_local),
                SharedRegions.in_tokens(views.gc, views.all, self.networks.backbone.patch_size),
                mask=mask,
                queued=self._queued(),
                settings=self.settings,
            )
        self._push(outputs.teacher_embeddings, mask, step)
        return StepResult(loss, self._diagnostics(outputs) if diagnose else {})

    @torch.no_grad()
    def _queued(self) -> Queued | None:
        """The queue's rows as the loss takes them; None without a queue."""
        if not self.settings.queue:
            return None
        by_teacher = self.recipe.reference == "paper"
        head = self.networks.target_head if by_teacher else self.networks.head
        return Queued(head.score(self.queue.rows), self.queue.weights())

    def _push(self, embeddings: Tensor, mask: Tensor | None, step: int) -> None:
        """Ten tokens a photo join the queue; after the targets, as in the paper."""
        if self.settings.queue:
            count = 10 * embeddings.shape[1] * world_size()
            flat = None if mask is None else mask.flatten(2)
            self.queue.push(embeddings, flat, count, seed=self.recipe.seed, step=step)

    @torch.no_grad()
    def _diagnostics(self, outputs: Outputs) -> dict[str, Tensor]:
        teacher, student = (
            s.detach().float().flatten(0, 3) for s in (outputs.teacher_scores, outputs.student_global)
        )
        assignments = (student / self.settings.temperature).softmax(-1)
        # Of the best prototypes: soft assignments of a balanced teacher use all of them, collapsed or not.
        chosen = F.one_hot(student.argmax(-1), student.shape[-1])
        found = {
            "perplexity": prototype_perplexity(chosen),
            "assignment_entropy": assignment_entropy(assignments),
            "feature_rank": rank_of_some(outputs.tokens.flatten(0, 3)),
            "agreement": agreement(teacher, student),
            "foreground": outputs.foreground.float().mean(),
        }
        if self.settings.queue:
            found["queue_fill"] = self.queue.fill.float().mean() / self.settings.queue
        return found


def _head(dim: int, recipe: Recipe, generator: torch.Generator) -> DenseHead:
    return DenseHead(
        dim,
        prototypes=recipe.leopart.prototypes,
        hidden=recipe.head_hidden,
        out=recipe.leopart.head_out,
        layers=recipe.leopart.head_layers,
        generator=generator,
    )


def _mask(foreground: Tensor, which: str) -> Tensor | None:
    if which == "all":
        return None
    return foreground if which == "fg" else ~foreground

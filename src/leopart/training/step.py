"""One step of Leopart's training as a function of its batch and number: loss, and what a person watches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead
from leopart.processes import world_size
from leopart.recipe import Recipe
from leopart.training.head_start import start_from_clusters
from leopart.training.health import agreement, assignment_entropy, prototype_perplexity
from leopart.training.loss import LossSettings, dense_loss
from leopart.training.networks import Outputs, StudentTeacher
from leopart.training.objective import Objective, StepResult, network_options, rank_of_some, two_heads
from leopart.training.queue import TokenQueue


class Learner(Objective):
    """Leopart's networks and queue, with the recipe that says how they learn.

    Args:
        backbone: pretrained; becomes the student, in place.
        recipe: see `Recipe`.
        tokens: what the heads start from, see `start_from_clusters`; None leaves them random.
    """

    networks: StudentTeacher

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tensor | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        head, other = two_heads(recipe, lambda generator: _head(backbone.dim, recipe, generator))
        if tokens is not None:
            for started in (head, other):
                if started is not None:
                    start_from_clusters(started, tokens, recipe.seed)
        self.networks = StudentTeacher(backbone, head, teacher_head=other, **network_options(recipe))
        self.queue = TokenQueue(recipe.global_crops, recipe.queue, recipe.head_out)

    def forward(self, views: ViewBatch, step: int, *, watch: bool = True) -> StepResult:
        """See `Objective`; pushes the teacher's embeddings into the queue."""
        recipe = self.recipe
        self.seed_step(step)
        local = views.local_crops if len(views.local_crops) else None
        outputs = self.networks(views.global_crops, local, recipe.attention_kept)
        mask = _mask(outputs.foreground, recipe.loss_mask)
        with torch.autocast(outputs.student_global.device.type, enabled=False):
            queue_scores, weights = self._queue_scores()
            parts = dense_loss(
                outputs.teacher_scores.float(),
                outputs.student_global,
                outputs.student_local,
                views.gc,
                views.all,
                patch_size=self.networks.backbone.patch_size,
                mask=mask,
                queue_scores=queue_scores,
                queue_weights=weights,
                settings=LossSettings(
                    recipe.temperature, recipe.epsilon, recipe.sinkhorn_iterations, recipe.roi_bins
                ),
            )
            # After the targets, as in the paper: a batch balances itself with earlier ones.
            if recipe.queue:
                count = 10 * views.global_crops.shape[1] * world_size()
                flat = None if mask is None else mask.flatten(2)
                self.queue.push(outputs.teacher_embeddings, flat, count, seed=recipe.seed, step=step)
        health = self._health(outputs) if watch else {}
        return StepResult(parts.loss, health)

    def _queue_scores(self) -> tuple[Tensor | None, Tensor | None]:
        """Scores of the queue's rows [T, Q, K] and their weights [T, Q]; None without a queue."""
        if not self.recipe.queue:
            return None, None
        teacher = self.recipe.queue_scores == "teacher"
        head = self.networks.target_head if teacher else self.networks.head
        with torch.no_grad():
            return head.score(self.queue.rows), self.queue.weights()

    @torch.no_grad()
    def _health(self, outputs: Outputs) -> dict[str, Tensor]:
        teacher, student = (
            s.detach().float().flatten(0, 3) for s in (outputs.teacher_scores, outputs.student_global)
        )
        assignments = (student / self.recipe.temperature).softmax(-1)
        # Of the best prototypes: soft assignments of a balanced teacher use all of them, collapsed or not.
        chosen = F.one_hot(student.argmax(-1), student.shape[-1])
        health = {
            "perplexity": prototype_perplexity(chosen),
            "assignment_entropy": assignment_entropy(assignments),
            "feature_rank": rank_of_some(outputs.tokens.flatten(0, 3)),
            "agreement": agreement(teacher, student),
            "foreground": outputs.foreground.float().mean(),
        }
        if self.recipe.queue:
            health["queue_fill"] = self.queue.fill.float().mean() / self.recipe.queue
        return health


def _head(dim: int, recipe: Recipe, generator: torch.Generator) -> DenseHead:
    return DenseHead(
        dim,
        prototypes=recipe.prototypes,
        hidden=recipe.head_hidden,
        out=recipe.head_out,
        layers=recipe.head_layers,
        generator=generator,
    )


def _mask(foreground: Tensor, which: str) -> Tensor | None:
    if which == "all":
        return None
    return foreground if which == "fg" else ~foreground

"""One step of training as a function of its batch and number: losses, and what a person wants to watch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.models.heads import DenseHead
from leopart.processes import rank, world_size
from leopart.recipe import Recipe
from leopart.training.head_start import start_from_clusters
from leopart.training.health import agreement, assignment_entropy, feature_rank, prototype_perplexity
from leopart.training.loss import LossSettings, dense_loss
from leopart.training.networks import Outputs, StudentTeacher
from leopart.training.queue import TokenQueue

#: Tokens whose effective rank is taken: a decomposition of more would cost more than it tells.
_RANK_TOKENS = 1024


@dataclass(frozen=True)
class StepResult:
    """The loss, and the label-free health of the batch; nothing here has waited for the device.

    Attributes:
        loss: to minimise, with gradient.
        health: names and scalar tensors, see `leopart.training.health`.
    """

    loss: Tensor
    health: dict[str, Tensor]


class Learner(nn.Module):
    """Networks and queue, with the recipe that says how they learn.

    Its state (student, teacher, prototypes, queue) and the step's number decide the next step completely:
    random numbers are drawn from the seed and the step, never from what happened before.

    Args:
        backbone: pretrained; becomes the student, in place.
        recipe: see `Recipe`.
        tokens: what the heads start from, see `start_from_clusters`; None leaves them random.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe, tokens: Tensor | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        generator = torch.Generator().manual_seed(recipe.seed)
        head = _head(backbone.dim, recipe, generator)
        other = _head(backbone.dim, recipe, generator) if recipe.teacher_init == "independent" else None
        if tokens is not None:
            for started in (head, other):
                if started is not None:
                    start_from_clusters(started, tokens, recipe.seed)
        self.networks = StudentTeacher(
            backbone,
            head,
            teacher_head=other,
            train_blocks=None if recipe.train_blocks == "all" else recipe.train_blocks,
            drop_path=recipe.drop_path,
            use_teacher=recipe.use_teacher,
        )
        self.queue = TokenQueue(recipe.global_crops, recipe.queue, recipe.head_out)

    def forward(self, views: ViewBatch, step: int, *, watch: bool = True) -> StepResult:
        """Loss of one batch; pushes the teacher's embeddings into the queue.

        Args:
            views: on the networks' device.
            step: number of the batch in the run, from 0; decides every random draw.
            watch: whether to measure health too.
        """
        recipe = self.recipe
        torch.manual_seed(_mixed(recipe.seed, step, rank()))  # stochastic depth
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
        tokens = outputs.tokens.flatten(0, 3)
        stride = max(1, len(tokens) // _RANK_TOKENS)
        health = {
            "perplexity": prototype_perplexity(chosen),
            "assignment_entropy": assignment_entropy(assignments),
            "feature_rank": feature_rank(tokens[::stride][:_RANK_TOKENS]),
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


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, spread over 63 bits."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed

"""What every training method is built from: networks, a recipe, and a step that both decide.

Legend: B photos of this process.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from leopart.data.views import ViewBatch
from leopart.models.backbone import Backbone
from leopart.processes import rank
from leopart.recipe import Recipe
from leopart.training.methods.anchor import anchor_terms
from leopart.training.methods.networks import TwoNetworks

Head = TypeVar("Head", bound=nn.Module)
Tokens = Callable[[], Tensor]
"""Tokens [n, D] of some photos by the network before training, computed when called."""


@dataclass(frozen=True)
class StepResult:
    """The loss of a batch and its diagnostics; nothing here has waited for the device.

    Attributes:
        loss: to minimise, with gradient.
        diagnostics: names and scalar tensors, see `leopart.training.methods.diagnostics`.
    """

    loss: Tensor
    diagnostics: dict[str, Tensor]


class Learner(nn.Module):
    """Networks, and whatever else a method remembers from step to step.

    Its state and the number of the step decide the next step completely: random numbers are drawn from the
    seed and the step, never from what happened before.

    A subclass takes a backbone, which becomes the student in place, a recipe, and `Tokens` or None, which
    means that weights are loaded after construction and need no good start.

    Attributes:
        recipe: see `Recipe`.
        networks: student, which is trained, and teacher, which follows it.
    """

    recipe: Recipe
    networks: TwoNetworks

    def forward(self, views: ViewBatch, step: int, *, diagnose: bool = True) -> StepResult:
        """Loss of one batch.

        Args:
            views: on the networks' device.
            step: number of the batch in the run, from 0; decides every random draw.
            diagnose: whether to measure diagnostics too.
        """
        raise NotImplementedError

    def anchored(self, result: StepResult, tokens: Tensor, start: Tensor | None) -> StepResult:
        """The result, with the recipe's anchor to the network at the start added to the loss.

        Args:
            result: of the method alone.
            tokens: of large crops by the student, with gradient, [..., h, w, D].
            start: of the same crops by the network before training; None where the recipe has no anchor.
        """
        if start is None:
            return result
        gram, cosine = anchor_terms(*(part.flatten(0, -4).flatten(1, 2) for part in (tokens, start)))
        loss = result.loss + self.recipe.anchor_gram * gram + self.recipe.anchor_tokens * cosine
        measured = {"anchor_gram": gram.detach(), "anchor_tokens": cosine.detach()}
        return StepResult(loss, result.diagnostics and {**result.diagnostics, **measured})

    def seed_step(self, step: int) -> None:
        """Let the stochastic depth of this process's part of a step follow from the run's seed."""
        torch.manual_seed(_mixed(self.recipe.seed, step, rank()))


def learner_of(recipe: Recipe, backbone: Backbone, tokens: Tokens | None = None) -> Learner:
    """The learner of the recipe's method.

    Args:
        recipe: see `Recipe`.
        backbone: becomes the student, in place.
        tokens: see `Learner`.
    """
    kind = recipe.settings.LEARNER
    learner: Learner = (pkgutil.resolve_name(kind) if isinstance(kind, str) else kind)(
        backbone, recipe, tokens
    )
    return learner


def two_heads(recipe: Recipe, make: Callable[[torch.Generator], Head]) -> tuple[Head, Head | None]:
    """The student's head, and the teacher's if the recipe follows the code, where it is no copy.

    Args:
        recipe: see `Recipe`.
        make: draws a head's weights from a generator.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    head = make(generator)
    return head, make(generator) if recipe.reference == "code" else None


def network_options(recipe: Recipe) -> dict[str, Any]:
    """What `TwoNetworks` takes from a recipe."""
    return {
        "train_blocks": None if recipe.train_blocks == "all" else recipe.train_blocks,
        "drop_path": recipe.drop_path,
        "use_teacher": recipe.use_teacher,
        "anchored": recipe.anchor_gram > 0 or recipe.anchor_tokens > 0,
    }


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, spread over 63 bits."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed

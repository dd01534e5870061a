"""What Leopart's loss and its baselines have in common: networks, a recipe, and a step that both decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from leopart.data.views import ViewBatch
from leopart.processes import rank
from leopart.recipe import Recipe
from leopart.training.health import feature_rank
from leopart.training.networks import TwoNetworks

Head = TypeVar("Head", bound=nn.Module)

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


class Objective(nn.Module):
    """Networks and what else a loss remembers, with the recipe that says how they learn.

    Its state and the step's number decide the next step completely: random numbers are drawn from the seed
    and the step, never from what happened before.

    Attributes:
        recipe: see `Recipe`.
        networks: student, which is trained, and teacher, which follows it.
    """

    recipe: Recipe
    networks: TwoNetworks

    def forward(self, views: ViewBatch, step: int, *, watch: bool = True) -> StepResult:
        """Loss of one batch.

        Args:
            views: on the networks' device.
            step: number of the batch in the run, from 0; decides every random draw.
            watch: whether to measure health too.
        """
        raise NotImplementedError

    def seed_step(self, step: int) -> None:
        """Let stochastic depth of this process's part of a step follow from the run's seed."""
        torch.manual_seed(_mixed(self.recipe.seed, step, rank()))


def two_heads(recipe: Recipe, make: Callable[[torch.Generator], Head]) -> tuple[Head, Head | None]:
    """The student's head, and the teacher's where the recipe wants one that is no copy.

    Args:
        recipe: see `Recipe`.
        make: draws a head's weights from a generator.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    head = make(generator)
    return head, make(generator) if recipe.teacher_init == "independent" else None


def network_options(recipe: Recipe) -> dict[str, Any]:
    """What `TwoNetworks` takes from a recipe."""
    return {
        "train_blocks": None if recipe.train_blocks == "all" else recipe.train_blocks,
        "drop_path": recipe.drop_path,
        "use_teacher": recipe.use_teacher,
    }


def rank_of_some(tokens: Tensor) -> Tensor:
    """`feature_rank` of up to 1024 of the tokens [n, D], evenly spread."""
    stride = max(1, len(tokens) // _RANK_TOKENS)
    return feature_rank(tokens[::stride][:_RANK_TOKENS])


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, spread over 63 bits."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed

"""The anchor to the start: its terms against loops, and what it does to a step of every method."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.anchor import anchor_terms
from leopart.training.methods.learner import Learner, learner_of
from leopart.training.methods.registry import METHODS
from leopart.training.run import view_maker


def tokens(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(first: Tensor, second: Tensor) -> float:
    a, b = first.double().numpy(), second.double().numpy()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_both_terms_are_those_of_loops_over_single_tokens():
    mine, start = tokens(0, 2, 5, 3), tokens(1, 2, 5, 3)
    squares = [
        (cosine(mine[b, i], mine[b, j]) - cosine(start[b, i], start[b, j])) ** 2
        for b, i, j in product(range(2), range(5), range(5))
    ]
    turned = [1 - cosine(mine[b, i], start[b, i]) for b, i in product(range(2), range(5))]
    gram, own = anchor_terms(mine, start)
    assert float(gram) == pytest.approx(np.mean(squares), rel=1e-5)
    assert float(own) == pytest.approx(np.mean(turned), rel=1e-5)


def test_tokens_that_turn_together_keep_their_similarities():
    start = tokens(0, 2, 6, 4)
    turn, _ = torch.linalg.qr(tokens(1, 4, 4))
    gram, own = anchor_terms(3 * start @ turn, start)
    assert float(gram) < 1e-10
    assert float(own) > 0.1


def test_only_the_tokens_get_a_gradient():
    mine, start = tokens(0, 1, 4, 3).requires_grad_(), tokens(1, 1, 4, 3).requires_grad_()
    sum(anchor_terms(mine, start)).backward()
    assert mine.grad is not None
    assert bool(mine.grad.any())
    assert start.grad is None


# --- a step of every method -----------------------------------------------------------------------------


def recipe_for(tiny: Recipe, method: str, **changes: object) -> Recipe:
    small = {"contrast_queue": 6, "contrast_out": 8, "contrast_grid": 2, "neighbour_references": 20}
    return updated(tiny, method=method, drop_path=0.0, kernel_bins=3, neighbour_bins=3, **small, **changes)


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return str(request.param)


@pytest.fixture
def views(photos, tiny_recipe, method) -> ViewBatch:
    maker = view_maker(recipe_for(tiny_recipe, method))
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


def moved(learner: Learner) -> Learner:
    """The same with a student whose trained blocks are no longer those of the start."""
    with torch.no_grad():
        for name, parameter in learner.networks.backbone.model.blocks[-1].named_parameters():
            if name.endswith("weight"):
                parameter.mul_(0.5)
    return learner


def test_an_anchor_costs_nothing_at_the_start_and_adds_its_terms_later(fresh, tiny_recipe, views, method):
    plain = learner_of(recipe_for(tiny_recipe, method), fresh())
    anchored = learner_of(recipe_for(tiny_recipe, method, anchor_gram=10.0, anchor_tokens=2.0), fresh())
    before = anchored(views, 0)
    torch.testing.assert_close(before.loss, plain(views, 0).loss, atol=1e-5, rtol=1e-5)
    plain, anchored = (
        moved(learner_of(recipe_for(tiny_recipe, method, **terms), fresh()))
        for terms in ({}, {"anchor_gram": 10.0, "anchor_tokens": 2.0})
    )
    after = anchored(views, 0)
    terms = after.diagnostics
    assert float(terms["anchor_tokens"]) > 1e-4
    expected = plain(views, 0).loss + 10 * terms["anchor_gram"] + 2 * terms["anchor_tokens"]
    torch.testing.assert_close(after.loss, expected)


@pytest.mark.parametrize("train_blocks", ["all", 1])
def test_the_start_stays_what_it_was_and_shares_what_is_frozen(
    fresh, tiny_recipe, views, method, train_blocks
):
    recipe = recipe_for(tiny_recipe, method, anchor_tokens=1.0, train_blocks=train_blocks)
    learner = learner_of(recipe, fresh())
    kept = copy.deepcopy(learner.networks.start.state_dict())
    optimiser = torch.optim.SGD(learner.networks.student.parameters(), lr=1.0)
    learner(views, 0).loss.backward()
    optimiser.step()
    found = learner.networks.start.state_dict()
    assert all(torch.equal(found[name], value) for name, value in kept.items())
    shared = learner.networks.start.model.blocks[0] is learner.networks.backbone.model.blocks[0]
    assert shared == (train_blocks == 1)


def test_without_an_anchor_no_third_network_is_kept(fresh, tiny_recipe, method):
    learner = learner_of(recipe_for(tiny_recipe, method), fresh())
    assert learner.networks.start is None
    assert not any("start" in name for name in learner.state_dict())

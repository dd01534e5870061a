"""Neighbour consistency against loops, and its step against each crop by itself."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.neco.learner import NeCoLearner
from leopart.training.methods.neco.loss import neighbour_consistency
from leopart.training.run import view_maker


def tokens(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shares(token: np.ndarray, references: np.ndarray, temperature: float) -> list[float]:
    cosines = [token @ r / math.sqrt((token @ token) * (r @ r)) for r in references]
    powers = [math.exp(value / temperature) for value in cosines]
    return [power / sum(powers) for power in powers]


def divergence(cell: np.ndarray, target: np.ndarray, references: np.ndarray) -> float:
    wanted, found = shares(target, references, 0.05), shares(cell, references, 0.1)
    return sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True))


def test_the_loss_is_that_of_loops_over_cells_and_references():
    cells, targets, references = tokens(0, 5, 4), tokens(1, 5, 4), tokens(2, 7, 4)
    triple = [part.double().numpy() for part in (cells, targets, references)]
    expected = np.mean([divergence(c, t, triple[2]) for c, t in zip(*triple[:2], strict=True)])
    found = neighbour_consistency(cells, targets, references, 0.1, 0.05)
    assert float(found.loss) == pytest.approx(expected, rel=1e-5)
    nearest = [[int(np.argmax(shares(token, triple[2], 1.0))) for token in part] for part in triple[:2]]
    assert float(found.agreement) == pytest.approx(np.mean(np.equal(*nearest)))


def test_equal_descriptions_at_one_temperature_cost_nothing():
    cells, references = tokens(0, 5, 4), tokens(2, 7, 4)
    assert float(neighbour_consistency(cells, 3 * cells, references, 0.1, 0.1).loss) == pytest.approx(
        0, abs=1e-6
    )


def test_only_the_student_s_cells_get_a_gradient():
    cells, targets, references = (tokens(i, 5, 4).requires_grad_() for i in range(3))
    neighbour_consistency(cells, targets, references, 0.1, 0.05).loss.backward()
    assert bool(cells.grad.any())
    assert targets.grad is None
    assert references.grad is None


# --- a step ---------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    return updated(tiny_recipe, method="neco", drop_path=0.0, neighbour_bins=3, neighbour_references=10**6)


@pytest.fixture
def views(photos, recipe) -> ViewBatch:
    maker = view_maker(recipe)
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


def region(backbone, crop: Tensor, box: Tensor) -> np.ndarray:
    """Cells of one crop's region, [9, D]."""
    maps = backbone(crop[None]).tokens.permute(0, 3, 1, 2)
    return roi_align(maps, [box[None] / 8], 3, aligned=True)[0].flatten(1).T.double().detach().numpy()


def test_the_loss_is_that_of_each_crop_by_itself_with_all_tokens_as_references(fresh, recipe, views):
    learner = NeCoLearner(fresh(), recipe)
    student = copy.deepcopy(learner.networks.backbone).eval()
    teacher = learner.networks.teacher["backbone"]
    large = views.global_crops.flatten(0, 1)
    references = teacher(large).tokens.flatten(0, 2).double().numpy()
    found = []
    for photo in range(4):
        crops = [*views.global_crops[:, photo], *views.local_crops[:, photo]]
        for target in range(2):
            for number, crop in enumerate(crops):
                if number != target:
                    mine = region(student, crop, views.all[photo, number, target])
                    theirs = region(teacher, crops[target], views.gc[photo, target, number])
                    found += [divergence(c, t, references) for c, t in zip(mine, theirs, strict=True)]
    assert float(learner(views, 0).loss.detach()) == pytest.approx(np.mean(found), rel=1e-3)


def test_references_are_some_tokens_that_seed_and_step_decide(fresh, recipe):
    learner = NeCoLearner(fresh(), updated(recipe, neighbour_references=5))
    every = tokens(0, 40, 24)
    first = learner._references(every, 3)
    assert torch.equal(first, learner._references(every, 3))
    assert not torch.equal(first, learner._references(every, 4))
    places = [int((every == row).all(1).nonzero()) for row in first]
    assert len(set(places)) == 5


def test_weights_views_and_number_decide_a_step(fresh, recipe, views):
    learner = NeCoLearner(fresh(), updated(recipe, drop_path=0.5, neighbour_references=20))
    one, other = copy.deepcopy(learner), copy.deepcopy(learner)
    loss = learner(views, 7).loss
    torch.rand(3)
    assert torch.equal(one(views, 7).loss, loss)
    assert not torch.equal(other(views, 8).loss, loss)

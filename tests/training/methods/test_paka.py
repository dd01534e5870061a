"""Patch-level kernel alignment against loops, and its step against each crop by itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.paka.learner import PaKALearner
from leopart.training.methods.paka.loss import kernel_alignment
from leopart.training.run import view_maker


def tokens(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_loops(mine: np.ndarray, other: np.ndarray) -> float:
    """Of one region, [C, D] and [C, E], in double precision."""
    mine, other = mine - mine.mean(0), other - other.mean(0)
    cells = range(len(mine))
    k = [[sum(a * b for a, b in zip(mine[i], mine[j], strict=True)) for j in cells] for i in cells]
    l = [[sum(a * b for a, b in zip(other[i], other[j], strict=True)) for j in cells] for i in cells]  # noqa: E741
    both = sum(k[i][j] * l[i][j] for i in cells for j in cells)
    lengths = sum(k[i][j] ** 2 for i in cells for j in cells) * sum(
        l[i][j] ** 2 for i in cells for j in cells
    )
    return float(both / lengths**0.5)


def test_the_alignment_is_that_of_loops_over_pairs_of_cells():
    mine, other = tokens(0, 3, 6, 4), tokens(1, 3, 6, 5)
    expected = [by_loops(a.double().numpy(), b.double().numpy()) for a, b in zip(mine, other, strict=True)]
    assert kernel_alignment(mine, other).tolist() == pytest.approx(expected, rel=1e-5)


def test_tokens_that_are_turned_moved_and_scaled_are_aligned():
    mine = tokens(0, 2, 9, 4)
    turn, _ = torch.linalg.qr(tokens(1, 4, 4))
    torch.testing.assert_close(kernel_alignment(3 * mine @ turn + 5, mine), torch.ones(2))


def test_equal_tokens_have_no_alignment_and_a_finite_gradient():
    mine = torch.ones(1, 4, 3).requires_grad_()
    found = kernel_alignment(mine, tokens(0, 1, 4, 3))
    assert found.tolist() == [0]
    found.sum().backward()
    assert bool(torch.isfinite(mine.grad).all())


# --- a step ---------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    return updated(tiny_recipe, method="paka", drop_path=0.0, kernel_bins=3)


@pytest.fixture
def views(photos, recipe) -> ViewBatch:
    maker = view_maker(recipe)
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


def region(backbone, crop: Tensor, box: Tensor) -> np.ndarray:
    """Cells of one crop's region, [9, D]."""
    maps = backbone(crop[None]).tokens.permute(0, 3, 1, 2)
    cells = roi_align(maps, [box[None] / 8], 3, aligned=True)
    return cells[0].flatten(1).T.double().detach().numpy()


def test_the_loss_is_that_of_each_crop_by_itself(fresh, recipe, views):
    learner = PaKALearner(fresh(), recipe)
    with torch.no_grad():
        learner.networks.teacher["backbone"].model.blocks[-1].mlp.fc2.weight.mul_(3)
    student, teacher = copy.deepcopy(learner.networks.backbone), learner.networks.teacher["backbone"]
    found = []
    for photo in range(4):
        crops = [views.global_crops[1, photo], *views.local_crops[:, photo]]
        for number, crop in enumerate(crops, start=1):
            mine = region(student.eval(), crop, views.all[photo, number, 0])
            theirs = region(teacher, views.global_crops[0, photo], views.gc[photo, 0, number])
            found.append(1 - by_loops(mine, theirs))
    assert float(learner(views, 0).loss.detach()) == pytest.approx(np.mean(found), rel=1e-4)


def test_the_teacher_s_crop_keeps_its_colours_and_the_student_s_do_not(photos, recipe):
    plain = updated(recipe, jitter=0.0, blur=0.0)
    same = []
    for seed in range(12):
        pixels = load_photo(photos[0].path)
        coloured = view_maker(recipe)(pixels, np.random.default_rng(seed))
        assert torch.equal(
            coloured.global_crops[0], view_maker(plain)(pixels, np.random.default_rng(seed)).global_crops[0]
        )
        uncoloured = view_maker(plain)(pixels, np.random.default_rng(seed))
        same.append(torch.equal(coloured.global_crops[1], uncoloured.global_crops[1]))
    assert not all(same)


def test_steps_down_the_gradient_raise_the_alignment(fresh, recipe, views):
    learner = PaKALearner(fresh(), recipe)
    optimiser = torch.optim.SGD(learner.networks.student.parameters(), lr=0.5)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = learner(views, 0).loss
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]

"""The hybrid against its two parts."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.errors import LeopartError
from leopart.recipe import Recipe, learning_options
from leopart.settings import updated
from leopart.training.methods.densecl.learner import DenseCLLearner
from leopart.training.methods.densecl.loss import dense_contrast, global_contrast, matching_cells
from leopart.training.methods.densecl.networks import to_cells
from leopart.training.methods.hybrid.learner import HybridLearner
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.run import view_maker


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    contrast = {"contrast_queue": 6, "contrast_out": 8, "contrast_grid": 2, "hybrid_contrast": 0.25}
    return updated(tiny_recipe, method="hybrid", drop_path=0.0, **contrast)


@pytest.fixture
def views(photos, recipe) -> ViewBatch:
    maker = view_maker(recipe)
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


def test_its_views_are_leopart_s(recipe, tiny_recipe):
    assert recipe.crops == tiny_recipe.crops == (2, 2)


def test_the_clustering_part_is_leopart_s_loss(fresh, recipe, views):
    found = HybridLearner(fresh(), recipe)(views, 0).diagnostics["clustering_loss"]
    expected = LeopartLearner(fresh(), updated(recipe, method="leopart"))(views, 0).loss
    torch.testing.assert_close(found, expected.detach())


@torch.no_grad()
def test_the_contrast_part_is_densecl_s_loss_of_the_crops_means(fresh, recipe, views):
    learner = HybridLearner(fresh(), updated(recipe, reference="code"))
    sides = (copy.deepcopy(learner.networks.student), learner.networks.teacher)
    rows = learner.keys.rows.clone()
    result = learner(views, 0)
    whole, cells, raw = [], [], []
    for network, crops in zip(sides, views.global_crops, strict=True):
        tokens = network["backbone"](crops).tokens
        raw.append(to_cells(tokens, 2))
        embeddings = network["head"].contrast(tokens.flatten(1, 2).mean(1), raw[-1])
        whole.append(embeddings[0])
        cells.append(embeddings[1])
    first = global_contrast(*whole, rows[0], 0.2).loss
    second = dense_contrast(*cells, matching_cells(*raw), rows[1], 0.2).loss
    torch.testing.assert_close(result.diagnostics["global_loss"], first, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(result.diagnostics["dense_loss"], second, atol=1e-4, rtol=1e-4)
    expected = 0.75 * result.diagnostics["clustering_loss"] + 0.25 * (first + second) / 2
    torch.testing.assert_close(result.loss, expected, atol=1e-4, rtol=1e-4)


def test_both_queues_move_on_as_those_of_the_parts(fresh, recipe, views):
    learner = HybridLearner(fresh(), recipe)
    clustering = LeopartLearner(fresh(), updated(recipe, method="leopart"))
    contrast = DenseCLLearner(fresh(), updated(recipe, method="densecl"))
    for part in (learner, clustering, contrast):
        part(views, 0)
    torch.testing.assert_close(learner.queue.rows, clustering.queue.rows)
    assert learner.keys.fill.tolist() == contrast.queue.fill.tolist()


def test_only_the_student_gets_gradients_and_all_of_it(fresh, recipe, views):
    learner = HybridLearner(fresh(), recipe)
    learner(views, 0).loss.backward()
    assert all(p.grad is not None for p in learner.networks.student.parameters())
    assert all(p.grad is None for p in learner.networks.teacher.parameters())


def test_the_options_of_both_parts_decide_what_is_learned(recipe):
    options = learning_options(recipe)
    assert {"prototypes", "contrast_queue", "hybrid_contrast"} <= options.keys()
    assert "kernel_bins" not in options


def test_one_large_crop_is_refused(fresh, recipe):
    with pytest.raises(LeopartError, match="--global-crops 2 or more"):
        HybridLearner(fresh(), updated(recipe, global_crops=1))

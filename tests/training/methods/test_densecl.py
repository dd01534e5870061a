"""DenseCL's loss and learner against loops over single logits, and against each crop by itself."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks_small import small, source_model
from torch import Tensor

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.models.backbone import build_backbone
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.densecl.learner import DenseCLLearner
from leopart.training.methods.densecl.loss import dense_contrast, global_contrast, matching_cells
from leopart.training.methods.densecl.networks import to_cells
from leopart.training.methods.learner import learner_of
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.run import view_maker


def units(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def cross_entropy(positive: float, negatives: list[float], temperature: float) -> float:
    everything = [math.exp(value / temperature) for value in (positive, *negatives)]
    return -math.log(everything[0] / sum(everything))


def dot(first: Tensor, second: Tensor) -> float:
    return sum(a * b for a, b in zip(first.tolist(), second.tolist(), strict=True))


# --- the terms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_the_term_of_whole_crops_is_that_of_a_double_loop(temperature):
    queries, keys, negatives = units(4, 5), units(4, 5, seed=1), units(6, 5, seed=2)
    pairs = [(dot(q, k), [dot(q, n) for n in negatives]) for q, k in zip(queries, keys, strict=True)]
    term = global_contrast(queries, keys, negatives, temperature)
    assert float(term.loss) == pytest.approx(
        np.mean([cross_entropy(*pair, temperature) for pair in pairs]), rel=1e-5
    )
    assert float(term.accuracy) == np.mean([positive > max(others) for positive, others in pairs])


def test_the_term_of_cells_is_that_of_a_double_loop():
    queries, keys, negatives = units(3, 4, 5), units(3, 6, 5, seed=1), units(7, 5, seed=2)
    matches = torch.randint(0, 6, (3, 4), generator=torch.Generator().manual_seed(3))
    losses = [
        cross_entropy(
            dot(queries[b, i], keys[b, matches[b, i]]), [dot(queries[b, i], n) for n in negatives], 0.2
        )
        for b in range(3)
        for i in range(4)
    ]
    found = dense_contrast(queries, keys, matches, negatives, 0.2).loss
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_gradient_is_that_of_torch_s_cross_entropy():
    queries, keys, negatives = units(4, 5).requires_grad_(), units(4, 5, seed=1), units(6, 5, seed=2)
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ negatives.T], 1) / 0.2
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, torch.zeros(4, dtype=torch.long)), queries)
    (found,) = torch.autograd.grad(global_contrast(queries, keys, negatives, 0.2).loss, queries)
    torch.testing.assert_close(found, expected)


def test_cells_match_those_a_loop_finds_most_alike():
    queries, keys = (torch.randn(3, n, 4, generator=torch.Generator().manual_seed(n)) for n in (5, 7))
    queries.requires_grad_()
    matches = matching_cells(queries, keys)
    assert not matches.requires_grad
    for b in range(3):
        for i in range(5):
            cosines = [
                dot(queries[b, i], k) / math.sqrt(dot(queries[b, i], queries[b, i]) * dot(k, k))
                for k in keys[b]
            ]
            assert matches[b, i] == max(range(7), key=cosines.__getitem__)


@pytest.mark.parametrize(("height", "width", "side"), [(4, 4, 2), (5, 7, 3), (16, 16, 7), (2, 5, 3)])
def test_a_cell_is_the_mean_of_the_tokens_that_it_touches(height, width, side):
    tokens = torch.randn(2, height, width, 3, generator=torch.Generator().manual_seed(0))

    def spans(length: int) -> list[slice]:
        count = min(side, length)
        return [slice(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]

    expected = [tokens[:, y, x].mean((1, 2)) for y in spans(height) for x in spans(width)]
    torch.testing.assert_close(to_cells(tokens, side), torch.stack(expected, 1))


def test_as_many_cells_as_tokens_are_the_tokens():
    tokens = torch.randn(2, 3, 4, 5)
    assert torch.equal(to_cells(tokens, 9), tokens.reshape(2, 12, 5))


# --- a step ---------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tiny_recipe) -> Recipe:
    """The tiny one; 4 x 4 tokens become 2 x 2 cells."""
    contrast = {"contrast_queue": 6, "contrast_out": 8, "contrast_grid": 2, "contrast_dense": 0.3}
    return updated(tiny_recipe, method="densecl", drop_path=0.0, **contrast)


@pytest.fixture
def views(photos, recipe) -> ViewBatch:
    maker = view_maker(recipe)
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


@pytest.fixture
def learner(fresh, recipe) -> DenseCLLearner:
    return DenseCLLearner(fresh(), recipe)


@torch.no_grad()
def by_hand(network, crop: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of one crop of 32 x 32: its embedding, those of its four cells, their mean's, and the cells' tokens."""
    backbone, heads = network["backbone"], network["head"].projection_head
    everything = backbone.model.forward_features(backbone.normalise(crop[None]))[0]
    everything = F.layer_norm(everything, (24,), eps=1e-6)
    quarters = everything[1:].reshape(2, 2, 2, 2, 24).transpose(1, 2).reshape(4, 4, 24).mean(1)
    dense = heads["cells"](quarters)
    whole = heads["whole"](everything[0])
    return F.normalize(whole, dim=0), F.normalize(dense, dim=1), F.normalize(dense.mean(0), dim=0), quarters


def test_the_loss_is_that_of_each_crop_by_itself(fresh, recipe, views):
    learner = DenseCLLearner(fresh(), updated(recipe, reference="code"))
    networks, rows = copy.deepcopy(learner.networks), learner.queue.rows.clone()
    found = learner(views, 0)
    whole, cells = [], []
    for query, key in zip(*views.global_crops, strict=True):
        student, teacher = by_hand(networks.student, query), by_hand(networks.teacher, key)
        whole.append(cross_entropy(dot(student[0], teacher[0]), [dot(student[0], n) for n in rows[0]], 0.2))
        for embedding, tokens in zip(student[1], student[3], strict=True):
            cosines = [float(F.cosine_similarity(tokens, other, dim=0)) for other in teacher[3]]
            positive = dot(embedding, teacher[1][int(np.argmax(cosines))])
            cells.append(cross_entropy(positive, [dot(embedding, n) for n in rows[1]], 0.2))
    assert float(found.diagnostics["global_loss"]) == pytest.approx(np.mean(whole), rel=1e-4)
    assert float(found.diagnostics["dense_loss"]) == pytest.approx(np.mean(cells), rel=1e-4)
    assert float(found.loss.detach()) == pytest.approx(0.7 * np.mean(whole) + 0.3 * np.mean(cells), rel=1e-4)


def test_keys_join_the_queue_after_the_loss_and_the_oldest_leave(learner, views):
    first = learner.queue.rows.clone()
    keys = [by_hand(learner.networks.teacher, crop) for crop in views.global_crops[1]]
    learner(views, 0)
    for queue, before, fresh in zip(learner.queue.rows, first, ([k[i] for k in keys] for i in (0, 2))):  # noqa: B905
        distances = torch.cdist(torch.stack(fresh), queue[:4])
        assert sorted(distances.argmin(1).tolist()) == [0, 1, 2, 3]
        assert float(distances.amin(1).max()) < 1e-4
        assert torch.equal(queue[4:], before[:2])
    second = learner.queue.rows.clone()
    learner(views, 1)
    assert torch.equal(learner.queue.rows[:, 4:], second[:, :2])
    assert learner.queue.fill.tolist() == [6, 6]


def test_queues_begin_with_random_directions_of_the_seed(fresh, recipe):
    rows = DenseCLLearner(fresh(), recipe).queue.rows
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2, 6))
    assert len(rows.flatten(0, 1).unique(dim=0)) == 12
    assert torch.equal(DenseCLLearner(fresh(), recipe).queue.rows, rows)
    assert not torch.equal(DenseCLLearner(fresh(), updated(recipe, seed=1)).queue.rows, rows)


def test_only_the_student_gets_gradients_and_all_of_it(learner, views):
    learner(views, 0).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in learner.networks.student["head"].parameters())
    assert all(p.grad is not None for p in learner.networks.student.parameters())
    assert all(p.grad is None for p in learner.networks.teacher.parameters())


def test_a_frozen_trunk_changes_no_loss_and_gets_no_gradient(fresh, recipe, views, learner):
    frozen = DenseCLLearner(fresh(), updated(recipe, train_blocks=1))
    loss = frozen(views, 0).loss
    torch.testing.assert_close(loss, learner(views, 0).loss)
    loss.backward()
    blocks = frozen.networks.backbone.model.blocks
    assert all(p.grad is None for p in blocks[0].parameters())
    assert all(p.grad is not None for p in blocks[1].parameters())
    assert frozen.networks.teacher["backbone"].model.blocks[0] is blocks[0]


def test_without_a_teacher_the_student_gives_the_keys(fresh, recipe, views):
    learner = DenseCLLearner(fresh(), updated(recipe, use_teacher=False))
    key = by_hand(learner.networks.student, views.global_crops[1, 2])
    learner(views, 0)
    assert float((learner.queue.rows[0] - key[0]).norm(dim=1).min()) < 1e-4
    assert list(learner.networks.averaged()) == []


def test_weights_views_and_number_decide_a_step(fresh, recipe, views):
    learner = DenseCLLearner(fresh(), updated(recipe, drop_path=0.5))
    one, other = copy.deepcopy(learner), copy.deepcopy(learner)
    torch.manual_seed(1)
    loss = learner(views, 7).loss
    torch.manual_seed(2)
    assert torch.equal(one(views, 7).loss, loss)
    assert torch.equal(one.queue.rows, learner.queue.rows)
    assert not torch.equal(other(views, 8).loss, loss)


def test_diagnostics_are_measured_where_they_are_asked_for(learner, views):
    found = learner(views, 0).diagnostics
    assert float(found["queue_fill"]) == pytest.approx(4 / 6)
    assert 1 <= found["feature_rank"] <= 16
    assert 0 <= found["global_contrastive_accuracy"] <= 1
    assert learner(views, 1, diagnose=False).diagnostics == {}


def test_without_a_cls_token_the_mean_of_the_tokens_stands_for_the_crop():
    spec = replace(small("supervised_vits16"), architecture="vit_base_patch16_siglip_224")
    backbone = build_backbone(spec, source_model(spec).state_dict())
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    tokens, summary = backbone.finish_with_summary(backbone.begin(pixels))
    torch.testing.assert_close(summary, backbone.encode(pixels).tokens.mean((1, 2)))
    assert tokens.shape == (2, 3, 3, 48)


# --- a run ----------------------------------------------------------------------------------------------


def test_the_recipe_chooses_what_is_learned(fresh, recipe, tiny_recipe):
    assert type(learner_of(recipe, fresh())) is DenseCLLearner
    assert type(learner_of(tiny_recipe, fresh())) is LeopartLearner


def test_steps_down_the_gradient_lower_both_terms(fresh, recipe, views):
    learner = DenseCLLearner(fresh(), updated(recipe, contrast_queue=40, contrast_temperature=1.0))
    rows = learner.queue.rows.clone()
    optimiser = torch.optim.SGD(learner.networks.student["head"].parameters(), lr=0.5)
    losses = []
    for _ in range(15):
        learner.queue.rows.copy_(rows)
        optimiser.zero_grad()
        result = learner(views, 0)
        result.loss.backward()
        optimiser.step()
        losses.append([float(result.diagnostics[name]) for name in ("global_loss", "dense_loss")])
    falls = np.diff(np.array(losses), axis=0)
    assert (falls < 0).mean() > 0.9

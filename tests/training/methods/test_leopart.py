"""One step as a function of weights, views and number."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from leopart.data.images import load_photo
from leopart.data.views import ViewBatch, collate_views
from leopart.settings import updated
from leopart.training.methods.leopart import learner as step_module
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.methods.leopart.loss import dense_loss
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.regions import SharedRegions
from leopart.training.run import view_maker


@pytest.fixture
def views(photos, tiny_recipe) -> ViewBatch:
    maker = view_maker(tiny_recipe)
    made = [maker(load_photo(photo.path), np.random.default_rng(i)) for i, photo in enumerate(photos[:4])]
    return collate_views(list(enumerate(made)))


@pytest.fixture
def learner(fresh, tiny_recipe) -> LeopartLearner:
    return LeopartLearner(fresh(), tiny_recipe)


@pytest.fixture
def given(monkeypatch) -> list[dict]:
    """What the loss was given, step by step."""
    calls = []

    def watched(*arguments, **options):
        calls.append({"arguments": arguments, **options})
        return dense_loss(*arguments, **options)

    monkeypatch.setattr(step_module, "dense_loss", watched)
    return calls


def test_the_loss_is_that_of_the_networks_outputs(learner, views, tiny_recipe):
    learner.eval()
    networks = copy.deepcopy(learner.networks)
    outputs = networks(views.global_crops, views.local_crops, tiny_recipe.leopart.attention_kept)
    expected = dense_loss(
        outputs.teacher_scores,
        (outputs.student_global, outputs.student_local),
        SharedRegions(views.gc / 8, views.all / 8),
        mask=outputs.foreground,
        settings=LeopartSettings(roi_bins=3),
    )
    assert torch.equal(learner(views, 0).loss, expected)


def test_weights_views_and_number_decide_a_step(learner, views):
    other = copy.deepcopy(learner)
    torch.manual_seed(1)
    first = learner(views, 7).loss
    torch.manual_seed(2)
    torch.rand(5)
    assert torch.equal(other(views, 7).loss, first)
    assert torch.equal(other.queue.rows, learner.queue.rows)


def test_another_number_drops_other_paths_and_draws_other_tokens(fresh, tiny_recipe, views):
    recipe = updated(tiny_recipe, drop_path=0.5)
    first, second = LeopartLearner(fresh(), recipe), LeopartLearner(fresh(), recipe)
    assert not torch.equal(first(views, 0).loss, second(views, 1).loss)
    assert not torch.equal(first.queue.rows, second.queue.rows)


@pytest.mark.parametrize("which", ["fg", "bg", "all"])
def test_cells_that_count_are_foreground_background_or_all(fresh, tiny_recipe, views, given, which):
    learner = LeopartLearner(fresh(), updated(tiny_recipe, loss_mask=which)).eval()
    outputs = copy.deepcopy(learner.networks)(views.global_crops, views.local_crops, 0.6)
    assert bool(torch.isfinite(learner(views, 0).loss))
    mask = given[0]["mask"]
    if which == "all":
        assert mask is None
    else:
        assert torch.equal(mask, outputs.foreground if which == "fg" else ~outputs.foreground)
        assert 0 < mask.float().mean() < 1


@pytest.mark.parametrize("reference", ["paper", "code"])
def test_the_queue_is_scored_as_in_the_reference(fresh, tiny_recipe, views, given, reference):
    learner = LeopartLearner(fresh(), updated(tiny_recipe, reference=reference))
    with torch.no_grad():
        learner.networks.head.prototypes.weight.neg_()  # the student's are others than the teacher's
    learner(views, 0)
    rows = learner.queue.rows.clone()
    learner(views, 1)
    networks = learner.networks
    head = networks.target_head if reference == "paper" else networks.head
    torch.testing.assert_close(given[1]["queued"].scores, rows @ head.prototypes.weight.T)


def test_ten_tokens_a_photo_go_into_the_queue_after_the_targets(fresh, tiny_recipe, views, given):
    learner = LeopartLearner(fresh(), updated(tiny_recipe, loss_mask="all"))
    learner(views, 0)
    assert not given[0]["queued"].weights.any()
    assert learner.queue.fill.tolist() == [40, 40]
    learner(views, 1)
    assert learner.queue.fill.tolist() == [50, 50]
    learner(views, 2)
    assert bool((given[2]["queued"].weights == 1).all())


def test_a_run_without_a_queue_has_none(fresh, tiny_recipe, views, given):
    result = LeopartLearner(fresh(), updated(tiny_recipe, queue=0))(views, 0)
    assert given[0]["queued"] is None
    assert "queue_fill" not in result.diagnostics


def test_only_the_student_gets_gradients(learner, views):
    learner(views, 0).loss.backward()
    assert all(p.grad is not None for p in learner.networks.student.parameters())
    assert all(p.grad is None for p in learner.networks.teacher.parameters())


@pytest.mark.parametrize("reference", ["paper", "code"])
def test_the_teacher_s_head_starts_as_in_the_reference(fresh, tiny_recipe, reference):
    networks = LeopartLearner(fresh(), updated(tiny_recipe, reference=reference)).networks
    same = [
        torch.equal(*pair)
        for pair in zip(networks.target_head.parameters(), networks.head.parameters(), strict=True)
    ]
    assert same[0] == same[-1] == (reference == "paper")
    backbones = zip(networks.teacher["backbone"].parameters(), networks.backbone.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in backbones)


def test_another_seed_gives_another_head(fresh, tiny_recipe):
    first, second = (
        LeopartLearner(fresh(), updated(tiny_recipe, seed=seed)).networks.head for seed in (1, 2)
    )
    assert not torch.equal(first.prototypes.weight, second.prototypes.weight)


def test_diagnostics_are_measured_where_it_is_asked_for(learner, views):
    found = learner(views, 0).diagnostics
    assert set(found) == {
        *("perplexity", "assignment_entropy", "feature_rank", "agreement", "foreground", "queue_fill")
    }
    assert 1 <= found["perplexity"] <= 7
    assert 0 <= found["assignment_entropy"] <= 1
    assert 1 <= found["feature_rank"] <= 24
    assert 0 < found["foreground"] < 1
    assert 0.5 < found["queue_fill"] <= 40 / 50  # some maps have fewer than ten foreground tokens
    assert not any(value.requires_grad for value in found.values())
    assert learner(views, 1, diagnose=False).diagnostics == {}


def test_more_prototypes_than_tokens_are_no_matter(fresh, tiny_recipe, views):
    result = LeopartLearner(fresh(), updated(tiny_recipe, prototypes=500))(views, 0)
    assert bool(torch.isfinite(result.loss))

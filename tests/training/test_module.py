"""What Lightning is asked to do at each step, and that it does it: against a loop without Lightning."""

from __future__ import annotations

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

from leopart.data.views import collate_views
from leopart.models.backbone import Backbone
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.leopart.learner import LeopartLearner
from leopart.training.methods.leopart.networks import StudentTeacher
from leopart.training.optimisation import build_optimizer, cosine, set_schedules
from leopart.training.run import view_maker
from leopart.training.stream import Stream


class Diary(pl.Callback):
    """The weights after every step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.write(module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        if (index + 1) % trainer.accumulate_grad_batches == 0:
            self.write(module)

    def write(self, module: pl.LightningModule) -> None:
        self.networks: StudentTeacher = module.learner.networks
        state = self.networks.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


def plain_loop(backbone: Backbone, photos: list, recipe: Recipe) -> dict[str, Tensor]:
    """A training as one would write it down, without Lightning, loaders and checkpoints."""
    learner = LeopartLearner(backbone, recipe)
    learner.train()
    optimizer = build_optimizer(learner.networks.student)
    stream, maker = Stream(len(photos), recipe.batch_size, recipe.seed), view_maker(recipe)
    share = recipe.batch_size // recipe.accumulate
    position = number = 0
    for step in range(recipe.steps):
        optimizer.zero_grad()
        for _ in range(recipe.accumulate):
            samples = []
            for _ in range(share):
                index = stream.photo_at(position)
                generator = np.random.default_rng((recipe.seed, 2, position))
                samples.append((index, maker(photos[index].path, generator)))
                position += 1
            (learner(collate_views(samples), number).loss / recipe.accumulate).backward()
            number += 1
        set_schedules(optimizer, recipe, step, recipe.steps)
        optimizer.step()
        momentum = cosine(recipe.momentum, recipe.momentum_end, step, recipe.steps)
        with torch.no_grad():
            for teacher, student in learner.networks.averaged():
                teacher.mul_(momentum).add_(student, alpha=1 - momentum)
    return learner.state_dict()


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "train_blocks": 1}])
def test_a_run_is_the_plain_loop_to_the_bit(
    changes, train_tiny, tiny_recipe, fresh, photos, tmp_path, state_of
):
    recipe = updated(tiny_recipe, **changes)
    train_tiny(recipe, tmp_path)
    found = state_of(tmp_path)
    for name, value in plain_loop(fresh(), photos, recipe).items():
        assert torch.equal(found[f"state learner.{name}"], value), name


# --- the teacher ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["paper", "code"])
def test_the_teacher_is_the_moving_average_of_the_student(reference, train_tiny, tiny_recipe):
    recipe, diary = updated(tiny_recipe, steps=5, reference=reference, momentum=0.7), Diary()
    train_tiny(recipe, callbacks=[diary])
    assert len(diary.weights) == 6
    names = [name.removeprefix("teacher.") for name in diary.weights[0] if name.startswith("teacher.")]
    for name in names:
        if "prototypes" in name:  # brought to length 1 before every forward, see below
            continue
        average = diary.weights[0][f"teacher.{name}"].double()
        for step in range(5):
            student = diary.weights[step + (reference == "paper")][f"student.{name}"].double()
            momentum = 1 + 0.5 * (0.7 - 1) * (1 + np.cos(np.pi * step / 5))
            average = momentum * average + (1 - momentum) * student
            found = diary.weights[step + 1][f"teacher.{name}"].double()
            torch.testing.assert_close(found, average, atol=1e-6, rtol=1e-5, msg=name)


def test_prototypes_are_averaged_between_two_normalisations(train_tiny, tiny_recipe):
    diary, name = Diary(), "head.prototypes.weight"
    train_tiny(updated(tiny_recipe, steps=3, momentum=0.7, momentum_end=0.7), callbacks=[diary])
    for before, after in zip(diary.weights, diary.weights[1:], strict=False):
        unit = torch.nn.functional.normalize(before[f"teacher.{name}"])
        torch.testing.assert_close(after[f"teacher.{name}"], 0.7 * unit + 0.3 * after[f"student.{name}"])


def test_in_the_authors_order_the_teacher_lags_a_step_behind(train_tiny, tiny_recipe):
    for reference, moved in (("code", False), ("paper", True)):
        diary = Diary()
        train_tiny(updated(tiny_recipe, steps=1, reference=reference), callbacks=[diary])
        name = "teacher.backbone.model.blocks.1.mlp.fc1.weight"
        assert torch.allclose(diary.weights[0][name], diary.weights[1][name]) != moved


def test_frozen_blocks_and_the_embedding_stay_as_they_were(train_tiny, tiny_recipe):
    diary = Diary()
    train_tiny(updated(tiny_recipe, train_blocks=1, weight_decay=0.5), callbacks=[diary])
    first, last = diary.weights[0], diary.weights[-1]
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    for network in ("student", "teacher"):
        block = {name for name in first if name.startswith(f"{network}.backbone.model.blocks.1.")}
        head = {name for name in first if name.startswith(f"{network}.head.")}
        assert changed & {name for name in first if name.startswith(network)} == block | head


def test_all_blocks_train_without_the_embedding(train_tiny, tiny_recipe):
    diary = Diary()
    train_tiny(updated(tiny_recipe, train_blocks=2, steps=2), callbacks=[diary])
    first, last = diary.weights[0], diary.weights[-1]
    same = {name for name in first if torch.equal(first[name], last[name])}
    assert {name.split("model.")[1].split(".")[0] for name in same} == {
        "cls_token",
        "pos_embed",
        "patch_embed",
    }


# --- schedules and groups -------------------------------------------------------------------------------


def groups_at(
    step: int, recipe: Recipe, learner: LeopartLearner, total: int = 100
) -> dict[str, tuple[float, float]]:
    optimizer = build_optimizer(learner.networks.student)
    set_schedules(optimizer, recipe, step, total)
    return {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}


def test_rates_and_decay_at_the_corners(fresh, tiny_recipe):
    recipe = updated(tiny_recipe, lr=1.0, lr_head=2.0, lr_end=0.5, weight_decay=0.1, weight_decay_end=0.3)
    learner = LeopartLearner(fresh(), recipe)
    names = ("backbone_decayed", "backbone_undecayed", "head_decayed", "head_undecayed")
    corners = {
        0: [(1, 0.1), (1, 0), (2, 0.1), (2, 0)],
        50: [(0.75, 0.2), (0.75, 0), (1.25, 0.2), (1.25, 0)],
        100: [(0.5, 0.3), (0.5, 0), (0.5, 0.3), (0.5, 0)],
    }
    for step, expected in corners.items():
        found = groups_at(step, recipe, learner)
        for name, pair in zip(names, expected, strict=True):
            assert found[name] == pytest.approx(pair)


def test_rates_rise_from_nothing_in_the_warm_up(fresh, tiny_recipe):
    recipe = updated(tiny_recipe, lr=1.0, lr_end=1.0, warmup=4)
    learner = LeopartLearner(fresh(), recipe)
    rates = [groups_at(step, recipe, learner)["backbone_decayed"][0] for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


@pytest.mark.parametrize("blocks", ["all", 1])
def test_the_optimiser_holds_each_parameter_that_learns_once(fresh, tiny_recipe, blocks):
    recipe = updated(tiny_recipe, train_blocks=blocks)
    student = LeopartLearner(fresh(), recipe).networks.student
    optimizer = build_optimizer(student)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    learning = [parameter for parameter in student.parameters() if parameter.requires_grad]
    assert len(held) == len({id(p) for p in held}) == len(learning)
    assert {id(p) for p in held} == {id(p) for p in learning}
    sizes = {group["name"]: len(group["params"]) for group in optimizer.param_groups}
    # A block has 4 matrices and 8 vectors; the embedding a kernel, its bias, the CLS token and the positions.
    embedding = (3, 1) if blocks == "all" else (0, 0)
    count = 2 if blocks == "all" else 1
    assert sizes == {
        "backbone_decayed": 4 * count + embedding[0],
        "backbone_undecayed": 8 * count + embedding[1],
        "head_decayed": 4,
        "head_undecayed": 3,
    }


def test_weight_decay_is_decoupled_from_the_gradient(fresh, tiny_recipe):
    optimizer = build_optimizer(LeopartLearner(fresh(), tiny_recipe).networks.student)
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.9, 0.999), 1e-8)

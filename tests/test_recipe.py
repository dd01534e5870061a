"""What a recipe takes and refuses."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from dataclasses import fields
from itertools import pairwise

import pytest

from leopart.config import TrainConfig
from leopart.errors import LeopartError
from leopart.recipe import Recipe, learning_options, recipe_of, renamed
from leopart.settings import flat, updated
from leopart.training.methods.learner import Learner
from leopart.training.methods.registry import METHODS


def test_the_defaults_are_fine_and_those_of_the_paper():
    recipe = Recipe()
    recipe.check()
    paper = {
        "global_crops": 2,
        "local_crops": 4,
        "global_size": 224,
        "local_size": 96,
        "global_scale": (0.25, 1),
        "local_scale": (0.05, 0.25),
        "min_overlap": 0.01,
        "head_hidden": 2048,
        "head_out": 256,
        "head_layers": 3,
        "prototypes": 300,
        "temperature": 0.1,
        "epsilon": 0.05,
        "sinkhorn_iterations": 3,
        "roi_bins": 7,
        "queue": 8192,
        "attention_kept": 0.6,
        "drop_path": 0.1,
        "seed": 400,
        "momentum": 0.9995,
        "momentum_end": 1,
        "lr": 1e-5,
        "lr_head": 1e-4,
        "lr_end": 0,
        "warmup": 0,
        "clip": None,
        "weight_decay": 0.04,
        "weight_decay_end": 0.5,
        "batch_size": 64,
        "epochs": 50,
        "steps": None,
        "loss_mask": "fg",
        "reference": "paper",
    }
    assert {name: flat(recipe)[name] for name in paper} == paper


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "--batch-size must be at least 1, got 0"),
        ({"epochs": 0}, "--epochs must be at least 1, got 0"),
        ({"steps": 0}, "--steps must be at least 1, got 0"),
        ({"global_crops": 0}, "--global-crops must be at least 1, got 0"),
        ({"local_crops": -1}, "--local-crops must be at least 0, got -1"),
        ({"queue": -1}, "--queue must be at least 0, got -1"),
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"prototypes": 1}, "--prototypes must be at least 2, got 1"),
        ({"lr": -1e-5}, "--lr must be at least 0, got -1e-05"),
        ({"clip": 0.0}, "--clip must be above 0, got 0"),
        ({"drop_path": 1.0}, "--drop-path must be at least 0 and below 1, got 1"),
        ({"min_overlap": 1.0}, "--min-overlap must be at least 0 and below 1, got 1"),
        ({"momentum": 1.1}, "--momentum must be from 0 to 1, got 1.1"),
        ({"temperature": 0.0}, "--temperature must be above 0, got 0"),
        ({"epsilon": float("nan")}, "--epsilon must be above 0, got nan"),
        ({"attention_kept": 1.5}, "--attention-kept must be above 0 and at most 1, got 1.5"),
        ({"train_blocks": 0}, "--train-blocks must be all or at least 1, got 0"),
        (
            {"local_scale": (0.5, 0.2)},
            "--local-scale must be two shares from above 0 to 1, the smaller first, got (0.5, 0.2)",
        ),
        (
            {"global_crops": 1, "local_crops": 0},
            "one crop has no other to agree with: raise --global-crops or --local-crops",
        ),
        (
            {"head_init": "clusters"},
            "--head-init clusters sets one linear layer: give --head-layers 1 with it",
        ),
        ({"contrast_dense": 1.1}, "--contrast-dense must be from 0 to 1, got 1.1"),
        ({"contrast_temperature": 0.0}, "--contrast-temperature must be above 0, got 0"),
        ({"contrast_queue": 0}, "--contrast-queue must be at least 1, got 0"),
        ({"contrast_grid": 0}, "--contrast-grid must be at least 1, got 0"),
        ({"method": "swav"}, "there is no --method 'swav'; there is: leopart, densecl, hybrid, paka, neco"),
        (
            {"batch_size": 10, "accumulate": 4},
            "--batch-size 10 does not divide into --accumulate 4 parts: choose numbers that do",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(LeopartError) as caught:
        updated(Recipe(), **changes).check()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.0, "momentum_end": 0.0},
        {"queue": 0, "local_crops": 0, "warmup": 0, "head_layers": 1, "drop_path": 0.0, "clip": 1.0},
        {"head_layers": 0, "head_init": "clusters"},
        {"global_crops": 1, "local_crops": 1},
        {"method": "densecl", "contrast_dense": 0.0, "contrast_queue": 1},
        {"method": "densecl", "head_init": "clusters"},
        {"attention_kept": 1.0, "global_scale": (1.0, 1.0)},
    ],
)
def test_corners_are_fine(changes):
    updated(Recipe(), **changes).check()


def test_the_recipe_of_a_configuration_is_its_part_of_it():
    config = TrainConfig(preset="dev", data="folder:x", out="y", lr=0.5)  # type: ignore[arg-type]
    assert recipe_of(config) == Recipe(lr=0.5)


@pytest.mark.parametrize("settings", [Recipe, *(type(getattr(Recipe(), method)) for method in METHODS)])
def test_every_field_is_explained(settings):
    tree = ast.parse(inspect.getsource(settings))
    body = tree.body[0].body
    explained = {
        line.target.id
        for line, after in pairwise(body)
        if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr)
    }
    methods = set(METHODS) if settings is Recipe else set()  # explained in `Methods`
    assert explained == {field.name for field in fields(settings)} - methods


# --- methods --------------------------------------------------------------------------------------------


def test_options_of_all_methods_have_names_of_their_own():
    """Command lines and files are flat."""
    names = [field.name for field in fields(Recipe) if field.name not in METHODS]
    names += [name for method in METHODS for name in flat(getattr(Recipe(), method))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_learner_and_decides_about_crops(method):
    recipe = Recipe(method=method)
    recipe.check()
    assert recipe.settings is getattr(recipe, method)
    assert issubclass(pkgutil.resolve_name(recipe.settings.LEARNER), Learner)
    assert sum(recipe.crops) >= 2


def test_what_is_learned_depends_on_the_options_of_one_method():
    options = learning_options(updated(Recipe(), method="densecl", contrast_queue=7, prototypes=9))
    assert options["contrast_queue"] == 7
    assert options["method"] == "densecl"
    assert "prototypes" not in options
    assert {"prototypes", "lr"} <= learning_options(Recipe()).keys()


# --- options of version 0.1 -----------------------------------------------------------------------------

PAPER = {"queue_scores": "teacher", "teacher_init": "student", "ema_order": "after", "optimiser": "adamw"}
CODE = {"queue_scores": "student", "teacher_init": "independent", "ema_order": "before", "optimiser": "adamw"}


@pytest.mark.parametrize(
    ("before", "today"),
    [
        ({}, {}),
        ({"lr": 1, "objective": "densecl"}, {"lr": 1, "method": "densecl"}),
        (PAPER, {"reference": "paper"}),
        ({"ema_order": "after"}, {"reference": "paper"}),
        (CODE | {"seed": 3}, {"reference": "code", "seed": 3}),
        ({"lr": 1, "reference": "code"}, {"lr": 1, "reference": "code"}),
    ],
)
def test_options_of_version_0_1_have_names_of_today(before, today):
    assert renamed(before) == today


@pytest.mark.parametrize(
    "changes", [{"ema_order": "before"}, {"optimiser": "adam"}, CODE | {"optimiser": "adam"}]
)
def test_what_was_neither_the_paper_s_nor_the_code_s_way_is_refused(changes):
    with pytest.raises(LeopartError, match="cannot be mixed any more; give --reference paper or") as caught:
        renamed(PAPER | changes)
    assert all(f"{name.replace('_', '-')} {value}" in str(caught.value) for name, value in changes.items())

"""What a recipe takes and refuses."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, replace
from itertools import pairwise

import pytest

from leopart.config import TrainConfig
from leopart.errors import LeopartError
from leopart.recipe import Recipe, recipe_of

CROPS = "--global-crops 2 --local-crops 0"


def test_the_defaults_are_fine_and_those_of_the_paper():
    recipe = Recipe()
    recipe.check()
    assert (recipe.global_crops, recipe.local_crops, recipe.global_size, recipe.local_size) == (2, 4, 224, 96)
    assert (recipe.global_scale, recipe.local_scale, recipe.min_overlap) == ((0.25, 1), (0.05, 0.25), 0.01)
    assert (recipe.head_hidden, recipe.head_out, recipe.head_layers, recipe.prototypes) == (2048, 256, 3, 300)
    assert (recipe.temperature, recipe.epsilon, recipe.sinkhorn_iterations, recipe.roi_bins) == (
        0.1,
        0.05,
        3,
        7,
    )
    assert (recipe.queue, recipe.attention_kept, recipe.drop_path, recipe.seed) == (8192, 0.6, 0.1, 400)
    assert (recipe.momentum, recipe.momentum_end) == (0.9995, 1)
    assert (recipe.lr, recipe.lr_head, recipe.lr_end, recipe.warmup, recipe.clip) == (1e-5, 1e-4, 0, 0, None)
    assert (recipe.weight_decay, recipe.weight_decay_end, recipe.optimiser) == (0.04, 0.5, "adamw")
    assert (recipe.batch_size, recipe.epochs, recipe.steps, recipe.loss_mask) == (64, 50, None, "fg")


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
        ({"clip": 0.0}, "--clip must be above 0, got 0.0"),
        ({"drop_path": 1.0}, "--drop-path must be from 0 to below 1, got 1.0"),
        ({"min_overlap": 1.0}, "--min-overlap must be from 0 to below 1, got 1.0"),
        ({"momentum": 1.1}, "--momentum must be from 0 to 1, got 1.1"),
        ({"temperature": 0.0}, "--temperature must be above 0, got 0.0"),
        ({"epsilon": float("nan")}, "--epsilon must be above 0, got nan"),
        ({"attention_kept": 1.5}, "--attention-kept must be above 0 and at most 1, got 1.5"),
        ({"train_blocks": 0}, "--train-blocks must be all or at least 1, got 0"),
        (
            {"local_scale": (0.5, 0.2)},
            "--local-scale must be two shares from above 0 to 1, the smaller first, got (0.5, 0.2)",
        ),
        (
            {"global_crops": 1, "local_crops": 0},
            "one crop has nothing to agree with: raise --global-crops or --local-crops",
        ),
        (
            {"head_init": "clusters"},
            "--head-init clusters sets one linear layer: give --head-layers 1 with it",
        ),
        ({"contrast_dense": 1.1}, "--contrast-dense must be from 0 to 1, got 1.1"),
        ({"contrast_temperature": 0.0}, "--contrast-temperature must be above 0, got 0.0"),
        ({"contrast_queue": 0}, "--contrast-queue must be at least 1, got 0"),
        ({"contrast_grid": 0}, "--contrast-grid must be at least 1, got 0"),
        (
            {"objective": "densecl"},
            f"--objective densecl compares two large crops, not 2 and 4 small: give {CROPS}",
        ),
        (
            {"objective": "densecl", "global_crops": 3, "local_crops": 0},
            f"--objective densecl compares two large crops, not 3 and 0 small: give {CROPS}",
        ),
        (
            {"objective": "densecl", "local_crops": 0, "head_init": "clusters", "head_layers": 1},
            "--objective densecl has no clusters to start from: give --head-init random",
        ),
        (
            {"batch_size": 10, "accumulate": 4},
            "--batch-size 10 does not divide into --accumulate 4 parts: choose numbers that do",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(LeopartError) as caught:
        replace(Recipe(), **changes).check()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.0, "momentum_end": 0.0},
        {"queue": 0, "local_crops": 0, "warmup": 0, "head_layers": 1, "drop_path": 0.0, "clip": 1.0},
        {"head_layers": 0, "head_init": "clusters"},
        {"global_crops": 1, "local_crops": 1},
        {"objective": "densecl", "local_crops": 0, "contrast_dense": 0.0, "contrast_queue": 1},
        {"attention_kept": 1.0, "global_scale": (1.0, 1.0)},
    ],
)
def test_corners_are_fine(changes):
    replace(Recipe(), **changes).check()


def test_the_recipe_of_a_configuration_is_its_part_of_it():
    config = TrainConfig(preset="dev", data="folder:x", out="y", lr=0.5)  # type: ignore[arg-type]
    assert Recipe(**recipe_of(config)) == Recipe(lr=0.5)


def test_every_field_is_explained():
    tree = ast.parse(inspect.getsource(Recipe))
    body = tree.body[0].body
    explained = {
        line.target.id
        for line, after in pairwise(body)
        if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr)
    }
    assert explained == {field.name for field in fields(Recipe)}

"""The named settings: the paper's rows with the paper's values, ours sane."""

from __future__ import annotations

from dataclasses import fields

import pytest

from leopart.errors import LeopartError
from leopart.models.weights.registry import BACKBONES
from leopart.presets import PRESETS, adaptation, preset
from leopart.recipe import Recipe
from leopart.settings import updated
from leopart.training.methods.densecl.settings import DenseCLSettings
from leopart.training.methods.registry import METHODS

PAPER = {
    "in100k": {},
    "coco": {},
    "voc": {"epochs": 500},
    "in-scratch": {"backbone": "random_vits16", "loss_mask": "all", "epochs": 400},
    "coco-vitb16": {"backbone": "dino_vitb16"},
    "coco-vitb8": {"backbone": "dino_vitb8", "epochs": 100, "batch_size": 32, "lr": 5e-6, "lr_head": 5e-5},
    "coco-vitb8-reference": {
        "backbone": "dino_vitb8",
        "epochs": 50,
        "batch_size": 32,
        "lr": 5e-6,
        "lr_head": 5e-5,
    },
    "coco-mae-base": {"backbone": "mae_vitb16"},
    "coco-mae-large": {"backbone": "mae_vitl16"},
    "coco-mocov3": {"backbone": "mocov3_vits16"},
    "coco-supvit": {"backbone": "supervised_vits16"},
    "coco-densecl": {"method": "densecl", "momentum": 0.999, "momentum_end": 0.999},
    "ablate-protos-100": {"prototypes": 100},
    "ablate-protos-500": {"prototypes": 500},
    "ablate-queue": {"queue": 0},
    "ablate-crops-2": {"local_crops": 0},
    "ablate-crops-22": {"local_crops": 2},
    "ablate-teacher": {"use_teacher": False},
    "ablate-fg-all": {"loss_mask": "all"},
    "ablate-fg-bg": {"loss_mask": "bg"},
    "dev": {"epochs": 2, "batch_size": 16, "queue": 128, "loss_mask": "all", "weight_decay_end": 0.4},
}
"""What each configuration of the authors has other than the base."""
DATA = ("imagenet100:", "imagenet:", "coco:", "voc:", "folder:", "Any data", "on COCO")


@pytest.mark.parametrize("name", PAPER)
def test_a_row_of_the_paper_has_its_values_and_the_base_s(name):
    assert preset(name) == updated(Recipe(), **PAPER[name])


def test_there_are_settings_for_smaller_machines_too():
    assert set(PRESETS) - set(PAPER) >= {"quick", "single-gpu"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_sense_and_says_what_for(name):
    recipe = preset(name)
    recipe.check()
    assert recipe.backbone in BACKBONES
    text = PRESETS[name].about
    like_another = any(f"`{other}`" in text for other in PRESETS)
    assert like_another or any(word in text for word in DATA), text
    patch = BACKBONES[recipe.backbone].patch_size
    assert not BACKBONES[recipe.backbone].convolutional
    assert recipe.global_size % patch == recipe.local_size % patch == 0


@pytest.mark.parametrize("name", ["ablate_protos_100", "train_in100k", "train-coco", "single_gpu"])
def test_underscores_and_the_authors_prefix_are_understood(name):
    assert preset(name) == PRESETS[name.replace("_", "-").removeprefix("train-")].recipe


def test_an_unknown_preset_is_refused_with_the_nearest_or_all():
    with pytest.raises(LeopartError, match=r"^there is no preset 'in10k'; did you mean in100k\?$"):
        preset("in10k")
    with pytest.raises(LeopartError) as caught:
        preset("???")
    assert str(caught.value) == f"there is no preset '???'; known: {', '.join(PRESETS)}"


def test_the_comparison_with_densecl_has_the_numbers_that_densecl_published():
    recipe = preset("coco-densecl")
    queue, temperature, dense, out, grid = 65536, 0.2, 0.5, 128, 7
    assert recipe.settings == DenseCLSettings(
        contrast_dense=dense,
        contrast_temperature=temperature,
        contrast_queue=queue,
        contrast_out=out,
        contrast_grid=grid,
    )
    assert recipe.head_hidden == 2048


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_can_be_switched_to_every_method(name, method):
    updated(preset(name), method=method).check()


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("patch", [8, 14, 16])
@pytest.mark.parametrize("photos", [1, 7, 300, 100_000])
def test_an_adaptation_fits_photos_patch_and_machine(photos, device, patch):
    recipe = adaptation(photos, device, patch)
    recipe.check()
    assert recipe.global_size % patch == recipe.local_size % patch == 0
    assert recipe.steps >= 1
    assert {field.name for field in fields(recipe)} == {field.name for field in fields(Recipe)}

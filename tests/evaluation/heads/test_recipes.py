"""Against the settings of the FCN head in the authors' code, written here row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leopart.errors import LeopartError
from leopart.evaluation.heads.recipes import HEAD_RECIPES, HeadRecipe, head_recipe

TABLE = {
    # names: lr, epochs, drop, photos of a step
    ("voc", "voc-dino", "voc-dino-densecl", "voc-leopart-vits16", "voc-supvit"): (0.01, 25, 20, 120),
    ("voc-densecl", "voc-maskcontrast", "voc-moco", "voc-mae", "voc-supvit-leopart"): (0.1, 25, 20, 120),
    ("voc-mae-leopart",): (0.1, 25, 20, 60),
    ("voc-mocov3", "voc-mocov3-leopart"): (1.0, 25, 20, 120),
    ("voc-resnet",): (0.01, 30, 20, 120),
    ("voc-leopart-vitb8",): (0.1, 25, 20, 12),
    ("coco-densecl", "coco-maskcontrast", "coco-moco"): (0.1, 25, 20, 120),
    ("coco", "coco-dino", "coco-leopart", "coco-supvit", "coco-resnet", "coco-swav"): (0.01, 25, 20, 120),
    ("fcn-voc", "fcn-voc-dino", "fcn-voc-leopart-vits16"): (0.01, 30, 15, 64),
    ("fcn-voc-leopart-vitb8",): (0.1, 30, 15, 12),
    ("fcn-voc-reference", "fcn-voc-leopart-vits16-reference"): (0.01, 30, 20, 64),
    ("fcn-voc-dino-reference",): (0.01, 10, 20, 64),
    ("fcn-voc-leopart-vitb8-reference",): (0.1, 30, 20, 12),
}
PLAIN = HeadRecipe(lr=0.01, epochs=3, drop_at=2, batch_size=4)


@pytest.mark.parametrize(
    ("name", "row"), [(name, row) for names, row in TABLE.items() for name in names], ids=str
)
def test_the_paper_s_rows_are_as_published(name: str, row: tuple[float, int, int, int]):
    recipe = HEAD_RECIPES[name]
    assert (recipe.lr, recipe.epochs, recipe.drop_at, recipe.batch_size) == row
    assert (recipe.momentum, recipe.weight_decay, recipe.drop_factor) == (0.9, 1e-4, 0.1)
    assert (recipe.train_size, recipe.width, recipe.seed, recipe.augment) == (100, 512, 400, True)
    assert recipe.kind == ("fcn" if name.startswith("fcn-") else "linear")
    assert recipe.eval_grid == ("reference" if name.endswith("-reference") else 100)
    assert recipe.select == 8 * recipe.batch_size  # eight batches of the validation photos
    assert recipe.about


def test_every_row_is_in_the_table_or_ours():
    assert HEAD_RECIPES.keys() == {name for names in TABLE for name in names} | {"small", "fcn-small"}
    assert not any(HEAD_RECIPES[name].augment or HEAD_RECIPES[name].select for name in ("small", "fcn-small"))


def test_the_rate_drops_after_the_epochs_it_should():
    assert [PLAIN.rate(epoch) for epoch in range(4)] == pytest.approx([0.01, 0.01, 0.001, 0.001])
    dino = HEAD_RECIPES["fcn-voc-dino-reference"]
    assert {dino.rate(epoch) for epoch in range(dino.epochs)} == {0.01}


def test_names_of_an_fcn_may_leave_out_its_kind():
    assert head_recipe("voc_dino") is HEAD_RECIPES["voc-dino"]
    assert (
        head_recipe("voc-dino", "fcn") is head_recipe("fcn-voc-dino", "fcn") is HEAD_RECIPES["fcn-voc-dino"]
    )


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("voc-mocov4", "linear", "'voc-mocov4' for a head of kind linear; did you mean voc-mocov3"),
        ("fcn-smal", "fcn", "'fcn-smal' for a head of kind fcn; did you mean small"),
        ("voc-leopart-vits16-reference", "linear", "did you mean voc-leopart-vits16"),
        ("zebra", "fcn", "known: .*voc-dino.*small|known: .*small.*voc-dino"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, kind, complaint: str):
    with pytest.raises(LeopartError, match=complaint):
        head_recipe(name, kind)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"train_size": 0}, "train_size must be at least 1"),
        ({"eval_grid": 0}, "eval_grid must be reference or at least 1"),
        ({"drop_at": -1}, "drop_at must be at least 0"),
        ({"select": -1}, "select must be at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay must be at least 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"lr": float("inf")}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, complaint: str):
    with pytest.raises(LeopartError, match=complaint):
        replace(PLAIN, **changes)

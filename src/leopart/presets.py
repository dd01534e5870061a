"""Named training settings: every row of the paper, and ours for smaller machines and newer backbones.

Numbers of the paper are mIoU on PASCAL VOC val in percent, from its supplement; LC is a linear classifier,
K=500 overclustering. The paper's rows need its data sets and a GPU for days; we have not run them again.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from leopart.errors import LeopartError
from leopart.recipe import Recipe
from leopart.settings import updated


@dataclass(frozen=True)
class Preset:
    """A recipe, and a text that says for what, with which data, at what cost, and what to expect."""

    about: str
    recipe: Recipe


def _base(about: str, **changes: Any) -> Preset:
    """The paper's base with some other options."""
    return Preset(about, updated(Recipe(), **changes))


_IN100 = "Data: `imagenet100:PATH`."
_COCO = "Data: `coco:PATH`."
_NOT_PUBLISHED = "Expected: not published."
_QUICK = updated(
    Recipe(),
    backbone="imgfocus_vits14",
    train_blocks=3,
    local_crops=2,
    local_size=98,
    prototypes=100,
    head_layers=1,
    head_init="clusters",
    queue=4096,
    contrast_queue=256,
    momentum=0.99,
    lr=1e-4,
    lr_head=1e-3,
    weight_decay_end=0.4,
    drop_path=0.0,
    batch_size=8,
    epochs=4,
    precision="fastest",
    seed=0,
)
_SINGLE_GPU = updated(
    _QUICK,
    train_blocks="all",
    local_crops=4,
    prototypes=200,
    batch_size=64,
    epochs=20,
    lr=5e-5,
    queue=8192,
    contrast_queue=1024,
)
_VITB8: dict[str, Any] = {"backbone": "dino_vitb8", "batch_size": 32, "lr": 5e-6, "lr_head": 5e-5}

PRESETS = {
    "in100k": _base(
        "Paper's base: ViT-S/16 from DINO on 100 classes of ImageNet, 50 epochs. Data: `imagenet100:PATH`, "
        "126,689 photos without labels. Cost: 99,000 steps of 64 photos. Expected: LC 67.8, K=100/300/500 "
        "38.2/47.2/50.7 (supplement, table 4)."
    ),
    "coco": _base(
        'The base on COCO train2017 ("CC"). Data: `coco:PATH`, 118,287 photos. Cost: 92,000 steps of 64 '
        "photos. Expected: LC 69.3, K=500 53.5 (authors' README)."
    ),
    "voc": _base(
        "The base on PASCAL VOC trainaug, 500 epochs. Data: `voc:PATH`, 10,582 photos. Cost: 82,500 steps "
        f"of 64 photos. {_NOT_PUBLISHED}",
        epochs=500,
    ),
    "in-scratch": _base(
        "From random weights on all of ImageNet, without a foreground mask, 400 epochs. Data: "
        f"`imagenet:PATH`, 1,281,167 photos. Cost: 8 million steps of 64 photos. {_NOT_PUBLISHED}",
        backbone="random_vits16",
        loss_mask="all",
        epochs=400,
    ),
    "coco-vitb16": _base(
        f"ViT-B/16 from DINO on COCO. {_COCO} Cost: 92,000 steps. {_NOT_PUBLISHED}", backbone="dino_vitb16"
    ),
    "coco-vitb8": _base(
        f"ViT-B/8 from DINO on COCO, 100 epochs, batch 32, half the learning rates. {_COCO} Cost: 370,000 "
        "steps of 32 photos at 3,136 tokens. Expected: K=500 59.7, FCN 76.3.",
        epochs=100,
        **_VITB8,
    ),
    "coco-vitb8-reference": _base(
        f"`coco-vitb8` with the 50 epochs of the authors' file; the supplement says 100. {_COCO}", **_VITB8
    ),
    "coco-mae-base": _base(
        f"ViT-B/16 from MAE on COCO. {_COCO} Expected: LC 47.5 -> 68.9, K=500 10.0 -> 38.4 (table 3).",
        backbone="mae_vitb16",
    ),
    "coco-mae-large": _base(f"ViT-L/16 from MAE on COCO. {_COCO} {_NOT_PUBLISHED}", backbone="mae_vitl16"),
    "coco-mocov3": _base(
        f"ViT-S/16 from MoCo-v3 on COCO. {_COCO} Expected: LC 13.4 -> 42.0, K=500 5.8 -> 31.2 (table 3). "
        "The authors built it with 6 heads where the weights have 12; the backbone here has 12.",
        backbone="mocov3_vits16",
    ),
    "coco-supvit": _base(
        f"ViT-S/16 trained on labels of ImageNet, on COCO. {_COCO} Expected: LC 68.1 -> 72.5, K=500 55.1 -> "
        "61.6 (table 3).",
        backbone="supervised_vits16",
    ),
    "coco-densecl": _base(
        "The paper's comparison with DenseCL: its loss in place of Leopart's, from the same start. The "
        "teacher's momentum is DenseCL's constant 0.999; views, optimiser and schedules are the base's. "
        "Data: `coco:PATH`. Cost: 92,000 steps of 64 photos. Expected: LC 54, K=500 17.1 (supplement, "
        "A.2).",
        method="densecl",
        momentum=0.999,
        momentum_end=0.999,
    ),
    "ablate-protos-100": _base(
        f"Base with 100 prototypes. {_IN100} Expected: paper, table 1.", prototypes=100
    ),
    "ablate-protos-500": _base(
        f"Base with 500 prototypes. {_IN100} Expected: paper, table 1.", prototypes=500
    ),
    "ablate-queue": _base(
        f"Base without a queue. {_IN100} Expected: LC 67.2, K=100/300/500 35.0/45.7/48.1 (table 4).", queue=0
    ),
    "ablate-crops-2": _base(
        f"Base with two large crops only. {_IN100} Expected: paper, table 1.", local_crops=0
    ),
    "ablate-crops-22": _base(
        f"Base with two large and two small crops. {_IN100} Expected: paper, table 1.", local_crops=2
    ),
    "ablate-teacher": _base(
        f"Base without a teacher: the student gives its own targets. {_IN100}", use_teacher=False
    ),
    "ablate-fg-all": _base(
        f"Base with the loss on all cells. {_IN100} Expected: paper, table 1.", loss_mask="all"
    ),
    "ablate-fg-bg": _base(
        f"Base with the loss on the background only. {_IN100} Expected: paper, table 1.", loss_mask="bg"
    ),
    "dev": _base(
        "The authors' smoke run: 2 epochs, batch 16, queue 128, no mask. Any data.",
        epochs=2,
        batch_size=16,
        queue=128,
        loss_mask="all",
        weight_decay_end=0.4,
    ),
    "quick": Preset(
        "Some hundreds of photos of your own, minutes on a laptop: last three blocks, two small crops, "
        "batch 8. The paper's rates and its slow teacher need tens of thousands of steps. Here a step may "
        "do ten times as much (rate 1e-4, teacher 0.99), and the head starts from the photos' own clusters "
        "instead of random weights. Data: `folder:PHOTOS`. Cost: 4 passes; about 5 photos a second on two "
        "CPU cores with bfloat16.",
        _QUICK,
    ),
    "small-folder": Preset(
        "`quick` for as long as it helps on about a thousand photos: 15 passes. Data: `folder:PHOTOS`. "
        "Cost: about an hour for 800 photos on two CPU cores with bfloat16.",
        updated(_QUICK, epochs=15),
    ),
    "single-gpu": Preset(
        "A thousand to some ten thousand photos on one GPU: everything trained, four small crops, batch "
        "64. Data: `folder:PHOTOS`. Cost: 20 passes. Expected: not measured; the settings follow `quick` "
        "with lower rates, since all blocks move.",
        _SINGLE_GPU,
    ),
    "dinov2": _base(
        "Post-training of DINOv2 ViT-S/14 with registers on COCO, 5 epochs. Modern backbones start with "
        "good tokens, so fewer epochs at the paper's rates are enough to turn them into parts. Data: "
        "`coco:PATH`, or some 100,000 photos of your own. Cost: 9,200 steps of 64 photos. Expected: not "
        "measured.",
        backbone="dinov2_vits14_reg",
        local_size=98,
        epochs=5,
    ),
    "dinov3": _base(
        "Post-training of DINOv3 ViT-S/16 on COCO, 5 epochs; see `dinov2`. Data: `coco:PATH`, or some "
        "100,000 photos of your own. Cost: 9,200 steps of 64 photos. Expected: not measured.",
        backbone="dinov3_vits16",
        epochs=5,
    ),
}
"""Presets by the name that `leopart train` takes."""


def adaptation(photos: int, device: str, patch: int) -> Recipe:
    """Settings for a few minutes on somebody's own photos, by their number and the machine.

    On the CPU those of `quick`, on a GPU those of `single_gpu`; at most 40 passes, however long it may take.

    Args:
        photos: how many there are.
        device: `cpu`, `cuda` or `mps`.
        patch: side of the backbone's patch in pixels; crops are made to fit it.
    """
    recipe = fitting(_QUICK if device == "cpu" else _SINGLE_GPU, patch)
    batch = min(recipe.batch_size, max(1, photos))
    return updated(recipe, steps=40 * max(1, photos // batch))


def fitting(recipe: Recipe, patch: int) -> Recipe:
    """The recipe with crops of whole patches.

    Args:
        recipe: any.
        patch: side of the backbone's patch in pixels.
    """
    sizes = {
        name: max(1, round(getattr(recipe, name) / patch)) * patch for name in ("global_size", "local_size")
    }
    return updated(recipe, **sizes)


def preset(name: str) -> Recipe:
    """The settings called `name`; underscores and hyphens are the same.

    Raises:
        LeopartError: there is no such preset; the message names the nearest one.
    """
    key = name.replace("_", "-").removeprefix("train-")
    if key in PRESETS:
        return PRESETS[key].recipe
    near = difflib.get_close_matches(key, PRESETS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PRESETS)}"
    raise LeopartError(f"there is no preset {name!r}; {hint}")

"""Named settings for training a head on frozen features: those of the paper, and ours for small folders.

Where the supplement of the paper is silent, values are from the authors' configuration files. Where the two
differ, the supplement wins, and names ending in `-reference` follow the files. The paper's settings need its
data sets; we have not run them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from leopart.errors import LeopartError
from leopart.settings import check_fields

Kind = Literal["linear", "fcn"]
Count = Annotated[int, Ge(1)]
FromZero = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """All settings of the training of a head.

    Stochastic gradient descent on the cross-entropy, its mean over the labelled places of a batch.

    Raises:
        LeopartError: a value is invalid.
    """

    kind: Kind = "linear"
    """`linear`: one classifier for all tokens. `fcn`: three 3 x 3 convolutions before it."""
    lr: Annotated[float, Gt(0)]
    """Learning rate, above 0."""
    epochs: Count
    """Passes over the photos."""
    drop_at: FromZero
    """Epochs after which the rate is multiplied by `drop_factor`; `epochs` or more means never."""
    batch_size: Count
    """Photos of a step, over all processes."""
    augment: bool = True
    """Learn from random crops and flips, each of which needs a forward pass of the network; otherwise from
    features that are computed once."""
    select: FromZero = 0
    """Number of validation photos whose score chooses the epoch to keep; 0 keeps the last epoch."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    """Of the gradient, in [0, 1)."""
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    """Of weights and biases."""
    drop_factor: Annotated[float, Ge(0)] = 0.1
    """See `drop_at`."""
    train_size: Count = 100
    """Side of the square at which logits and labels meet; an FCN's convolutions run there."""
    width: Count = 512
    """Channels inside an FCN."""
    eval_grid: Count | Literal["reference"] = 100
    """Side of the grid on which the convolutions of an FCN run in scoring. `reference` = that of the labels,
    as in the authors' code; the kernels then run on a finer grid than in training."""
    seed: FromZero = 400
    """Of initial weights, order of photos, crops, flips and dropout."""
    about: str = ""
    """Use and source of the settings."""

    def __post_init__(self) -> None:
        check_fields(self, command_line=False)

    def rate(self, epoch: int) -> float:
        """Learning rate in this epoch, the first being 0."""
        return self.lr * (self.drop_factor if epoch >= self.drop_at else 1.0)


def head_recipe(name: str, kind: Kind = "linear") -> HeadRecipe:
    """The settings called `name`; underscores and hyphens are the same.

    Args:
        name: a key of `HEAD_RECIPES`; `fcn-` may be left out for an FCN.
        kind: of the head.

    Raises:
        LeopartError: there are no such settings for this kind of head.
    """
    known = {key.removeprefix("fcn-"): recipe for key, recipe in HEAD_RECIPES.items() if recipe.kind == kind}
    wanted = name.replace("_", "-").removeprefix("fcn-" if kind == "fcn" else "")
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise LeopartError(f"there are no settings {name!r} for a head of kind {kind}; {hint}")


def _linear(lr: float, about: str, **changes: Any) -> HeadRecipe:
    """25 epochs, a tenth of the rate after 20, 60 photos on each of 2 GPUs, the best epoch on 8 batches."""
    values: dict[str, Any] = {"epochs": 25, "drop_at": 20, "batch_size": 120} | changes
    return HeadRecipe(lr=lr, select=8 * values["batch_size"], about=about, **values)


def _fcn(lr: float, about: str, **changes: Any) -> HeadRecipe:
    """30 epochs, a tenth of the rate after 15 (supplement), 32 photos on each of 2 GPUs."""
    values: dict[str, Any] = {"epochs": 30, "drop_at": 15, "batch_size": 64} | changes
    return HeadRecipe(kind="fcn", lr=lr, select=8 * values["batch_size"], about=about, **values)


_FILES = "Authors' configuration file."
_SEED = "Supplement: a rate of 0.01 but for MaskContrast and MoCo-v2."
_VOC = "PASCAL VOC trainaug, 10,582 photos"
_COCO = "COCO-Stuff or COCO-Thing, a tenth of train2017, 11,829 photos"

_LINEAR_VOC = {
    "voc": _linear(0.01, f"{_VOC}, any network that has no row of its own. {_SEED}"),
    "voc-dino": _linear(0.01, f"{_VOC}, DINO. {_SEED} Expected: mIoU 50.6."),
    "voc-dino-densecl": _linear(0.01, f"{_VOC}, DINO after the DenseCL loss. {_SEED} Expected: mIoU 54."),
    "voc-leopart-vits16": _linear(
        0.01, f"{_VOC}, Leopart ViT-S/16 from ImageNet-100 or COCO. {_SEED} Expected: mIoU 67.8 and 69.3."
    ),
    "voc-supvit": _linear(0.01, f"{_VOC}, supervised ViT. {_SEED} Expected: mIoU 68.1."),
    "voc-densecl": _linear(0.1, f"{_VOC}, DenseCL. {_FILES}"),
    "voc-maskcontrast": _linear(0.1, f"{_VOC}, MaskContrast. Supplement, and authors' configuration file."),
    "voc-moco": _linear(0.1, f"{_VOC}, MoCo-v2. Supplement."),
    "voc-mae": _linear(0.1, f"{_VOC}, MAE ViT-B/16. {_FILES} Expected: mIoU 47.5."),
    "voc-mae-leopart": _linear(
        0.1, f"{_VOC}, Leopart from MAE, on one GPU. {_FILES} Expected: mIoU 68.9.", batch_size=60
    ),
    "voc-supvit-leopart": _linear(
        0.1, f"{_VOC}, Leopart from a supervised ViT. {_FILES} Expected: mIoU 72.5."
    ),
    "voc-mocov3": _linear(1.0, f"{_VOC}, MoCo-v3. {_FILES} Expected: mIoU 13.4, with 6 heads for its 12."),
    "voc-mocov3-leopart": _linear(1.0, f"{_VOC}, Leopart from MoCo-v3. {_FILES} Expected: mIoU 42.0."),
    "voc-resnet": _linear(0.01, f"{_VOC}, supervised ResNet-50. {_FILES}", epochs=30),
    "voc-leopart-vitb8": _linear(0.1, f"{_VOC}, Leopart ViT-B/8. {_FILES}", batch_size=12),
}
_LINEAR_COCO = {
    "coco": _linear(0.01, f"{_COCO}, any network that has no row of its own. {_SEED}"),
    "coco-densecl": _linear(0.1, f"{_COCO}, DenseCL. {_FILES}"),
    "coco-maskcontrast": _linear(0.1, f"{_COCO}, MaskContrast. Supplement, and authors' configuration file."),
    "coco-moco": _linear(0.1, f"{_COCO}, MoCo-v2. Supplement, and authors' configuration file."),
    "coco-dino": _linear(0.01, f"{_COCO}, DINO. {_SEED}"),
    "coco-leopart": _linear(0.01, f"{_COCO}, Leopart from ImageNet-100 or COCO. {_SEED}"),
    "coco-supvit": _linear(0.01, f"{_COCO}, supervised ViT. {_SEED}"),
    "coco-resnet": _linear(0.01, f"{_COCO}, supervised ResNet-50. {_SEED}"),
    "coco-swav": _linear(0.01, f"{_COCO}, SwAV. {_SEED}"),
}
_FCN_VOC = {
    "fcn-voc": _fcn(0.01, f"{_VOC}, any network that has no row of its own. Supplement."),
    "fcn-voc-dino": _fcn(0.01, f"{_VOC}, DINO. Supplement; the authors' file has 10 epochs without a drop."),
    "fcn-voc-leopart-vits16": _fcn(
        0.01, f"{_VOC}, Leopart ViT-S/16 from ImageNet-100 or COCO. Supplement. Expected: mIoU 71.4."
    ),
    "fcn-voc-leopart-vitb8": _fcn(
        0.1, f"{_VOC}, Leopart ViT-B/8. {_FILES} Expected: mIoU 76.3.", batch_size=12
    ),
}
_FCN_REFERENCE = {
    f"{name}-reference": replace(
        recipe,
        drop_at=20,
        epochs=10 if name == "fcn-voc-dino" else 30,
        eval_grid="reference",
        about=f"{recipe.about} Here as the authors' code and configuration files have it.",
    )
    for name, recipe in _FCN_VOC.items()
}
_OURS = {
    "small": HeadRecipe(
        lr=0.03,
        epochs=40,
        drop_at=30,
        batch_size=16,
        augment=False,
        about="Hundreds to thousands of photos of your own, features computed once. Rate and epochs were "
        "chosen on two halves of MSRC-21, by the one that was not learned from.",
    ),
    "fcn-small": HeadRecipe(
        kind="fcn",
        lr=0.01,
        epochs=15,
        drop_at=10,
        batch_size=4,
        augment=False,
        width=128,
        about="Hundreds to thousands of photos of your own, features computed once. The batch was chosen on "
        "two halves of MSRC-21, by the one that was not learned from.",
    ),
}

HEAD_RECIPES: dict[str, HeadRecipe] = {**_LINEAR_VOC, **_LINEAR_COCO, **_OURS, **_FCN_VOC, **_FCN_REFERENCE}
"""Settings by name; those of an FCN start with `fcn-`."""

_FAMILIES = {
    "leopart_vitb8": ("leopart-vitb8", "leopart"),
    "leopart": ("leopart-vits16", "leopart"),
    "mocov3": ("mocov3",),
    "moco": ("moco",),
    "mae": ("mae",),
    "densecl": ("densecl",),
    "maskcontrast": ("maskcontrast",),
    "swav": ("swav",),
    "supervised_resnet50": ("resnet",),
    "supervised": ("supvit",),
    "dino_": ("dino",),
}
"""Ends of recipe names, by a word in the name of the backbone; the first word that fits counts."""


def fitting_recipe(data: str, backbone: str, kind: Kind) -> str:
    """Name of the paper's settings for a data set and a backbone; `small` for folders.

    Args:
        data: name of the layout.
        backbone: its name in the registry.
        kind: `linear` or `fcn`.
    """
    base = {"voc": "voc", "coco-stuff": "coco", "coco-thing": "coco"}.get(data, "small")
    lead = "fcn-" if kind == "fcn" else ""
    if base == "coco" and kind == "fcn":
        base = "voc"  # the paper trains none there
    rows = next((rows for word, rows in _FAMILIES.items() if word in backbone), ())
    names = [f"{base}-{row}" for row in rows if f"{lead}{base}-{row}" in HEAD_RECIPES]
    return names[0] if names else base

"""Everything that decides what a training learns: one frozen dataclass, a docstring per field.

The defaults are the paper's base setting ("IN": 100 classes of ImageNet, ViT-S/16 from DINO). Where the
paper's supplement and the authors' code differ, the supplement wins, unless `reference` says otherwise.
`leopart.presets` holds the named settings, `leopart train --help` shows the docstrings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from leopart.errors import LeopartError
from leopart.settings import (
    Above0,
    AtLeast0,
    AtLeast1,
    NotNegative,
    PartialShare,
    Share,
    check_fields,
    flat,
    option_word,
)
from leopart.training.methods.registry import METHODS, Methods
from leopart.training.methods.settings import MethodSettings

_OptionalNumber = Annotated[Above0 | None, tyro.conf.arg(metavar="FLOAT")]
_OptionalCount = Annotated[AtLeast1 | None, tyro.conf.arg(metavar="N")]


@dataclass(frozen=True, kw_only=True)
class Recipe(Methods):
    """Settings of one training: of every method, of which `method` is used, and what methods share.

    A method of your own: a subclass with one more field, a `MethodSettings`, by whose name `method` calls it.
    """

    backbone: str = "dino_vits16"
    """Network to start from: a name from `leopart weights list`, a file, or a run folder."""
    train_blocks: AtLeast1 | Literal["all"] = "all"
    """Train only the last N blocks and the head. The earlier blocks are frozen, shared by student and
    teacher, and cost one forward pass. For small GPUs and CPUs."""
    method: Annotated[str, tyro.conf.arg(metavar="|".join(METHODS))] = "leopart"
    """What is learned; each method has a group of options of its own."""
    reference: Literal["paper", "code"] = "paper"
    """Which to follow where the paper and its authors' code differ. In the code the teacher's head starts
    with weights of its own, the teacher moves before the optimiser's step, and the student's prototypes score
    the queue."""

    global_size: AtLeast1 = 224
    """Side in pixels of a large crop, a multiple of the patch."""
    local_size: AtLeast1 = 96
    """Side in pixels of a small crop, a multiple of the patch (98 for patch 14)."""
    global_scale: tuple[float, float] = (0.25, 1.0)
    """Smallest and largest share of the photo's area that a large crop covers."""
    local_scale: tuple[float, float] = (0.05, 0.25)
    """Smallest and largest share of the photo's area that a small crop covers."""
    min_overlap: PartialShare = 0.01
    """Smallest share of the photo's area that a crop has in common with each large crop (twice as much for
    two large crops)."""
    jitter: NotNegative = 1.0
    """Strength of the colour jitter, 0 to 1 (1: brightness, contrast, saturation by 0.8, hue by 0.2)."""
    blur: NotNegative = 1.0
    """Strength of the blur (1: standard deviation from 0.1 to 2 pixels of the crop)."""
    head_hidden: AtLeast1 = 2048
    """Channels of the projection head's hidden layers."""

    anchor_gram: NotNegative = 0.0
    """Weight of an anchor to the network at the start: the squared difference of the similarities between a
    crop's tokens, as in DINOv3; 0 for none."""
    anchor_tokens: NotNegative = 0.0
    """Weight of a stronger anchor: 1 - the cosine of each token and the start's; 0 for none."""

    use_teacher: bool = True
    """Take targets from a teacher, a moving average of the student; without it, from the student itself."""
    momentum: Share = 0.9995
    """Share of the teacher that a step keeps, at the start; rises along a cosine."""
    momentum_end: Share = 1.0
    """Share of the teacher that a step keeps, at the end."""

    epochs: AtLeast1 = 50
    """Passes over the photos; --steps overrides it."""
    steps: _OptionalCount = None
    """Optimiser steps in total, in place of epochs."""
    batch_size: AtLeast1 = 64
    """Photos of one optimiser step, over all devices."""
    accumulate: AtLeast1 = 1
    """Forward passes that a step is divided into, where memory is short; each balances its own targets."""
    lr: NotNegative = 1e-5
    """Learning rate of the backbone at the start; falls along a cosine."""
    lr_head: NotNegative = 1e-4
    """Learning rate of head and prototypes at the start."""
    lr_end: NotNegative = 0.0
    """Learning rate of both at the end."""
    warmup: AtLeast0 = 0
    """Steps at the start over which both learning rates rise from 0."""
    weight_decay: NotNegative = 0.04
    """Weight decay of matrices, tokens and positions (not of biases and norms), at the start."""
    weight_decay_end: NotNegative = 0.5
    """Weight decay at the end; changes along a cosine."""
    drop_path: PartialShare = 0.1
    """Largest rate of the student's stochastic depth; rises from 0 over the blocks."""
    clip: _OptionalNumber = None
    """Largest norm of the gradient; off by default."""
    precision: Literal["auto", "fastest", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network. auto takes bf16 on CUDA and fp32 on the CPU; fastest takes the fastest
    format on the CPU too."""
    seed: AtLeast0 = 400
    """Seed of every random choice: the same seed on the same machine gives the same weights."""

    @classmethod
    def recipe_class(cls) -> type[Recipe]:
        """The class of the recipe alone, also of a configuration that holds more."""
        return Recipe

    @property
    def settings(self) -> MethodSettings:
        """Settings of the method that is used."""
        settings: MethodSettings = getattr(self, self.method)
        return settings

    @property
    def methods(self) -> tuple[str, ...]:
        """The method that is used, and those it is made of, whose options count too."""
        return (self.method, *self.settings.PARTS)

    @property
    def crops(self) -> tuple[int, int]:
        """Number of large and of small crops of each photo: the method's, or those of its first part."""
        settings: MethodSettings = getattr(self, (self.settings.PARTS or self.methods)[0])
        return settings.crops

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        if not isinstance(getattr(self, self.method, None), MethodSettings):
            raise LeopartError(f"there is no --method {self.method!r}; there is: {', '.join(METHODS)}")
        check_fields(self)
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                wanted = "two shares from above 0 to 1, the smaller first"
                raise LeopartError(f"{option_word(name)} must be {wanted}, got {(low, high)}")
        for method in self.methods:
            getattr(self, method).check()
        if self.batch_size % self.accumulate:
            message = (
                f"--batch-size {self.batch_size} does not divide into --accumulate {self.accumulate} parts: "
                "choose numbers that do"
            )
            raise LeopartError(message)


def recipe_of(config: Recipe) -> Recipe:
    """The recipe alone, of a configuration that holds more."""
    kind = config.recipe_class()
    return kind(**{field.name: getattr(config, field.name) for field in fields(kind)})


def learning_options(recipe: Recipe) -> dict[str, Any]:
    """The options that decide what is learned, flat: those of other methods are left out."""
    unused = [method for method in METHODS if method not in recipe.methods]
    others = {name for method in unused for name in flat(getattr(recipe, method))}
    return {name: value for name, value in flat(recipe_of(recipe)).items() if name not in others}


#: Options of version 0.1 that are one choice now: what they are called in the paper's way and in the code's.
_REFERENCE = {
    "queue_scores": ("teacher", "student"),
    "teacher_init": ("student", "independent"),
    "ema_order": ("after", "before"),
    "optimiser": ("adamw", "adamw"),
}
EARLIER = ("objective", *_REFERENCE)
"""Options that version 0.1 had, and that are called something else now."""


def renamed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as version 0.1 wrote them, under today's names.

    Raises:
        LeopartError: some follow the paper and others the authors' code, or Adam was asked for.
    """
    today = {name: value for name, value in options.items() if name not in EARLIER}
    if "objective" in options:
        today["method"] = options["objective"]
    asked = {name: options[name] for name in _REFERENCE if name in options}
    if not asked:
        return today
    for way, reference in enumerate(("paper", "code")):
        if all(asked.get(name, ways[0]) == ways[way] for name, ways in _REFERENCE.items()):
            return today | {"reference": reference}
    given = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in asked.items())
    message = f"{given}: these options cannot be mixed any more"
    raise LeopartError(f"{message}; give --reference paper or --reference code, or use version 0.1")

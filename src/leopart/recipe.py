"""Everything that decides what a training learns: one frozen dataclass, a docstring per field, checked here.

The defaults are the paper's base setting ("IN": 100 classes of ImageNet, ViT-S/16 from DINO). Where the
paper's supplement and the authors' code differ, the supplement wins; the fields that bring the code's way
back say so. `leopart.presets` holds the named settings, `leopart train --help` shows the docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from leopart.errors import LeopartError

OptionalNumber = Annotated[float | None, tyro.conf.arg(metavar="FLOAT")]
OptionalCount = Annotated[int | None, tyro.conf.arg(metavar="N")]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training."""

    backbone: str = "dino_vits16"
    """Network to start from: a name from `leopart weights list`, a file, or a run folder."""
    train_blocks: int | Literal["all"] = "all"
    """Train only the last N blocks (and the head); the earlier ones stay as they are, are shared by student
    and teacher, and cost one forward pass. For small GPUs and CPUs."""
    objective: Literal["leopart", "densecl"] = "leopart"
    """What is learned: Leopart's dense clustering, or DenseCL's contrast of two large crops, the paper's
    baseline (the options --contrast-...; no small crops, prototypes or mask)."""

    global_crops: int = 2
    """Large crops of each photo; the teacher sees these alone."""
    local_crops: int = 4
    """Small crops of each photo; the student sees both kinds."""
    global_size: int = 224
    """Side in pixels of a large crop, a multiple of the patch."""
    local_size: int = 96
    """Side in pixels of a small crop, a multiple of the patch (98 for patch 14)."""
    global_scale: tuple[float, float] = (0.25, 1.0)
    """Smallest and largest share of the photo's area that a large crop covers."""
    local_scale: tuple[float, float] = (0.05, 0.25)
    """The same for small crops."""
    min_overlap: float = 0.01
    """Least share of the photo's area that a crop shares with each large crop (two large ones: twice)."""
    jitter: float = 1.0
    """Strength of the colour jitter, 0 to 1 (1: brightness, contrast, saturation by 0.8, hue by 0.2)."""
    blur: float = 1.0
    """Strength of the blur (1: deviation from 0.1 to 2 pixels of the crop)."""

    prototypes: int = 300
    """Number K of prototypes."""
    head_hidden: int = 2048
    """Channels of the projection head's hidden layers."""
    head_out: int = 256
    """Channels of the space in which tokens and prototypes are compared."""
    head_layers: int = 3
    """Linear layers of the projection head; 1 is a plain projection."""
    head_init: Literal["random", "clusters"] = "random"
    """Start of the head: random as in the paper, or principal components and clusters of the photos' tokens,
    for short trainings; clusters needs --head-layers 1."""
    temperature: float = 0.1
    """Of the student's softmax over prototypes."""
    epsilon: float = 0.05
    """Of the Sinkhorn-Knopp iteration; smaller gives harder targets."""
    sinkhorn_iterations: int = 3
    """Rounds of the Sinkhorn-Knopp iteration."""
    queue: int = 8192
    """Earlier teacher embeddings, for each large crop, that take part in balancing targets; 0 for none."""
    queue_scores: Literal["teacher", "student"] = "teacher"
    """Whose prototypes score the queue; the authors' code takes the student's."""
    loss_mask: Literal["fg", "bg", "all"] = "fg"
    """Cells that count: where the teacher's attention lies (fg), elsewhere (bg), or all."""
    attention_kept: float = 0.6
    """Share of the attention's mass that makes the foreground."""
    roi_bins: int = 7
    """Cells along a side of the grid on which two crops are compared."""

    contrast_dense: float = 0.5
    """Weight of DenseCL's dense term, 0 to 1; the term of whole crops has the rest."""
    contrast_temperature: float = 0.2
    """Of DenseCL's softmax over one positive and the queue."""
    contrast_queue: int = 65536
    """Earlier crops whose keys are DenseCL's negatives. With more than a pass over the photos has, a photo is
    told from itself."""
    contrast_out: int = 128
    """Channels of the space in which DenseCL compares."""
    contrast_grid: int = 7
    """Cells along a side of a crop, at most, that DenseCL compares; tokens are averaged to them."""

    use_teacher: bool = True
    """Take targets from a moving average of the student; else from the student itself."""
    teacher_init: Literal["student", "independent"] = "student"
    """Start of the teacher's head: a copy of the student's, or drawn by itself as in the authors' code."""
    momentum: float = 0.9995
    """Share of the teacher that a step keeps, at the start; rises along a cosine."""
    momentum_end: float = 1.0
    """The same at the end."""
    ema_order: Literal["after", "before"] = "after"
    """Move the teacher after the optimiser's step, or before it as in the authors' code."""

    epochs: int = 50
    """Passes over the photos; `--steps` overrides it."""
    steps: OptionalCount = None
    """Optimiser steps in all, in place of epochs."""
    batch_size: int = 64
    """Photos of one optimiser step, over all devices."""
    accumulate: int = 1
    """Forward passes that a step is divided into, where memory is short; each balances its own targets."""
    optimiser: Literal["adamw", "adam"] = "adamw"
    """adam adds weight decay to the gradient, adamw keeps the two apart."""
    lr: float = 1e-5
    """Learning rate of the backbone at the start; falls along a cosine."""
    lr_head: float = 1e-4
    """Learning rate of head and prototypes at the start."""
    lr_end: float = 0.0
    """What both learning rates fall to."""
    warmup: int = 0
    """Steps over which both learning rates rise from 0 first."""
    weight_decay: float = 0.04
    """Of matrices, tokens and positions (not of biases and norms), at the start."""
    weight_decay_end: float = 0.5
    """The same at the end, along a cosine."""
    drop_path: float = 0.1
    """Largest rate of the student's stochastic depth; rises from 0 over the blocks."""
    clip: OptionalNumber = None
    """Largest norm of the gradient; off by default."""
    precision: Literal["auto", "fastest", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; auto takes bf16 on CUDA and fp32 on the CPU, fastest takes what the CPU
    computes fastest too."""
    seed: int = 400
    """Of every random choice: the same seed on the same machine gives the same weights."""

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            LeopartError: says which option, and what it takes.
        """
        for smallest, names in _LEAST.items():
            for name in names:
                if getattr(self, name) < smallest:
                    _refuse(name, f"at least {smallest}", getattr(self, name))
        self._check_shares()
        self._check_contrast()
        if self.head_init == "clusters" and self.head_layers > 1:
            raise LeopartError("--head-init clusters sets one linear layer: give --head-layers 1 with it")
        if self.steps is not None and self.steps < 1:
            _refuse("steps", "at least 1", self.steps)
        if self.train_blocks != "all" and self.train_blocks < 1:
            _refuse("train_blocks", "all or at least 1", self.train_blocks)
        if self.clip is not None and self.clip <= 0:
            _refuse("clip", "above 0", self.clip)
        if self.global_crops + self.local_crops < 2:
            message = "one crop has nothing to agree with: raise --global-crops or --local-crops"
            raise LeopartError(message)
        if self.batch_size % self.accumulate:
            message = (
                f"--batch-size {self.batch_size} does not divide into --accumulate {self.accumulate} parts: "
                "choose numbers that do"
            )
            raise LeopartError(message)

    def _check_contrast(self) -> None:
        if self.objective == "leopart":
            return
        if (self.global_crops, self.local_crops) != (2, 0):
            compared = f"two large crops, not {self.global_crops} and {self.local_crops} small"
            advice = "give --global-crops 2 --local-crops 0"
            raise LeopartError(f"--objective densecl compares {compared}: {advice}")
        if self.head_init != "random":
            message = "--objective densecl has no clusters to start from: give --head-init random"
            raise LeopartError(message)

    def _check_shares(self) -> None:
        for name in ("min_overlap", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                _refuse(name, "from 0 to below 1", getattr(self, name))
        for name in ("momentum", "momentum_end", "contrast_dense"):
            if not 0 <= getattr(self, name) <= 1:
                _refuse(name, "from 0 to 1", getattr(self, name))
        for name in ("temperature", "epsilon", "contrast_temperature"):
            if not getattr(self, name) > 0:
                _refuse(name, "above 0", getattr(self, name))
        if not 0 < self.attention_kept <= 1:
            _refuse("attention_kept", "above 0 and at most 1", self.attention_kept)
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                _refuse(name, "two shares from above 0 to 1, the smaller first", getattr(self, name))


#: Smallest values of whole numbers, and of rates that must not be negative.
_LEAST = {
    2: ("prototypes",),
    1: (
        *("global_crops", "global_size", "local_size", "head_hidden", "head_out", "roi_bins"),
        *("epochs", "batch_size", "accumulate", "sinkhorn_iterations"),
        *("contrast_queue", "contrast_out", "contrast_grid"),
    ),
    0: (
        *("local_crops", "queue", "warmup", "seed", "head_layers", "jitter", "blur"),
        *("lr", "lr_head", "lr_end", "weight_decay", "weight_decay_end"),
    ),
}


def recipe_of(config: Recipe) -> dict[str, Any]:
    """The recipe's values alone, of a configuration that holds more."""
    return {field.name: getattr(config, field.name) for field in fields(Recipe)}


def _refuse(name: str, wanted: str, value: object) -> None:
    raise LeopartError(f"--{name.replace('_', '-')} must be {wanted}, got {value}")

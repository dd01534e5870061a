"""The authors' published heads: a linear classifier, and a small convolutional one (FCN), on patch tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor

from leopart.errors import LeopartError
from leopart.files import whole_file
from leopart.models.weights.checkpoint import read_checkpoint
from leopart.models.weights.families import Ledger

_PREFIX = "finetune_head."
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
_LINEAR = {"weight": ("C", "D", 1, 1), "bias": ("C",)}
_FCN = {
    "convs.0.conv.weight": ("M", "D", 3, 3),
    "convs.0.conv.bias": ("M",),
    "convs.1.conv.weight": ("M", "M", 3, 3),
    "convs.1.conv.bias": ("M",),
    "conv_cat.conv.weight": ("M", "M + D", 3, 3),
    "conv_cat.conv.bias": ("M",),
    "conv_seg.weight": ("C", "M", 1, 1),
    "conv_seg.bias": ("C",),
}
_BACKBONE = "backbone, which has a file of its own"


@dataclass(frozen=True)
class HeadFile:
    """Content of the file of a head."""

    kind: Literal["linear", "fcn"]
    """`linear`: one 1 x 1 convolution. `fcn`: two 3 x 3 convolutions, a third that joins their input again, a
    1 x 1 convolution."""
    state: dict[str, Tensor]
    """float32, by the names of the authors without `finetune_head.`, e.g. `conv_seg.weight`."""
    dim: int
    """Channels D of its input tokens."""
    classes: int
    """Number of classes C; 21 for PASCAL VOC."""


def read_head(file: Path) -> HeadFile:
    """Read a published head, every key accounted for.

    Args:
        file: flat, or a training checkpoint with `state_dict`; a backbone in it is ignored.

    Raises:
        LeopartError: the file cannot be read or holds no such head, or keys are missing, unexpected, of
            inconsistent shape, or not finite.

    Source: the heads that the authors published.
    """
    book = Ledger(read_checkpoint(file), "state_dict")
    book.drop(_BACKBONE, r"(model|teacher)\.")
    book.unprefix(_PREFIX)
    kind: Literal["linear", "fcn"] = "fcn" if any(key.startswith("conv") for key in book.state) else "linear"
    layout: dict[str, tuple[str | int, ...]] = dict(_FCN if kind == "fcn" else _LINEAR)
    state = {key: value.detach().float().clone() for key, value in book.state.items()}
    first, last = ("convs.0.conv", "conv_seg") if kind == "fcn" else ("", "")
    problems = {
        "missing": sorted(layout.keys() - state.keys()),
        "unexpected": sorted(state.keys() - layout.keys()),
        "not finite": [key for key, value in state.items() if not bool(torch.isfinite(value).all())],
        "of another shape": [
            key for key, shape in layout.items() if key in state and state[key].ndim != len(shape)
        ],
    }
    sizes: dict[str | int, int] = {}
    if not any(problems.values()):
        sizes = _sizes(state[f"{first}.weight".lstrip(".")], state[f"{last}.weight".lstrip(".")])
        problems["of another shape"] = [
            key
            for key, shape in layout.items()
            if tuple(state[key].shape) != tuple(sizes.get(size, size) for size in shape)
        ]
    if found := [f"{what}: {', '.join(keys[:5])}" for what, keys in problems.items() if keys]:
        message = f"{file} is not a {kind} head of Leopart's authors: {'; '.join(found)}; give such a file"
        raise LeopartError(message)
    return HeadFile(kind, state, sizes["D"], sizes["C"])


def _sizes(first: Tensor, last: Tensor) -> dict[str | int, int]:
    """Values of the letters in the layouts, from the first and the last convolution."""
    middle, dim, classes = len(first), first.shape[1], len(last)
    return {"M": middle, "D": dim, "C": classes, "M + D": middle + dim}


def check_head_name(file: Path) -> None:
    """Check that `write_head` can write a file of this name.

    Raises:
        LeopartError: the suffix is unknown.
    """
    if file.suffix not in _SUFFIXES:
        raise LeopartError(f"{file} has an unknown suffix for a head; choose one of {', '.join(_SUFFIXES)}")


def write_head(file: Path, head: HeadFile) -> None:
    """Write a head as its authors do, `finetune_head.` before every name; `read_head` reads it back.

    Args:
        file: `.safetensors`, or `.pth`, `.pt` or `.ckpt` for a flat dictionary by `torch.save`.
        head: see `SegmentationHead.to_file`.

    Raises:
        LeopartError: the suffix is unknown, or the file cannot be written.

    Source: the heads that the authors published.
    """
    check_head_name(file)
    state = {_PREFIX + key: value.detach().cpu().float().contiguous() for key, value in head.state.items()}
    with whole_file(file) as out:
        if file.suffix == ".safetensors":
            out.write(safetensors.torch.save(state, metadata={"format": "pt"}))
        else:
            torch.save(state, out)

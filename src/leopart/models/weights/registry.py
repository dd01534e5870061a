"""The backbones Leopart knows, as data: one row says everything that loading and describing one needs.

The rows are in `rows_package`, `rows_transformers` and `rows_resnets`; what a row says is in `spec`.
"""

from __future__ import annotations

import difflib

from leopart.errors import LeopartError
from leopart.models.weights import rows_package, rows_resnets, rows_transformers
from leopart.models.weights.spec import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec, FileSource, PackageSource

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BackboneSpec",
    "FileSource",
    "PackageSource",
    "backbone_spec",
]

DEFAULT_BACKBONE = "imgfocus_vits14"

BACKBONES: dict[str, BackboneSpec] = {
    row.name: row for row in (*rows_package.ROWS, *rows_transformers.ROWS, *rows_resnets.ROWS)
}
"""Every row by name, in the order in which they are listed."""


def backbone_spec(name: str) -> BackboneSpec:
    """The row called `name`.

    Raises:
        LeopartError: there is no such row; the message names the nearest one.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    near = difflib.get_close_matches(name, BACKBONES, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "its name is not like any that is known;"
    message = (
        f"there is no backbone called {name!r}: {hint} `leopart weights list` shows them all; a file of "
        "weights ends in .safetensors, .pth, .pth.tar, .pt, .ckpt or .bin, and timm:NAME is a model of timm"
    )
    raise LeopartError(message)

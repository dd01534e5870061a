"""Options of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from leopart.config.checks import OptionalPath, require_folder


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A backbone, or a segmenter that `leopart segment` saved, in a form that other programs take.

    The result is compared with Leopart before it is written, and a model card is put beside it.
    """

    model: tyro.conf.Positional[Path]
    """Backbone (a name from `leopart weights list`, a file, or the folder of a training run), or the folder
    of a saved segmenter: OUT or OUT/segmenter."""
    format: Literal["timm", "safetensors", "onnx"]
    """timm: what timm loads; safetensors: what Leopart loads; onnx: one graph for onnxruntime and others.
    A segmenter has the last only."""
    out: Path
    """Folder for the files; made if need be."""
    photos: OptionalPath = None
    """Folder of photos, or a photo: compare a segmenter's ids on up to 20 of them, not on made-up images."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still told."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_folder(self.out)

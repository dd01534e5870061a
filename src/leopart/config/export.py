"""Options of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from leopart.config.checks import OptionalPath, require_folder


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Convert a backbone, or a segmenter that `leopart segment` saved, to a format of other programs.

    The result is compared with Leopart before it is written, and a model card is written beside it.
    """

    model: tyro.conf.Positional[Path]
    """Backbone (a name from `leopart weights list`, a file, or the folder of a training run), or the folder
    of a saved segmenter: OUT or OUT/segmenter."""
    format: Literal["timm", "safetensors", "onnx"]
    """timm: for timm; safetensors: for Leopart; onnx: a graph for onnxruntime and others. A segmenter can be
    exported to onnx only."""
    out: Path
    """Folder for the files; made if need be."""
    photos: OptionalPath = None
    """Folder of photos, or one photo: compare the ids of a segmenter on up to 20 of them instead of on random
    pixels."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        require_folder(self.out)

"""`leopart export`: a backbone or a saved segmenter in a form that other programs take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leopart.cli.display import say
from leopart.cli.options import parse
from leopart.config import ExportConfig
from leopart.errors import LeopartError
from leopart.models.weights.registry import BACKBONES
from leopart.models.weights.spec import TUNED

if TYPE_CHECKING:
    from leopart.export import Exported

_PHOTOS = 20


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 0."""
    config = parse(ExportConfig, "export", argv)
    command = shlex.join(["leopart", "export", *argv])
    named = str(config.model) in BACKBONES  # a folder may have the same name
    is_trained = (config.model / TUNED).is_file()
    is_segmenter = config.model.is_dir() and not named and not is_trained
    from leopart.locks import locked

    with locked(config.out):
        exported = _segmenter(config, command) if is_segmenter else _backbone(config, command)
    for check in exported.checks:
        say(check, quiet=config.quiet)
    for file in exported.files:
        say(f"{file.resolve()}", quiet=config.quiet)
    return 0


def _backbone(config: ExportConfig, command: str) -> Exported:
    from leopart.export import export_backbone
    from leopart.models.backbone import load_backbone

    if config.photos is not None:
        raise LeopartError("--photos is for segmenters: a backbone is compared on made-up images")
    return export_backbone(load_backbone(str(config.model)), config.format, config.out, command=command)


def _segmenter(config: ExportConfig, command: str) -> Exported:
    from leopart.data.photos import find_photos
    from leopart.export import export_segmenter
    from leopart.segment.segmenter import Segmenter

    if config.format != "onnx":
        message = f"a segmenter has no {config.format} form: use --format onnx; to move it, copy its folder"
        raise LeopartError(message)
    inside = config.model / "segmenter"
    segmenter = Segmenter.load(inside if inside.is_dir() else config.model, device="cpu")
    found = [] if config.photos is None else [photo.path for photo in find_photos([config.photos])]
    step = -(-len(found) // _PHOTOS) or 1  # spread over the folder
    return export_segmenter(segmenter, config.out, photos=found[::step], command=command)

"""`leopart export`: a backbone, a segmenter or the masks of a run in a form that other programs take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from leopart.cli.display import counted, say, tracker
from leopart.cli.options import parse
from leopart.config import ExportConfig
from leopart.errors import LeopartError

if TYPE_CHECKING:
    from leopart.config.export import NetworkFormat
    from leopart.export import Exported

_PHOTOS = 20


def main(argv: Sequence[str]) -> int:
    """Run the command; exit status 1 if the masks of some photos could not be exported."""
    config = parse(ExportConfig, "export", argv)
    from leopart.locks import locked

    with locked(config.out):
        if config.for_masks:
            return _masks(config)
        exported = _network(config, shlex.join(["leopart", "export", *argv]))
    for check in exported.checks:
        say(check, quiet=config.quiet)
    for file in exported.files:
        say(f"{file.resolve()}", quiet=config.quiet)
    return 0


def _masks(config: ExportConfig) -> int:
    from leopart.export.masks.export import export_masks
    from leopart.export.masks.writer import MaskOptions

    options = MaskOptions.of(config)
    exported = export_masks(config.model, config.format, config.out, options, track=tracker(config.quiet))
    for failure in exported.failures:
        say(f"leopart: {failure}")
    for note in exported.notes:
        say(f"note: {note}", quiet=config.quiet)
    done = counted(exported.photos, "photo")
    say(f"{options.what} of {done} as {config.format}: {config.out.resolve()}", quiet=config.quiet)
    return 1 if exported.failures else 0


def _network(config: ExportConfig, command: str) -> Exported:
    from leopart.models.weights.registry import BACKBONES
    from leopart.models.weights.spec import TUNED

    named = str(config.model) in BACKBONES  # a folder may have the same name
    is_trained = (config.model / TUNED).is_file()
    if config.model.is_dir() and not named and not is_trained:
        return _segmenter(config, command)
    return _backbone(config, command)


def _backbone(config: ExportConfig, command: str) -> Exported:
    from leopart.export import export_backbone
    from leopart.models.backbone import load_backbone

    if config.photos is not None:
        raise LeopartError("--photos is for segmenters: a backbone is compared on made-up images")
    form = cast("NetworkFormat", config.format)
    return export_backbone(load_backbone(str(config.model)), form, config.out, command=command)


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

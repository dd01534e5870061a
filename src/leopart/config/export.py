"""Options of `export`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro
from annotated_types import Ge

from leopart.config.checks import OptionalPath, Unused, require_folder
from leopart.errors import LeopartError
from leopart.settings import check_fields

NetworkFormat = Literal["timm", "safetensors", "onnx"]
MaskFormat = Literal[
    "coco", "coco-panoptic", "voc", "cvat", "label-studio", "yolo", "fiftyone", "geotiff", "csv"
]
_MASKS: tuple[MaskFormat, ...] = get_args(MaskFormat)
_REGIONS = ("coco", "coco-panoptic", "voc", "cvat", "label-studio")
#: Formats in which an option makes a difference.
_FORMATS_OF = {
    "what": _MASKS,
    "min_area": _MASKS,
    "areas": _MASKS,
    "instances": _REGIONS,
    "stuff": _REGIONS,
    "semantic": ("yolo",),
    "prefix": ("label-studio",),
}
PhotoFiles = Literal["link", "copy", "none"]
_PHOTO_FILES: tuple[PhotoFiles, ...] = get_args(PhotoFiles)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Convert a backbone, a saved segmenter or the masks of a run to a format of other programs.

    Networks are compared with Leopart before they are written, and a model card is written beside them. Masks
    come with a README that explains how to import them.
    """

    model: tyro.conf.Positional[Path]
    """Backbone (a name from `leopart weights list`, a file, or the folder of a training run), the folder of a
    saved segmenter (OUT or OUT/segmenter), or for masks the folder of a run (OUT)."""
    format: NetworkFormat | MaskFormat
    """timm: for timm; safetensors: for Leopart; onnx: a graph for onnxruntime and others. A segmenter can be
    exported to onnx only. The other formats are for masks: annotation tools, trainers, GIS, spreadsheets."""
    out: Path = field(default_factory=Unused("leopart-export"))
    """Folder for the files; made if need be. The default is a new one: leopart-export, then
    leopart-export-2, ..."""
    photos: Annotated[Path | None, tyro.conf.arg(metavar="PATH|link|copy|none")] = None
    """onnx: folder of photos, or one photo: compare the ids of a segmenter on up to 20 of them instead of on
    random pixels. Masks: link, copy or none: how photos are put into the folder, for formats that have photos
    in it; link if not set."""
    what: Literal["labels", "objects", "parts"] | None = None
    """Which masks; by default labels where there are any, and objects otherwise."""
    min_area: Annotated[int, Ge(1)] = 1
    """Connected components of fewer pixels become background."""
    instances: Literal["components", "classes"] = "components"
    """What an instance is: a connected component of a class, or all of a class in a photo."""
    stuff: bool = False
    """The same as --instances classes."""
    areas: bool = False
    """Write areas.csv and means.csv too: pixels and share of each class in each photo."""
    semantic: bool = False
    """yolo: index masks for semantic training, in place of polygons."""
    prefix: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None
    """label-studio: path from the folder that it serves to the folder of the photos."""
    config: OptionalPath = None
    """Read options from this YAML file. The command line wins."""
    quiet: bool = False
    """Print nothing; errors are still printed."""

    def check(self) -> None:
        """See `RunConfig.check`."""
        check_fields(self)
        require_folder(self.out)
        for one in fields(self):
            formats = _FORMATS_OF.get(one.name, (self.format,))
            if self.format not in formats and getattr(self, one.name) != one.default:
                option = f"--{one.name.replace('_', '-')}"
                every = "masks" if formats == _MASKS else " and ".join(formats)
                raise LeopartError(f"{option} is for {every}: leave it out with --format {self.format}")
        if self.for_masks and self.photos is not None and str(self.photos) not in _PHOTO_FILES:
            raise LeopartError(f"--photos is {' or '.join(_PHOTO_FILES)} for masks, not {self.photos}")

    @property
    def for_masks(self) -> bool:
        """Whether the format is one for masks, not for networks."""
        return self.format in _MASKS

    @property
    def photo_files(self) -> PhotoFiles:
        """How photos come into a folder of masks."""
        return next((how for how in _PHOTO_FILES if how == str(self.photos)), "link")


def mask_formats() -> dict[MaskFormat, list[str]]:
    """Every format for masks, with the options that make a difference in it alone or with others."""
    return {form: [name for name, forms in _FORMATS_OF.items() if form in forms] for form in _MASKS}

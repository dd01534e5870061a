"""The formats by name."""

from __future__ import annotations

from leopart.export.masks.areas import Areas
from leopart.export.masks.coco import Coco
from leopart.export.masks.cvat import Cvat
from leopart.export.masks.fiftyone import FiftyOne
from leopart.export.masks.geotiff import GeoTiff
from leopart.export.masks.label_studio import LabelStudio
from leopart.export.masks.panoptic import CocoPanoptic
from leopart.export.masks.voc import Voc
from leopart.export.masks.writer import MaskFormat
from leopart.export.masks.yolo import Yolo

FORMATS: dict[str, type[MaskFormat]] = {
    "coco": Coco,
    "coco-panoptic": CocoPanoptic,
    "voc": Voc,
    "cvat": Cvat,
    "label-studio": LabelStudio,
    "yolo": Yolo,
    "fiftyone": FiftyOne,
    "geotiff": GeoTiff,
    "csv": Areas,
}
"""What `leopart export OUT --format` takes for masks."""

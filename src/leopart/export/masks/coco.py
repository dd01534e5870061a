"""COCO instances: one JSON with run-length coded masks, in the folders that CVAT and Datumaro expect."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from leopart.errors import LeopartError
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.regions import Region
from leopart.export.masks.runs import runs_by_column
from leopart.export.masks.writer import ExportJob, MaskFormat, Records, write_document
from leopart.files import whole_file


class Coco(MaskFormat):
    """`annotations/instances_default.json` and the photos in `images/default/`."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "placed"
    ABOUT: ClassVar[str] = """\
`annotations/instances_default.json` has one annotation a region: a compressed run-length code, area in
pixels, box, `iscrowd` 0. Category ids are the ids of the masks. Photos are in `images/default/`.

- pycocotools: `pycocotools.coco.COCO("annotations/instances_default.json")`.
- CVAT: task with the same photos, Actions, Upload annotations, COCO 1.0, the JSON file.
- FiftyOne: `fo.Dataset.from_dir(dataset_type=fo.types.COCODetectionDataset, data_path="images/default",
  labels_path="annotations/instances_default.json")`.
- Detectron2, MMDetection: register the JSON file and `images/default`.
- Datumaro: `datumaro.Dataset.import_from(FOLDER, "coco_instances")`; it needs `--photos copy`.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        _require_pycocotools()
        self.images, self.annotations = Records(job.opened), Records(job.opened)

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        entry = photo.entry
        self.place_photo(f"images/default/{entry.name}", photo)
        image = self.images.count + 1
        self.images.add(image_record(image, photo))
        for region in photo.regions:
            self.annotations.add(
                {
                    "id": self.annotations.count + 1,
                    "image_id": image,
                    "category_id": region.id,
                    "segmentation": compressed_rle(region, entry.height, entry.width),
                    "area": region.area,
                    "bbox": region.bbox,
                    "iscrowd": 0,
                }
            )

    def finish(self) -> None:
        """Write the JSON file."""
        kind = self.job.options.what.removesuffix("s")
        content = {
            "info": {"description": "Masks from Leopart"},
            "licenses": [],
            "categories": [{"id": one.id, "name": one.name, "supercategory": kind} for one in self.classes],
            "images": self.images,
            "annotations": self.annotations,
        }
        with whole_file(self.folder.place("annotations/instances_default.json")) as file:
            write_document(file, content)


def image_record(number: int, photo: MaskedPhoto) -> dict[str, Any]:
    """A photo in the list `images` of a COCO file."""
    entry = photo.entry
    return {"id": number, "width": entry.width, "height": entry.height, "file_name": entry.name}


def compressed_rle(region: Region, height: int, width: int) -> dict[str, Any]:
    """A region in COCO's compressed run-length code, made by pycocotools.

    Args:
        region: pixels of a photo.
        height: of the photo, pixels.
        width: of the same.

    Returns:
        `size` and `counts`, as JSON has them.
    """
    from pycocotools import mask

    edges = np.concatenate([[0], runs_by_column(region, height).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    if not counts[-1]:
        counts.pop()
    packed = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def _require_pycocotools() -> None:
    try:
        import pycocotools.mask  # noqa: F401 - only whether it is there
    except ImportError as error:
        message = "--format coco needs pycocotools, which is not installed: pip install 'leopart[masks]'"
        raise LeopartError(message) from error

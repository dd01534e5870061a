"""COCO panoptic: PNG files whose colours encode segment ids, and one JSON that says what they are."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from leopart.export.masks.coco import image_record
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.png import colour_png
from leopart.export.masks.writer import ExportJob, MaskFormat, Records, write_document
from leopart.files import whole_file

_FOLDER = "annotations/panoptic_default"


class CocoPanoptic(MaskFormat):
    """`annotations/panoptic_default.json`, a PNG a photo beside it, and the photos in `images/default/`."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "placed"
    ABOUT: ClassVar[str] = """\
`annotations/panoptic_default/` has a PNG for each photo. A pixel's segment is R + 256 G + 65536 B, 0 is
background. `annotations/panoptic_default.json` lists the segments of each photo with class, area and box.
Photos are in `images/default/`.

- panopticapi, Detectron2, MMDetection: give the JSON file, the folder beside it and `images/default`.
- Datumaro: `datumaro.Dataset.import_from(FOLDER, "coco_panoptic")`; it needs `--photos copy`.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.images, self.annotations = Records(job.opened), Records(job.opened)

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        self.place_photo(f"images/default/{photo.entry.name}", photo)
        segments, infos = np.zeros(photo.ids.shape, np.int32), []
        for number, region in enumerate(photo.regions, start=1):
            region.paint(segments, number)
            info = {"id": number, "category_id": region.id, "area": region.area, "bbox": region.bbox}
            infos.append(info | {"iscrowd": 0})
        file = f"{photo.stem}.png"
        self.folder.write(f"{_FOLDER}/{file}", colour_png(segments))
        image = self.images.count + 1
        self.images.add(image_record(image, photo))
        self.annotations.add({"image_id": image, "file_name": file, "segments_info": infos})

    def finish(self) -> None:
        """Write the JSON file."""
        options = self.job.options
        kind, things = options.what.removesuffix("s"), int(not options.by_class)
        categories = [
            {"id": one.id, "name": one.name, "supercategory": kind, "isthing": things, "color": one.colour}
            for one in self.classes
        ]
        content = {
            "info": {"description": "Masks from Leopart"},
            "licenses": [],
            "categories": categories,
            "images": self.images,
            "annotations": self.annotations,
        }
        with whole_file(self.folder.place(f"{_FOLDER}.json")) as file:
            write_document(file, content)

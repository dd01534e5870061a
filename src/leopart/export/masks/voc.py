"""PASCAL VOC: a tree of palette masks, of classes and of instances."""

from __future__ import annotations

from typing import ClassVar, Literal

from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.voc_masks import VocMasks, line_names
from leopart.export.masks.writer import ExportJob, MaskFormat, require_one_line
from leopart.files import whole_file

_ROOT = "VOCdevkit/VOC2012"


class Voc(MaskFormat):
    """`VOCdevkit/VOC2012/` with photos, masks, `labelmap.txt` and the list `trainval.txt`."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "placed"
    ABOUT: ClassVar[str] = """\
`VOCdevkit/VOC2012/` is laid out as PASCAL VOC: photos in `JPEGImages/`, classes in `SegmentationClass/`,
instances in `SegmentationObject/`, names of the photos in `ImageSets/Segmentation/trainval.txt`.
`labelmap.txt` has the name and colour of each class; its first line is value 0 of the masks.

- Datumaro: `datumaro.Dataset.import_from("VOCdevkit/VOC2012", "voc_segmentation")`.
- MMSegmentation: a `BaseSegDataset` with `img_path="JPEGImages"` and `seg_map_path="SegmentationClass"`.
- Roboflow, Supervisely: upload the folder as Pascal VOC segmentation.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.masks = VocMasks(self.classes, "voc")
        list_file = self.folder.place(f"{_ROOT}/ImageSets/Segmentation/trainval.txt")
        self.list = job.opened.enter_context(whole_file(list_file))

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        require_one_line(photo)
        self.place_photo(f"{_ROOT}/JPEGImages/{photo.photo_file}", photo)
        self.folder.write(f"{_ROOT}/SegmentationClass/{photo.stem}.png", self.masks.class_png(photo))
        self.folder.write(f"{_ROOT}/SegmentationObject/{photo.stem}.png", self.masks.instance_png(photo))
        self.list.write(f"{photo.stem}\n".encode())

    def finish(self) -> None:
        """Write the map of labels."""
        names, notes = line_names(self.classes)
        self.folder.write(f"{_ROOT}/labelmap.txt", self.masks.label_map(names))
        self.job.notes.extend([*notes, *self.masks.notes()])

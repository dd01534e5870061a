"""CVAT's "Segmentation mask 1.1": a zip archive of masks in the manner of VOC, without photos."""

from __future__ import annotations

import json
import zipfile
from pathlib import PurePosixPath
from typing import ClassVar

from leopart.export.masks.classes import distinct_colours
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.voc_masks import VocMasks, line_names
from leopart.export.masks.writer import ExportJob, MaskFormat, require_one_line
from leopart.files import whole_file


class Cvat(MaskFormat):
    """`cvat.zip` and `cvat-labels.json`."""

    ABOUT: ClassVar[str] = """\
`cvat.zip` is an archive in CVAT's format "Segmentation mask 1.1". CVAT finds a photo by its name without
suffix.

1. Tasks, Create: paste the content of `cvat-labels.json` into Labels, Raw; upload the same photos.
2. Open the task, Actions, Upload annotations, "Segmentation mask 1.1", choose `cvat.zip`.

CVAT makes a mask of each region, or a polygon if "Convert masks to polygons" is on.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.masks = VocMasks(self.classes, "cvat")
        file = job.opened.enter_context(whole_file(self.folder.place("cvat.zip")))
        self.archive = job.opened.enter_context(zipfile.ZipFile(file, "w"))
        self.names: list[str] = []
        self.renamed: list[str] = []

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        require_one_line(photo)
        if PurePosixPath(photo.entry.name).with_suffix("").as_posix() != photo.stem:
            self.renamed.append(photo.entry.name)
        self._write(f"SegmentationClass/{photo.stem}.png", self.masks.class_png(photo))
        self._write(f"SegmentationObject/{photo.stem}.png", self.masks.instance_png(photo))
        self.names.append(photo.stem)

    def finish(self) -> None:
        """Write the list of photos and the map of labels."""
        names, notes = line_names(self.classes)
        colours = distinct_colours(self.classes)
        labels = [
            {"name": name, "color": f"#{bytes(colour).hex()}", "type": "mask", "attributes": []}
            for name, colour in zip(names, colours, strict=True)
        ]
        self.folder.write("cvat-labels.json", json.dumps(labels, indent=2, ensure_ascii=False) + "\n")
        text = self.masks.label_map(names)
        self._write("labelmap.txt", text.encode())
        self._write("ImageSets/Segmentation/default.txt", "".join(f"{n}\n" for n in self.names).encode())
        self.job.notes.extend([*notes, *self.masks.notes()])
        if self.renamed:
            which = (
                f"{len(self.renamed)} photos, such as {self.renamed[0]}, differ from others in suffix only"
            )
            self.job.notes.append(f"{which}: CVAT finds photos by their name without it, so not these")

    def _write(self, name: str, content: bytes) -> None:
        """Add a file with a fixed date, so that the same masks give the same archive."""
        about = zipfile.ZipInfo(name)  # 1980-01-01
        about.external_attr = 0o644 << 16
        about.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
        self.archive.writestr(about, content)

"""Ultralytics YOLO: a polygon for each component, or index masks for semantic training."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import numpy as np
import yaml

from leopart.errors import LeopartError
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.png import grey_png
from leopart.export.masks.polygons import outline
from leopart.export.masks.tables import csv_text
from leopart.export.masks.voc_masks import MOST
from leopart.export.masks.writer import ExportJob, MaskFormat
from leopart.labels.rules import BACKGROUND


class Yolo(MaskFormat):
    """`data.yaml`, `images/`, and `labels/` with polygons or `masks/` with index masks."""

    PHOTOS: ClassVar[Literal["named", "placed", "read"]] = "placed"
    ABOUT: ClassVar[str] = """\
`data.yaml` names the classes, which YOLO counts from 0; `classes.csv` has the ids of the masks beside them.
Photos are in `images/`. `labels/` has a line for each connected component: class and polygon. A hole is
joined to the outline by a cut, so that the filled polygon leaves it out. With `--semantic` there is `masks/`
with index masks in its place.

- `yolo segment train data=data.yaml model=yolo11n-seg.pt`; with `--semantic`, a semantic model.
- All photos are for training and validation alike: split them before you trust a score.
"""

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self.semantic = job.options.semantic
        if self.semantic and len(self.classes) > MOST:
            message = f"{len(self.classes)} classes do not fit into 8-bit masks, which hold {MOST}"
            raise LeopartError(f"{message}; name fewer, or leave --semantic out")
        first = int(self.semantic)
        self.index = {one.id: number for number, one in enumerate(self.classes, start=first)}

    def add(self, photo: MaskedPhoto) -> None:
        """See `MaskFormat.add`."""
        stem = _without_images(photo.stem)
        self.place_photo(f"images/{_without_images(photo.photo_file)}", photo)
        if self.semantic:
            table = np.zeros(max(self.index, default=0) + 1, np.uint8)
            table[list(self.index)] = list(self.index.values())
            self.folder.write(f"masks/{stem}.png", grey_png(table[photo.ids], MOST))
        else:
            self.folder.write(f"labels/{stem}.txt", "".join(self._lines(photo)))

    def finish(self) -> None:
        """Write `data.yaml` and `classes.csv`."""
        names = {number: one.name for one, number in zip(self.classes, self.index.values(), strict=True)}
        content = {"train": "images", "val": "images"}
        content |= {"masks_dir": "masks"} if self.semantic else {}
        names = ({0: BACKGROUND} if self.semantic else {}) | names
        text = yaml.safe_dump(content | {"names": names}, sort_keys=False, allow_unicode=True)
        self.folder.write("data.yaml", text)
        rows = [(self.index[one.id], one.id, one.name) for one in self.classes]
        self.folder.write("classes.csv", csv_text([("index", "id", "name"), *rows]))

    def _lines(self, photo: MaskedPhoto) -> list[str]:
        size = np.array([photo.entry.width, photo.entry.height])
        return [
            f"{self.index[region.id]} {' '.join(map(_number, ((outline(region) + 0.25) / size).flat))}\n"
            for region in photo.components
        ]


def _number(value: float) -> str:
    """A coordinate. YOLO truncates or rounds it to whole pixels; with the quarter both give the right one."""
    return f"{value:.7g}"


def _without_images(path: str) -> str:
    """No folder called `images`: YOLO finds a label by replacing the last `/images/` in a photo's path."""
    *folders, name = path.split("/")
    return "/".join([*(re.sub(r"^(images_*)$", r"\1_", folder) for folder in folders), name])

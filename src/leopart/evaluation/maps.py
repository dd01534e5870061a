"""Segmentation maps on disk: the predictions that were scored, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.data.images import photo_size
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE
from leopart.data.own_output import mark_as_output
from leopart.data.photos import output_stems
from leopart.drawing.masks import save_mask
from leopart.drawing.palette import colours
from leopart.evaluation.labels import nearest
from leopart.evaluation.metrics.confusion import Labels
from leopart.files import writing
from leopart.paths import inside

_VOID = (224, 224, 192)  # as PASCAL VOC paints it


class MapWriter:
    """Writes predicted classes as palette PNGs, `FOLDER/NAME/photo.png`; pixel value = class id, 255 = none.

    Args:
        folder: is made if need be; None = write nothing.
        labelled: the photos and classes.

    Raises:
        LeopartError: the folder cannot be made.
    """

    def __init__(self, folder: Path | None, labelled: LabelledPhotos) -> None:
        if folder is not None:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.photos = folder, [photo for photo, _ in labelled.pairs]
        self.stems = output_stems(self.photos)
        self.marked: set[str] = set()
        self.ids = np.full(256, IGNORE, np.uint16)  # class id of each row; -1 becomes 255
        self.ids[: len(labelled.classes)] = list(labelled.classes)
        self.palette = colours(256)
        self.palette[IGNORE] = _VOID

    @property
    def wanted(self) -> bool:
        """Whether maps are wanted; making them may need an extra pass over the photos."""
        return self.folder is not None

    def write(self, name: str, index: int, rows: Labels) -> None:
        """Write the predicted classes of photo `index`, at the size of the photo.

        Args:
            name: of the prediction; the name of a folder.
            index: of the photo.
            rows: class rows 0 .. C-1, integer [h, w]; -1 or 255 for none. Enlarged by nearest.

        Raises:
            LeopartError: the file cannot be written.
        """
        if self.folder is not None:
            size = photo_size(self.photos[index].path)
            ids = self.ids[np.asarray(nearest(rows, size)).astype(np.uint8)]
            save_mask(self._file(self.folder, name, index), ids, self.palette)

    def write_mask(self, name: str, index: int, foreground: npt.ArrayLike) -> None:
        """Write the predicted foreground of photo `index`: 1, and 0 for background.

        Args:
            name: of the prediction; the name of a folder.
            index: of the photo.
            foreground: [h, w], bool or 0 for background.

        Raises:
            LeopartError: the file cannot be written.
        """
        if self.folder is not None:
            size = photo_size(self.photos[index].path)
            mask = nearest((np.asarray(foreground) != 0).astype(np.uint8), size)
            save_mask(self._file(self.folder, name, index), mask, self.palette)

    def _file(self, folder: Path, name: str, index: int) -> Path:
        if name not in self.marked:
            self.marked.add(name)
            mark_as_output(folder, name)
        return inside(folder / name, f"{self.stems[index]}.png", self.photos[index].path)

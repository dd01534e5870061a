"""A photo with its masks as a picture, for notebooks and figures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leopart.data.images import load_photo
from leopart.drawing import palette
from leopart.drawing.masks import overlay, shrink

#: Longest side of a picture in a notebook.
_ON_SCREEN = 640


@dataclass(frozen=True)
class Picture:
    """What a segmentation is drawn with.

    Attributes:
        photo: file, or RGB uint8 [H, W, 3].
        object_of_part: main object of each part, [K + 1]: parts of one object have shades of one colour.
    """

    photo: Path | NDArray[np.uint8]
    object_of_part: NDArray[np.int64]

    def drawn(self, ids: NDArray[np.int32], longest: int | None, *, shades: bool) -> NDArray[np.uint8]:
        """The photo with its regions tinted and outlined, RGB uint8 [h, w, 3].

        Args:
            ids: of the regions, [H, W].
            shades: the ids are parts; those of one object have shades of its colour.
            longest: side in pixels that the picture must not exceed; None = the photo's own size.

        Raises:
            PhotoError: the file cannot be read any more.
        """
        photo = load_photo(self.photo) if isinstance(self.photo, Path) else self.photo
        small, labels = shrink(photo, ids, longest or max(ids.shape))
        if shades:
            return overlay(small, labels, palette.part_colours(self.object_of_part))
        return overlay(small, labels, palette.colours(int(ids.max()) + 1))

    def png(self, ids: NDArray[np.int32]) -> bytes:
        """The parts over the photo as a PNG for a notebook."""
        file = io.BytesIO()
        Image.fromarray(self.drawn(ids, _ON_SCREEN, shades=True)).save(file, "PNG")
        return file.getvalue()


def plot(pyplot: Any, pictures: dict[str, NDArray[np.uint8]]) -> Any:
    """Pictures side by side under their titles: a figure of `matplotlib.pyplot`."""
    figure, axes = pyplot.subplots(1, len(pictures), squeeze=False, figsize=(4 * len(pictures), 4))
    for axis, (title, picture) in zip(axes[0], pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title)
        axis.axis("off")
    return figure

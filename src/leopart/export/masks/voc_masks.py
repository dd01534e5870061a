"""What VOC and CVAT share: masks with colours of classes and of instances, and the map of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leopart.data.annotations.colour_masks import line_name
from leopart.errors import LeopartError
from leopart.export.masks.classes import MaskClass, distinct_colours
from leopart.export.masks.photos import MaskedPhoto
from leopart.export.masks.png import index_png
from leopart.export.masks.regions import class_regions
from leopart.labels.rules import BACKGROUND

MOST = 254
"""Classes, and instances of a photo: 0 is background, and readers of VOC take 255 for "not labelled"."""


class VocMasks:
    """Makes the two PNGs of a photo.

    In both, 0 is background. In the mask of classes, the first class is 1, and colours are those of the map
    of labels. In the mask of instances, colours are those that VOC gives to numbers.

    Args:
        classes: at most `MOST`.
        form: name of the format, for the message.

    Raises:
        LeopartError: there are more classes.
    """

    def __init__(self, classes: Sequence[MaskClass], form: str) -> None:
        if len(classes) > MOST:
            message = f"{len(classes)} classes do not fit into the 8-bit masks of {form}, which hold {MOST}"
            raise LeopartError(f"{message}; name fewer, or use --format coco")
        self.colours = np.array([(0, 0, 0), *distinct_colours(classes)], np.uint8)
        self.index = np.zeros(max((one.id for one in classes), default=0) + 1, np.uint8)
        self.index[[one.id for one in classes]] = np.arange(1, len(classes) + 1)
        self.merged: list[str] = []
        """Photos with more than `MOST` components, where an instance is all of a class."""

    def class_png(self, photo: MaskedPhoto) -> bytes:
        """Classes of the pixels."""
        return index_png(self.index[photo.ids], self.colours)

    def instance_png(self, photo: MaskedPhoto) -> bytes:
        """Instances of the pixels, numbered within the photo."""
        regions = photo.regions
        if len(regions) > MOST:
            self.merged.append(photo.stem)
            regions = class_regions(photo.ids)
        instances = np.zeros(photo.ids.shape, np.uint8)
        for number, region in enumerate(regions, start=1):
            region.paint(instances, number)
        return index_png(instances, voc_colours())

    def label_map(self, names: Sequence[str]) -> str:
        """The file `labelmap.txt`.

        Args:
            names: of the classes, see `line_names`.
        """
        lines = ["# label:color_rgb:parts:actions"]
        for name, colour in zip([BACKGROUND, *names], self.colours, strict=True):
            lines.append(f"{name}:{','.join(map(str, colour))}::")
        return "\n".join(lines) + "\n"

    def notes(self) -> list[str]:
        """A sentence if photos had too many components."""
        if not self.merged:
            return []
        which = f"{len(self.merged)} photos, such as {self.merged[0]},"
        return [f"{which} have more than {MOST} components: there, an instance is all of a class"]


def voc_colours() -> NDArray[np.uint8]:
    """The colours that VOC gives to the numbers 0 to 255, uint8 [256, 3].

    The lowest three bits of a number are the highest bits of red, green and blue, the next three the second
    highest, and so on.

    Source: the PASCAL VOC development kit.
    """
    colours = np.zeros((256, 3), np.uint8)
    numbers = np.arange(256)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return colours


def line_names(classes: Sequence[MaskClass]) -> tuple[list[str], list[str]]:
    """Different names without what a line of `labelmap.txt` cannot hold: colons, line breaks, # in front.

    Returns:
        Names, and a sentence for each that was changed.
    """
    names: dict[str, None] = {BACKGROUND: None}  # in order
    notes = []
    for one in classes:
        wanted = name = line_name(one.name)
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}_{number}"
        names[name] = None
        if name != one.name:
            notes.append(f"{one.name!r} is called {name!r} here: a map of labels cannot hold it as it is")
    return list(names)[1:], notes

"""What the ids of a run's masks are called, and their colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leopart.data.datasets.folder import read_classes
from leopart.data.images import opened
from leopart.documents import read_json
from leopart.drawing.palette import colours
from leopart.errors import PhotoError
from leopart.labels.file import rgb
from leopart.labels.rules import LARGEST_ID, Colour
from leopart.paths import is_folder

What = Literal["labels", "objects", "parts"]
"""Which masks of a run: the folders have these names."""
_REMEDY = "run the same segment command again"


@dataclass(frozen=True)
class MaskClass:
    """A class of masks.

    Attributes:
        id: in the masks, at least 1.
        name: as people have given it, or `object 3`, `part 12`.
        colour: sRGB.
    """

    id: int
    name: str
    colour: Colour


@dataclass(frozen=True)
class _Counts:
    parts: int
    objects: int


@dataclass(frozen=True)
class _Summary:
    counts: _Counts


def default_what(out: Path) -> What:
    """Labels if there are any, or objects."""
    return "labels" if is_folder(out / "labels") else "objects"


def read_mask_classes(out: Path, what: What, masks: Iterable[Path]) -> list[MaskClass]:
    """The classes of a run, background left out.

    Args:
        out: folder of the run.
        what: which masks.
        masks: some of them. The palette of the first that can be read has the colours; where it ends, or
            there is none, Leopart's go on.

    Returns:
        Classes by ascending id.

    Raises:
        LeopartError: `classes.txt` or `summary.json` is missing or damaged.
    """
    palette = _palette(masks)
    if what == "labels":
        names = read_classes(out / "classes.txt", LARGEST_ID)
    else:
        counts = read_json(out / "summary.json", _Summary, _REMEDY).counts
        largest = max(counts.parts if what == "parts" else counts.objects, len(palette) - 1)
        names = {number: f"{what.removesuffix('s')} {number}" for number in range(1, largest + 1)}
    names.pop(0, None)
    more = colours(max(names, default=0) + 1)[len(palette) :]
    tints = np.concatenate([palette, more])
    return [MaskClass(number, name, rgb(tints[number])) for number, name in names.items()]


def distinct_colours(classes: Sequence[MaskClass]) -> list[Colour]:
    """A colour of each class that neither the background (black) nor another class has.

    Formats that know classes by colour need this. Of classes with the same colour, all but the first get
    another shade of blue, as near as possible.

    Args:
        classes: at most 255.
    """
    taken: dict[Colour, None] = {(0, 0, 0): None}  # in order
    for one in classes:
        red, green, blue = one.colour
        shades = ((red, green, blue ^ change) for change in range(256))
        taken[next(shade for shade in shades if shade not in taken)] = None
    return list(taken)[1:]


def _palette(masks: Iterable[Path]) -> NDArray[np.uint8]:
    palette: list[int] | None = None
    for mask in masks:
        with suppress(PhotoError), opened(mask, "mask", ("PNG",)) as image:
            palette = image.getpalette() if image.mode == "P" else None
            break
    return np.array(palette or (), np.uint8).reshape(-1, 3)

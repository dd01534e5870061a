"""Label masks on disk: one integer class id per pixel, never derived from palette colours."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from leopart.data.images import opened, photo_size, stored_orientation
from leopart.data.photos import shown
from leopart.errors import LeopartError, PhotoError

IGNORE = 255
"""The id of pixels without a label; never a class."""
_TURNS = {
    5: "flip the mask upside down and turn it by 90 degrees clockwise",
    6: "turn the mask by 90 degrees clockwise",
    7: "flip the mask upside down and turn it by 90 degrees counter-clockwise",
    8: "turn the mask by 90 degrees counter-clockwise",
}
"""What makes a mask upright that lies as its photo is stored, by the photo's EXIF orientation."""
IndexMask = npt.NDArray[np.uint8] | npt.NDArray[np.int32]


def read_index_mask(path: Path, classes: Collection[int] | None = None) -> IndexMask:
    """Read the class ids of a palette or grey PNG of 1 to 16 bits.

    Args:
        path: the mask.
        classes: ids that may occur, besides 255 (no label). None: any.

    Returns:
        [H, W], uint8, or int32 for 16-bit files. Palette colours do not matter: the stored indices count.

    Raises:
        LeopartError: the file is missing, damaged or no PNG, holds colours in place of ids, or an id outside
            `classes`. Not a PhotoError: a score over the rest would be the score of another set.
    """
    try:
        with opened(path, "mask", ("PNG",)) as image:
            mask = _stored_values(image, path)
    except PhotoError as error:
        raise LeopartError(str(error)) from error
    if classes is not None:
        check_ids(mask, path, classes)
    return mask


def read_colour_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Read a PNG whose colours encode ids, as panoptic and instance masks do.

    Returns:
        [H, W, 3], uint8: red, green and blue.

    Raises:
        LeopartError: the file is missing, damaged or no PNG, or has one channel.
    """
    try:
        with opened(path, "mask", ("PNG",)) as image:
            if image.mode not in ("RGB", "RGBA"):
                what = f"{shown(path)} holds one number a pixel ({image.mode})"
                raise LeopartError(f"{what}, but here colours encode the ids; copy the file again as it was")
            return np.array(image)[..., :3]
    except PhotoError as error:
        raise LeopartError(str(error)) from error


def check_ids(
    mask: IndexMask,
    path: Path,
    classes: Collection[int],
    advice: str = "list them among the classes, or set pixels without a label to 255",
) -> None:
    """Check that a mask [H, W] holds only ids of `classes` and 255 (no label).

    Args:
        mask: the ids.
        path: its file.
        classes: ids that may occur.
        advice: what to do about other ids.

    Raises:
        LeopartError: there are other ids; the message names the first five.
    """
    present = np.flatnonzero(np.bincount(mask.ravel()))  # much faster than sorting as np.unique does
    strangers = sorted(set(present.tolist()) - {*classes, IGNORE})
    if strangers:
        some = ", ".join(map(str, strangers[:5])) + (", ..." if len(strangers) > 5 else "")
        raise LeopartError(f"{shown(path)} holds the ids {some}, which are no classes of this set; {advice}")


def check_mask_size(mask: IndexMask, path: Path, photo: Path) -> None:
    """Check that a mask [H, W] has the size of its upright photo.

    Raises:
        LeopartError: the sizes differ, or the photo cannot be opened.
    """
    height, width = photo_size(photo)
    if mask.shape == (height, width):
        return
    sizes = f"{mask.shape[1]}x{mask.shape[0]} pixels, but its photo {shown(photo)} has {width}x{height}"
    if mask.shape == (width, height) and (turn := _TURNS.get(stored_orientation(photo))):
        why = "because EXIF turns the photo and the mask lies as the photo is stored"
        raise LeopartError(f"{shown(path)} has {sizes}, {why}; {turn}, do not resize it")
    raise LeopartError(f"{shown(path)} has {sizes}; make a mask of the photo's own size")


def _stored_values(image: ImageFile.ImageFile, path: Path) -> IndexMask:
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise _coloured(image, path)
    # Pillow stretches 2-bit and 4-bit grey to 0..255; the raw mode still says so before the pixels are read.
    stretched_by = {"L;2": 85, "L;4": 17}.get(str(image.tile[0][3]), 1)
    values = np.array(image)
    if image.mode.startswith("I"):
        return values.astype(np.int32)
    return values.astype(np.uint8) // np.uint8(stretched_by)


_REPLACE = (
    "replace each colour by its class id and save the ids as a grey or palette PNG "
    "(`leopart data convert` does so for the colours of PASCAL VOC)"
)


class ColouredMaskError(LeopartError):
    """A mask is a picture in colours.

    Args:
        path: the mask.
        mode: Pillow's name of its kind of pixels.
        greys: its values, if all its channels are equal.
    """

    def __init__(self, path: Path, mode: str, greys: frozenset[int] | None) -> None:
        self.what = f"{shown(path)} is a picture in colours ({mode}), but a mask holds one class id a pixel"
        self.greys = greys
        either = "its channels are equal: if they hold ids, save one of them as a grey PNG, and if not, "
        super().__init__(f"{self.what}; {'' if greys is None else either}{_REPLACE}")

    def for_classes(self, classes: Collection[int]) -> LeopartError:
        """The same error, with simpler advice where the greys of the picture are classes after all."""
        if self.greys is None or not self.greys <= {*classes, IGNORE}:
            return LeopartError(f"{self.what}; {_REPLACE}")
        return LeopartError(f"{self.what}; its channels are equal and hold ids, so save one as a grey PNG")


def _coloured(image: Image.Image, path: Path) -> ColouredMaskError:
    channels = np.array(image.convert("RGBA"))[..., :3]
    equal = bool((channels == channels[..., :1]).all())
    greys = frozenset(np.unique(channels[..., 0]).tolist()) if equal else None
    return ColouredMaskError(path, image.mode, greys)

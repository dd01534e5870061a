"""Photos of a run with their masks, as formats take them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from leopart.data.masks import IGNORE, check_ids, read_index_mask
from leopart.data.photo_list import PHOTO_LIST, PhotoEntry
from leopart.errors import LeopartError, PhotoError
from leopart.export.masks.classes import What
from leopart.export.masks.regions import Ids, Region, class_regions, components, without_small
from leopart.paths import inside, shown


class MaskedPhoto:
    """A photo and its mask.

    Args:
        entry: the photo.
        ids: class of each pixel, 0 = background, [H, W].
        by_class: whether a region is all of a class, or one connected component.
    """

    def __init__(self, entry: PhotoEntry, ids: Ids, *, by_class: bool = False) -> None:
        self.entry, self.ids, self.by_class = entry, ids, by_class

    @property
    def stem(self) -> str:
        """Unique path of the photo without suffix, such as `trip/cat`."""
        return self.entry.mask

    @property
    def photo_file(self) -> str:
        """The same with the photo's suffix, in lower case as trainers look for it."""
        return self.entry.mask + PurePosixPath(self.entry.name).suffix.lower()

    @cached_property
    def components(self) -> list[Region]:
        """Connected components, see `regions.components`."""
        return components(self.ids)

    @property
    def regions(self) -> list[Region]:
        """What the format calls an instance or segment."""
        return class_regions(self.ids) if self.by_class else self.components


def mask_path(out: Path, what: What, entry: PhotoEntry) -> Path:
    """Where a photo's mask is.

    Raises:
        LeopartError: the list of photos gives it a place outside of the run, or no possible name.
    """
    return inside(out / what, f"{entry.mask}.png", PHOTO_LIST)


def read_masked(
    out: Path,
    what: What,
    entry: PhotoEntry,
    classes: Collection[int],
    *,
    min_area: int = 1,
    by_class: bool = False,
) -> MaskedPhoto:
    """Read a photo's mask. Components below `min_area` pixels, and pixels without a label, become background.

    Raises:
        PhotoError: the mask has a name that no file may have, is missing or damaged, has another size than
            the photo, or an id that is no class.
    """
    try:
        path = mask_path(out, what, entry)
        mask = read_index_mask(path)
        check_ids(mask, path, {0, *classes}, "make the masks again with the command that made them")
    except LeopartError as error:
        raise PhotoError(str(error)) from error
    ids: Ids = mask if IGNORE in classes else np.where(mask == IGNORE, mask.dtype.type(0), mask)
    if ids.shape != (entry.height, entry.width):
        sizes = f"{ids.shape[1]}x{ids.shape[0]} pixels, but its photo {entry.width}x{entry.height}"
        raise PhotoError(f"{shown(path)} has {sizes}; run the same segment command again")
    return MaskedPhoto(entry, without_small(ids, min_area), by_class=by_class)


def what_happened(entry: PhotoEntry) -> str | None:
    """A sentence if the photo is not the file that was segmented; None if it is."""
    try:
        status = Path(entry.path).stat()
    except OSError:
        return f"{shown(entry.path)} has been moved or removed since it was segmented"
    if (status.st_size, status.st_mtime_ns) != (entry.bytes, entry.modified):
        return f"{shown(entry.path)} has changed since it was segmented"
    return None

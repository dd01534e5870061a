"""Photos with labels: their masks, how these are read, and what the ids mean."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.data.images import load_photo
from leopart.data.masks import (
    IGNORE,
    ColouredMaskError,
    IndexMask,
    check_ids,
    check_mask_size,
    read_index_mask,
)
from leopart.data.photos import Photo, shown
from leopart.errors import LeopartError

IdReader = Callable[[Path], IndexMask]
"""Turns a mask file into class ids [H, W], 255 where there is no label."""


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos, their masks and the classes. Files are read only on request."""

    path: Path
    """The folder that holds the set."""
    classes: dict[int, str]
    """Names by id, ids ascending; they need not be consecutive."""
    pairs: list[tuple[Photo, Path]]
    """Each photo (its name is the path below the folder of photos) and its mask."""
    ignored: dict[int, str] = field(default_factory=dict)
    """Names by id of ignored classes: their pixels count as without a label."""
    read_ids: IdReader = read_index_mask
    """How a mask file becomes class ids. Two sets are equal only if they share it."""
    notes: tuple[str, ...] = ()
    """What a reader of the scores must know about the set, one sentence each."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """A photo, RGB [H, W, 3] uint8, and its mask [H, W] uint8: rows of `classes`, 255 for no label.

        Raises:
            LeopartError: photo or mask cannot be read, or do not fit each other.
        """
        photo, mask = self.pairs[index]
        return load_photo(photo.path), self.rows(self.read_mask(photo, mask))

    def without(self, names: Iterable[str]) -> LabelledPhotos:
        """The same set with some classes left out; their pixels count as without a label.

        Args:
            names: of classes, upper and lower case alike.

        Raises:
            LeopartError: there is no such class, or none would be left.
        """
        by_name = {name.casefold(): name for name in self.classes.values()}
        for name in (wanted := [name.strip() for name in names]):
            if name.casefold() not in by_name:
                near = difflib.get_close_matches(name.casefold(), by_name, n=1)
                known = ", ".join(map(shown, self.classes.values()))
                advice = f"did you mean {shown(by_name[near[0]])}?" if near else f"the classes are: {known}"
                raise LeopartError(f"there is no class {name!r} to ignore; {advice}")
        left_out = {name.casefold() for name in wanted}
        ignored = {key: name for key, name in self.classes.items() if name.casefold() in left_out}
        classes = {key: name for key, name in self.classes.items() if key not in ignored}
        if not classes:
            raise LeopartError("every class is ignored; leave at least one to score")
        return replace(self, classes=classes, ignored=self.ignored | ignored)

    def sample(self, count: int) -> LabelledPhotos:
        """At most so many of the photos, spread over the set, the same ones in every run."""
        if len(self.pairs) <= count:
            return self
        chosen = sorted(random.Random(0).sample(range(len(self.pairs)), count))  # noqa: S311 - no secret
        return replace(self, pairs=[self.pairs[i] for i in chosen])

    @property
    def background(self) -> int | None:
        """Row of the class named background (usually 0), or None: not every set of labels has one."""
        names = [name.strip("_ ").casefold() for name in self.classes.values()]
        return names.index("background") if "background" in names else None

    def read_mask(self, photo: Photo, mask: Path) -> IndexMask:
        """Read a mask [H, W] of class ids and check it against the photo's size and the classes.

        Raises:
            LeopartError: the mask cannot be read, has another size than the photo, or holds other ids.
        """
        ids = self.ids_of(mask)
        check_ids(ids, mask, self.classes | self.ignored)
        check_mask_size(ids, mask, photo.path)
        return ids

    def ids_of(self, mask: Path) -> IndexMask:
        """Class ids [H, W] of a mask, not yet checked against photo and classes.

        Raises:
            LeopartError: the mask cannot be read, or is a picture in colours.
        """
        try:
            return self.read_ids(mask)
        except ColouredMaskError as error:
            raise error.for_classes(self.classes | self.ignored) from error

    def rows(self, ids: IndexMask) -> npt.NDArray[np.uint8]:
        """Replace class ids by their row in `classes` (0, 1, ...), as scores count them; the rest is 255.

        Args:
            ids: [H, W] from `read_mask`.

        Returns:
            [H, W] uint8.
        """
        table = np.full(max(*self.classes, *self.ignored, IGNORE) + 1, IGNORE, dtype=np.uint8)
        table[list(self.classes)] = np.arange(len(self.classes))
        return table[ids]

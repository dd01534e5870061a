"""The content of masks: whether they fit photos and classes, and how many pixels each class has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.data.datasets.presence import absent
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE, check_ids, check_mask_size
from leopart.data.photos import Photo, shown
from leopart.data.remapping import Remapped
from leopart.errors import LeopartError
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent

_ONE_ID = "hold no id but"


@dataclass(frozen=True)
class MaskFindings:
    """What reading masks has shown.

    Attributes:
        read: number of masks that were read.
        total: number of masks in the split.
        problems: kind of problem -> number of masks that have it, and the first complaint.
        shares: share of all pixels read by class, in [0, 1].
        photos: masks in which a class occurs, by class.
        unlabelled: share of pixels without a label.
        unlisted: pixels by id, for ids that are not classes and count as without a label.
        notes: what to know of the classes, one sentence each.
    """

    read: int
    total: int
    problems: dict[str, tuple[int, str]]
    shares: dict[str, float]
    photos: dict[str, int]
    unlabelled: float
    unlisted: dict[int, int]
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the masks fit, and hold at least two classes."""
        return not self.problems and not any(_ONE_ID in note for note in self.notes)


@dataclass(frozen=True)
class _Look:
    """One mask: pixels by row and by unlisted id, or a kind of problem and the complaint."""

    pixels: npt.NDArray[np.int64] | None = None
    unlisted: dict[int, int] | None = None
    kind: str = ""
    complaint: str = ""


def check_masks(labelled: LabelledPhotos, limit: int | None, *, track: Track = silent) -> MaskFindings:
    """Read masks and check that they fit their photos and the classes.

    Args:
        labelled: photos and masks; missing ones are skipped.
        limit: largest number of masks to read, spread over the set. None: all.
        track: progress, one step per mask.
    """
    there = _there(labelled)
    sample = there if limit is None else there.sample(limit)
    looks = ordered_map(lambda pair: _look(sample, *pair), sample.pairs, workers())
    pixels, photos = np.zeros((2, IGNORE + 1), np.int64)
    problems: dict[str, tuple[int, str]] = {}
    unlisted: Counter[int] = Counter()
    for look in track(looks, len(sample.pairs), "masks"):
        if look.pixels is None:
            count, first = problems.get(look.kind, (0, look.complaint))
            problems[look.kind] = (count + 1, first)
        else:
            pixels += look.pixels
            photos += look.pixels > 0
            unlisted.update(look.unlisted or {})
    total = max(int(pixels.sum()), 1)
    known = class_notes(labelled.classes, set(np.flatnonzero(pixels).tolist())) if pixels.any() else ()
    return MaskFindings(
        read=len(sample.pairs),
        total=len(there.pairs),
        problems=problems,
        shares={name: float(pixels[row]) / total for row, name in enumerate(labelled.classes.values())},
        photos={name: int(photos[row]) for row, name in enumerate(labelled.classes.values())},
        unlabelled=float(pixels[IGNORE]) / total,
        unlisted=dict(unlisted),
        notes=known,
    )


def class_notes(classes: Mapping[int, str], rows: Collection[int]) -> tuple[str, ...]:
    """What somebody who reads a score must know of the classes that occur: one sentence each.

    Args:
        classes: names by id, ids ascending.
        rows: the rows of `classes` that occur in the masks, and 255 if pixels without a label do.
    """
    absent_names = [shown(name) for row, name in enumerate(classes.values()) if row not in rows]
    if not absent_names:
        return ()
    some = ", ".join(absent_names[:5]) + (", ..." if len(absent_names) > 5 else "")
    never = f"{len(absent_names)} of the {len(classes)} classes never occur in the masks: {some}"
    present = [key for row, key in enumerate(classes) if row in rows]
    if len(present) > 1 or IGNORE not in rows:
        return (never,)
    only = f"the masks {_ONE_ID} {present[0] if present else 'at all'} and 255, and 255 means no label"
    remedy = "if 255 stands for a class, replace it by the id of that class"
    return never, f"{only}: {remedy}, as `leopart data convert --ids 255=1` does"


def _look(labelled: LabelledPhotos, photo: Photo, mask: Path) -> _Look:
    kind = "not readable as class ids"
    try:
        ids = labelled.ids_of(mask)
        kind = "ids outside the classes"
        check_ids(ids, mask, labelled.classes | labelled.ignored)
        kind = "another size than the photo"
        check_mask_size(ids, mask, photo.path)
    except LeopartError as error:
        return _Look(kind=kind, complaint=str(error))
    pixels = np.bincount(labelled.rows(ids).ravel(), minlength=IGNORE + 1)
    reader = labelled.read_ids
    if isinstance(reader, Remapped) and reader.advice is None:
        return _Look(pixels, reader.unlisted(mask))
    return _Look(pixels)


def _there(labelled: LabelledPhotos) -> LabelledPhotos:
    missing = {*absent(photo.path for photo, _ in labelled.pairs), *absent(m for _, m in labelled.pairs)}
    return replace(
        labelled, pairs=[(p, m) for p, m in labelled.pairs if p.path not in missing and m not in missing]
    )

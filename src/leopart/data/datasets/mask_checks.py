"""What is in the masks of a set: whether they fit, and how many pixels each class has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.data.datasets.presence import absent
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE, check_ids, check_mask_size
from leopart.data.photos import Photo
from leopart.data.remapping import Remapped
from leopart.errors import LeopartError
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent


@dataclass(frozen=True)
class MaskFindings:
    """What a look into masks found.

    Attributes:
        read: masks looked at.
        total: masks of the split that could have been.
        problems: kind of problem -> number of masks that have it, and the first complaint.
        shares: share of all pixels read by class, in [0, 1].
        photos: masks in which a class occurs, by class.
        unlabelled: share of pixels without a label.
        unlisted: pixels by id, of ids that are no class and were left without a label.
    """

    read: int
    total: int
    problems: dict[str, tuple[int, str]]
    shares: dict[str, float]
    photos: dict[str, int]
    unlabelled: float
    unlisted: dict[int, int]


@dataclass(frozen=True)
class _Look:
    """One mask: pixels by row and by unlisted id, or a kind of problem and the complaint."""

    pixels: npt.NDArray[np.int64] | None = None
    unlisted: dict[int, int] | None = None
    kind: str = ""
    complaint: str = ""


def check_masks(labelled: LabelledPhotos, limit: int | None, *, track: Track = silent) -> MaskFindings:
    """Read masks, and see whether they fit their photos and the classes.

    Args:
        labelled: photos and masks; those that are not there are left out.
        limit: how many masks are read at most, spread over the set. None: every one.
        track: progress, one step a mask.
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
    return MaskFindings(
        read=len(sample.pairs),
        total=len(there.pairs),
        problems=problems,
        shares={name: float(pixels[row]) / total for row, name in enumerate(labelled.classes.values())},
        photos={name: int(photos[row]) for row, name in enumerate(labelled.classes.values())},
        unlabelled=float(pixels[IGNORE]) / total,
        unlisted=dict(unlisted),
    )


def _look(labelled: LabelledPhotos, photo: Photo, mask: Path) -> _Look:
    kind = "not readable as class ids"
    try:
        ids = labelled.read_ids(mask)
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

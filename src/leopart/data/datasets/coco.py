"""COCO 2017 with coarse labels: 15 classes of stuff or 12 of things, splits `val`, `train` and `train10`.

| | the authors' layout | the stock download |
|---|---|---|
| photos | `coco/images/val2017/` | `val2017/` or `images/val2017/` |
| stuff | in `annotations/annotations/stuff_annotations/` | in `annotations/` |
| | `stuff_val2017_pixelmaps/` | `stuff_val2017_pixelmaps/` |
| things | in `annotations/panoptic_annotations/` | in `annotations/` |
| | `semantic_segmentation_val2017/` | `panoptic_val2017/` and `panoptic_val2017.json` |

Pixelmaps are index PNGs of COCO-Stuff's ids. Things come from the panoptic masks and their JSON, or from the
index PNGs that panopticapi's converter makes of them. `train10` is a tenth of `train`, see `tenth`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from leopart.data.datasets.coco_classes import NO_STUFF, PANOPTIC_STUFF, STUFF, THINGS, coarse, names
from leopart.data.datasets.panoptic import PanopticIds
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.presence import spelled
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import read_index_mask
from leopart.data.photos import Photo, find_photos
from leopart.data.remapping import Remapped
from leopart.errors import LeopartError
from leopart.paths import is_file, is_folder

SPLITS = {"val": 5_000, "train": 118_287, "train10": 11_829}
"""Photos of each split."""
_PHOTOS = ("images", "coco/images", "", "coco")
_LABELS = (
    *("annotations/annotations/stuff_annotations", "annotations/stuff_annotations"),
    *("annotations/annotations/panoptic_annotations", "annotations/panoptic_annotations"),
    *("annotations/annotations", "annotations", ""),
)
_STUFF_ADVICE = "take the pixelmaps of COCO-Stuff 2017, whose ids are 92 to 183, and 0"
_THING_ADVICE = "take COCO's panoptic masks, or what panopticapi makes of them without --things_other"


def photo_folder(path: Path, year: str) -> Path:
    """The folder of photos of `train2017` or `val2017`.

    Raises:
        LeopartError: there is none; the message names one that is near.
    """
    check_folder(path)
    if (found := _first(path, _PHOTOS, year)) is not None:
        return found
    places = ", ".join(f"{place}/{year}/".lstrip("/") for place in _PHOTOS)
    raise not_here(
        path,
        f"has none of the folders {places}",
        lambda other: _first(other, _PHOTOS, year) is not None,
        f"give the folder of COCO that holds {year}/, and unpack {year}.zip in it",
    )


def _first(path: Path, places: Sequence[str], name: str) -> Path | None:
    return next((path / place / name for place in places if is_folder(path / place / name)), None)


def list_stuff(path: Path, split: str) -> LabelledPhotos:
    """Photos with the 15 coarse classes of stuff; masks may be missing.

    Args:
        path: the folder of COCO, see the module.
        split: one of `SPLITS`.

    Raises:
        LeopartError: the folder of photos or of masks is missing.

    Source: Leopart, CVPR 2022, supplement. Things, unlabelled and `other` pixels are without a label.
    """
    year = _year(split)
    photos = photo_folder(path, year)
    if (masks := _stuff_masks(path, year)) is None:
        wanted = f"annotations/stuff_{year}_pixelmaps/"
        raise _no_masks(path, year, wanted, _stuff_masks, "stuff_annotations_trainval2017.zip")
    read = Remapped(read_index_mask, coarse(STUFF, frozenset(NO_STUFF)), _STUFF_ADVICE)
    pairs, notes = _pairs(photos, masks, split)
    return LabelledPhotos(path, names(STUFF), pairs, read_ids=read, notes=notes)


def list_things(path: Path, split: str) -> LabelledPhotos:
    """Photos with the 12 supercategories of things; masks may be missing.

    Args:
        path: the folder of COCO, see the module.
        split: one of `SPLITS`.

    Raises:
        LeopartError: the folder of photos or of masks is missing.

    Source: Leopart, CVPR 2022, supplement. Stuff and unlabelled pixels are without a label. Deviation:
    panoptic masks are read as they are where they are there; no conversion is needed.
    """
    year = _year(split)
    photos = photo_folder(path, year)
    if (found := _thing_masks(path, year)) is None:
        wanted = f"annotations/panoptic_{year}/ with panoptic_{year}.json"
        raise _no_masks(path, year, wanted, _thing_masks, "panoptic_annotations_trainval2017.zip")
    masks, read = found
    pairs, notes = _pairs(photos, masks, split)
    return LabelledPhotos(path, names(THINGS), pairs, read_ids=read, notes=notes)


def _stuff_masks(path: Path, year: str) -> Path | None:
    return _first(path, _LABELS, f"stuff_{year}_pixelmaps")


def _thing_masks(path: Path, year: str) -> tuple[Path, Remapped] | None:
    """The folder of masks, and how they are read."""
    classes = coarse(THINGS, PANOPTIC_STUFF | {0})
    name = f"panoptic_{year}"
    annotations = next((p for p in (path / place / f"{name}.json" for place in _LABELS) if is_file(p)), None)
    # Some unpack the inner archive into a folder of its name, and so get the folder twice.
    panoptic = _first(path, _LABELS, f"{name}/{name}") or _first(path, _LABELS, name)
    if panoptic is not None and annotations is not None:
        return panoptic, Remapped(PanopticIds(annotations), classes, _THING_ADVICE)
    for converted in ("semantic_segmentation", "semantic_segmenations"):  # the authors' text has the second
        if (masks := _first(path, _LABELS, f"{converted}_{year}")) is not None:
            return masks, Remapped(read_index_mask, classes, _THING_ADVICE)
    return None


def _no_masks(
    path: Path, year: str, wanted: str, find: Callable[[Path, str], object | None], archive: str
) -> LeopartError:
    def has_both(other: Path) -> bool:
        return _first(other, _PHOTOS, year) is not None and find(other, year) is not None

    return not_here(path, f"has no {wanted}", has_both, f"unpack {archive} there, and the archives in it")


def _year(split: str) -> str:
    return "val2017" if split == "val" else "train2017"


def _pairs(photos: Path, masks: Path, split: str) -> tuple[list[tuple[Photo, Path]], tuple[str, ...]]:
    found = {photo.name: photo for photo in find_photos([photos])}
    chosen = tenth(list(found)) if split == "train10" else list(found)
    notes: tuple[str, ...] = (f"masks from {masks.name}",)
    if split == "train10":
        how = "names sorted, shuffled with seed 400, the first tenth"
        notes += (f"{len(chosen)} of {len(found)} photos: {how}",)
    paths = spelled(masks, [PurePosixPath(name).with_suffix(".png").as_posix() for name in chosen])
    return [(found[name], path) for name, path in zip(chosen, paths, strict=True)], notes


def tenth(photos: Sequence[str], seed: int = 400) -> list[str]:
    """A tenth of the names, rounded up, the same on every machine: 11,829 of the 118,287 of train2017.

    Args:
        photos: names in any order.
        seed: of the shuffle.

    Returns:
        The chosen names, sorted.

    Source: Leopart, CVPR 2022, supplement. Deviation: the authors shuffle a listing in the file system's
    order, so that their tenth is another one on every machine, and round down.
    """
    shuffled = sorted(photos)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - no secret
    return sorted(shuffled[: math.ceil(len(shuffled) / 10)])

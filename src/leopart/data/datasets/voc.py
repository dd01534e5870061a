"""PASCAL VOC 2012: 21 classes, splits `train`, `trainaug`, `val` and `trainval`.

    the authors' layout                 the stock VOCdevkit
    VOCSegmentation/                    VOCdevkit/VOC2012/
        images/*.jpg                        JPEGImages/*.jpg
        sets/SPLIT.txt                      ImageSets/Segmentation/SPLIT.txt
        SegmentationClass/*.png             SegmentationClass/*.png
        SegmentationClassAug/*.png          SegmentationClassAug/*.png

Masks are palette PNGs of class ids; 255 is the border of objects, and objects too difficult to label.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from leopart.data.datasets.lists import read_list, require_different
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.presence import absent, nfc, spelled
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import READ_SUFFIXES, Photo, shown
from leopart.errors import LeopartError
from leopart.paths import is_file, is_folder

_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
CLASSES = dict(enumerate(_NAMES))
"""Names by id."""
SPLITS = {"val": 1_449, "train": 1_464, "trainaug": 10_582, "trainval": 2_913}
"""Photos of each split."""
_ROOTS = ("", "VOCSegmentation", "VOC2012", "VOCdevkit/VOC2012")
_PARTS = (("images", "sets"), ("JPEGImages", "ImageSets/Segmentation"))
_MASKS, _AUGMENTED = "SegmentationClass", "SegmentationClassAug"


@dataclass(frozen=True)
class VocFolder:
    """Where the parts of a PASCAL VOC 2012 are."""

    root: Path
    images: Path
    lists: Path

    def list_of(self, split: str) -> Path:
        """The text file that lists the photos of a split; it may not exist."""
        return self.lists / f"{split}.txt"

    def photos(self, split: str) -> list[Photo]:
        """The photos of a split in the order of its list, whether they exist or not.

        Raises:
            LeopartError: the list is missing or empty, or names a photo twice.
        """
        lines = read_list(self.list_of(split), "the name of one photo")
        there = {nfc(name) for name in _names(self.images)}
        stems = [_stem(line, there) for line in lines]
        require_different(stems, self.list_of(split))
        paths = spelled(self.images, [f"{stem}.jpg" for stem in stems])
        return [Photo(path, f"{stem}.jpg") for path, stem in zip(paths, stems, strict=True)]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths
    except OSError:  # its photos will be missing
        return []


def _stem(line: str, there: Container[str]) -> str:
    """Name of the photo on a line, without suffix.

    A line is a name, which may have spaces and dots; or a name and a flag (`2007_000032 -1`), or the paths of
    photo and mask. Where a line can be read in both ways, the photo that is there decides.
    """
    stems = [_without_suffix(PurePosixPath(text).name) for text in (line, line.split(maxsplit=1)[0])]
    return next((stem for stem in stems if f"{nfc(stem)}.jpg" in there), stems[-1])


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in READ_SUFFIXES else name


def find_voc(path: Path) -> VocFolder:
    """The PASCAL VOC 2012 in a folder, in either layout.

    Raises:
        LeopartError: there is none; the message names one that is near.
    """
    check_folder(path)
    if (found := _look(path)) is not None:
        return found
    needs = "is no PASCAL VOC 2012: it needs images/ and sets/, or JPEGImages/ and ImageSets/Segmentation/"
    raise not_here(path, needs, lambda other: _look(other) is not None, "give the folder that holds them")


def _look(path: Path) -> VocFolder | None:
    for root in (path / name for name in _ROOTS):
        for images, lists in _PARTS:
            found = VocFolder(root, root / images, root / lists)
            if is_folder(found.images) and any(is_file(found.list_of(split)) for split in SPLITS):
                return found
    return None


def list_voc(path: Path, split: str) -> LabelledPhotos:
    """The photos of a split, whether they and their masks exist or not.

    `trainaug` uses the masks of SegmentationClassAug. So does `train` if they exist, as in the authors' runs;
    otherwise it uses those of SegmentationClass, which `val` and `trainval` always use.

    Args:
        path: the folder that holds the set, see `find_voc`.
        split: one of `SPLITS`.

    Raises:
        LeopartError: there is no such set or list; `trainaug` lacks SegmentationClassAug.

    Source: Leopart, CVPR 2022, supplement; the authors' VOC data module.
    """
    voc = find_voc(path)
    if not is_file(voc.list_of(split)):
        there = [name for name in SPLITS if is_file(voc.list_of(name))]
        what = f"{shown(voc.list_of(split))} is not there, which lists the photos of the split {split}"
        raise LeopartError(f"{what}; add it, or choose --split {' or '.join(there)}")
    if split == "trainaug" and not is_folder(voc.root / _AUGMENTED):
        raise LeopartError(_no_augmented(voc))
    photos = voc.photos(split)
    pairs = list(zip(photos, _masks(voc, photos, split), strict=True))
    return LabelledPhotos(voc.root, CLASSES, pairs, notes=_notes(pairs))


def _masks(voc: VocFolder, photos: list[Photo], split: str) -> list[Path]:
    names = [f"{photo.name.removesuffix('.jpg')}.png" for photo in photos]
    augmented = spelled(voc.root / _AUGMENTED, names)
    official = spelled(voc.root / _MASKS, names)
    if split == "trainaug":
        return augmented
    if split != "train":
        return official
    missing = set(absent(augmented))
    return [b if a in missing else a for a, b in zip(augmented, official, strict=True)]


def _notes(pairs: list[tuple[Photo, Path]]) -> tuple[str, ...]:
    folders = Counter(mask.parent.name for _, mask in pairs)
    if len(folders) == 1:
        return (f"masks from {next(iter(folders))}",)
    return (f"masks from {' and '.join(f'{name} ({count})' for name, count in folders.items())}",)


def _no_augmented(voc: VocFolder) -> str:
    what = "the masks that the Semantic Boundaries Dataset adds to PASCAL VOC, as index PNGs"
    where = "http://home.bharathh.info/pubs/codes/SBD/download.html or the data of a DeepLab for PyTorch"
    return f"{shown(voc.root)} has no {_AUGMENTED}/, {what}; get them from {where}, or use --split train"

"""Photos to train on, in the layouts of published data sets. Labels are not read.

| `NAME:PATH` | photos |
|---|---|
| `folder:PATH` | all below PATH, or below `PATH/images` where that is a folder |
| `voc:PATH` | PASCAL VOC 2012, split `trainaug`, else `train`: the authors' layout or the stock VOCdevkit |
| `coco:PATH` | COCO `train2017` |
| `imagenet100:PATH` | `PATH/train/<wnid>` of the 100 classes that `PATH/imagenet100.txt` lists |
| `imagenet:PATH` | all of `PATH/train` |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from leopart.data.datasets.coco import photo_folder
from leopart.data.datasets.lists import read_list
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.presence import absent
from leopart.data.datasets.voc import find_voc
from leopart.data.photos import Photo, find_photos, shown
from leopart.errors import LeopartError
from leopart.paths import expanded, inside, is_file, is_folder

#: Number of images in the authors' runs; other numbers are accepted, with a note.
EXPECTED = {"imagenet100": 126_689, "coco": 118_287, "voc": 10_582, "imagenet": 1_281_167}


def training_photos(data: str) -> list[Photo]:
    """The photos of `NAME:PATH`, in natural order of their names.

    Args:
        data: see the module; a bare path is read as `folder:PATH`.

    Raises:
        LeopartError: the layout is unknown, or the folder does not have it; the message says what to do.

    Source: Leopart, CVPR 2022, supplement, data sets.
    """
    name, colon, rest = data.partition(":")
    if not colon or name not in LAYOUTS:
        if os.path.lexists(data):
            name, rest = "folder", data
        else:
            known = ", ".join(f"{layout}:PATH" for layout in LAYOUTS)
            raise LeopartError(f"--data {data} is none of {known}; write one of them")
    path = expanded(rest)
    if name != "folder":
        check_folder(path)
    return LAYOUTS[name](path)


def _folder(path: Path) -> list[Photo]:
    images = path / "images"
    return find_photos([images if is_folder(images) else path])


def _voc(path: Path) -> list[Photo]:
    voc = find_voc(path)
    split = next((name for name in ("trainaug", "train") if is_file(voc.list_of(name))), None)
    if split is None:
        raise LeopartError(f"{shown(voc.lists)} has neither trainaug.txt nor train.txt; add one of them")
    photos = voc.photos(split)
    missing = absent(photo.path for photo in photos)
    if missing:
        lists = f"the {len(photos)} photos that {shown(voc.list_of(split))} lists"
        first = f"the first {shown(missing[0])}"
        raise LeopartError(f"{len(missing)} of {lists} are not there, {first}; copy the data set again")
    return photos


def _coco(path: Path) -> list[Photo]:
    return find_photos([path if path.name == "train2017" else photo_folder(path, "train2017")])


def _imagenet(path: Path) -> list[Photo]:
    if not _holds_train(path):
        advice = "give the folder of ImageNet that holds it"
        raise not_here(path, "has no folder train/", _holds_train, advice)
    return find_photos([path / "train"])


def _holds_train(path: Path) -> bool:
    return is_folder(path / "train")


def _imagenet100(path: Path) -> list[Photo]:
    if not _holds_list(path):
        wanted = "write the 100 class folders into it, one a line (first: n02869837)"
        raise not_here(path, "has no imagenet100.txt", _holds_list, wanted)
    listing = path / "imagenet100.txt"
    classes = [line.split()[0] for line in read_list(listing, "the name of one class folder")]
    folders = [inside(path / "train", name, listing) for name in classes]
    missing = [folder for folder in folders if not is_folder(folder)]
    if missing:
        first = f"the first {shown(missing[0])}"
        count = f"{len(missing)} of the {len(classes)} classes of {shown(listing)} have no folder, {first}"
        raise LeopartError(f"{count}; give the folder of ImageNet that holds train/, or unpack them there")
    return _joined(folders)


def _holds_list(path: Path) -> bool:
    return is_file(path / "imagenet100.txt")


def _joined(folders: Sequence[Path]) -> list[Photo]:
    """Photos of several folders; one folder would be named without its own name."""
    if len(folders) > 1:
        return find_photos(folders)
    return [Photo(photo.path, f"{folders[0].name}/{photo.name}") for photo in find_photos(folders)]


LAYOUTS: dict[str, Callable[[Path], list[Photo]]] = {
    "folder": _folder,
    "voc": _voc,
    "coco": _coco,
    "imagenet100": _imagenet100,
    "imagenet": _imagenet,
}
"""Functions from a path to photos, by the name before the colon."""

"""Photos to train on, in the layouts they come in; no label is looked at.

| `NAME:PATH` | photos |
|---|---|
| `folder:PATH` | all below PATH, or below `PATH/images` where that is a folder |
| `voc:PATH` | PASCAL VOC 2012, split `trainaug`, else `train`: the authors' layout or the stock VOCdevkit |
| `coco:PATH` | COCO `train2017` |
| `imagenet100:PATH` | `PATH/train/<wnid>` of the 100 classes that `PATH/imagenet100.txt` lists |
| `imagenet:PATH` | all of `PATH/train` |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from leopart.data.photos import Photo, find_photos, shown
from leopart.errors import LeopartError

#: Images that the authors' runs counted; others train as well, with a note.
EXPECTED = {"imagenet100": 126_689, "coco": 118_287, "voc": 10_582, "imagenet": 1_281_167}


def training_photos(data: str) -> list[Photo]:
    """The photos that `NAME:PATH` means, in natural order of their names.

    Args:
        data: see the module; a path alone is a `folder:`.

    Raises:
        LeopartError: there is no such layout, or the folder does not have it; says what to do.

    Source: spec/leopart-facts.md 1.1 and 8.
    """
    name, colon, rest = data.partition(":")
    if not colon or name not in LAYOUTS:
        if Path(data).exists():
            name, rest = "folder", data
        else:
            known = ", ".join(f"{layout}:PATH" for layout in LAYOUTS)
            raise LeopartError(f"--data {data} is none of {known}; write one of them")
    path = Path(rest).expanduser()
    if not path.is_dir() and name != "folder":
        raise LeopartError(f"there is no folder {shown(path)}; check the path in --data")
    return LAYOUTS[name](path)


def _folder(path: Path) -> list[Photo]:
    images = path / "images"
    return find_photos([images if images.is_dir() else path])


def _voc(path: Path) -> list[Photo]:
    for root in (path, path / "VOCSegmentation", path / "VOC2012", path / "VOCdevkit" / "VOC2012"):
        for images, lists in (("images", "sets"), ("JPEGImages", "ImageSets/Segmentation")):
            for split in ("trainaug", "train"):
                file = root / lists / f"{split}.txt"
                if file.is_file() and (root / images).is_dir():
                    return _listed(root / images, file)
    wanted = (
        "images/ and sets/trainaug.txt, or JPEGImages/ and ImageSets/Segmentation/trainaug.txt (or train.txt)"
    )
    raise LeopartError(
        f"{shown(path)} is no PASCAL VOC 2012: it needs {wanted}; give the folder that holds them"
    )


def _listed(images: Path, file: Path) -> list[Photo]:
    stems = [line.split()[0] for line in file.read_text("utf-8").splitlines() if line.strip()]
    found = {Path(photo.name).stem: photo for photo in find_photos([images])}
    missing = [stem for stem in stems if stem not in found]
    if missing:
        count = f"{len(missing)} of the {len(stems)} photos that {shown(file)} lists, the first {missing[0]}"
        raise LeopartError(f"{shown(images)} lacks {count}; copy the data set again")
    return [found[stem] for stem in stems]


def _coco(path: Path) -> list[Photo]:
    places = ("images/train2017", "coco/images/train2017", "train2017")
    for place in places:
        if (path / place).is_dir():
            return find_photos([path / place])
    if path.name == "train2017":
        return find_photos([path])
    message = (
        f"{shown(path)} has no {' and no '.join(places)}; give the folder of COCO that holds images/train2017"
    )
    raise LeopartError(message)


def _imagenet(path: Path) -> list[Photo]:
    if not (path / "train").is_dir():
        raise LeopartError(f"{shown(path)} has no folder train/; give the folder of ImageNet that holds it")
    return find_photos([path / "train"])


def _imagenet100(path: Path) -> list[Photo]:
    listing = path / "imagenet100.txt"
    if not listing.is_file():
        wanted = "write the 100 class folders into it, one a line (first: n02869837)"
        raise LeopartError(f"there is no {shown(listing)}; {wanted}")
    classes = [line.split()[0] for line in listing.read_text("utf-8").splitlines() if line.strip()]
    folders = [path / "train" / name for name in classes]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        message = (
            f"{len(missing)} of the {len(classes)} classes of {shown(listing)} have no folder, the first "
            f"{shown(missing[0])}; give the folder of ImageNet that holds train/"
        )
        raise LeopartError(message)
    return _joined(folders)


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

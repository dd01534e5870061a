"""Labelled data sets, opened by name: `leopart.datasets.voc("/data/VOC2012")`.

Each is a sequence of photos and masks, `photo, mask = found[0]`, and what `leopart.evaluate` takes as data.
The layouts are those of `leopart data list`.
"""

from __future__ import annotations

from pathlib import Path

from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos

__all__ = ["ade20k_parts", "coco_stuff", "coco_thing", "folder", "voc"]


def folder(path: str | Path, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """A folder with `images/`, `masks/` (index PNGs) and `classes.txt`, or a run whose parts have names.

    Args:
        path: the folder.
        masks: `NAME` for `masks_NAME/` and `classes_NAME.txt`.
        split: a list of photos, such as "val" for `val.txt`; None = all.

    Raises:
        LeopartError: something is missing; as for all of these functions.
    """
    return labelled_photos(f"folder:{path}", masks, split)


def voc(path: str | Path, split: str = "val") -> LabelledPhotos:
    """PASCAL VOC 2012, 21 classes; splits `val`, `train`, `trainaug`, `trainval`."""
    return labelled_photos(f"voc:{path}", split=split)


def coco_stuff(path: str | Path, split: str = "val") -> LabelledPhotos:
    """COCO 2017 with 15 classes of stuff; splits `val`, `train`, `train10`."""
    return labelled_photos(f"coco-stuff:{path}", split=split)


def coco_thing(path: str | Path, split: str = "val") -> LabelledPhotos:
    """COCO 2017 with 12 classes of things; splits `val`, `train`, `train10`."""
    return labelled_photos(f"coco-thing:{path}", split=split)


def ade20k_parts(path: str | Path) -> LabelledPhotos:
    """ADE20K's street scenes with 111 parts."""
    return labelled_photos(f"ade20k-parts:{path}")

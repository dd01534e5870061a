"""Labelled photos to score on, by `NAME:PATH`.

| `NAME:PATH` | photos and classes | splits |
|---|---|---|
| `folder:PATH` | index PNGs and a list of classes, see `folder` | all, or a list |
| `voc:PATH` | PASCAL VOC 2012, 21 classes, see `voc` | `val`, `train`, `trainaug`, `trainval` |
| `coco-stuff:PATH` | COCO 2017, 15 classes of stuff, see `coco` | `val`, `train`, `train10` |
| `coco-thing:PATH` | COCO 2017, 12 classes of things, see `coco` | `val`, `train`, `train10` |
| `ade20k-parts:PATH` | ADE20K, 111 parts in street scenes, see `ade20k` | `street` |
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from leopart.data.datasets import coco, voc
from leopart.data.datasets.ade20k import EXPECTED, list_ade20k_parts
from leopart.data.datasets.folder import list_folder
from leopart.data.datasets.presence import require_files
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import shown
from leopart.errors import LeopartError
from leopart.paths import expanded

_READERS: dict[str, Callable[[Path, str], LabelledPhotos]] = {
    "voc": voc.list_voc,
    "coco-stuff": coco.list_stuff,
    "coco-thing": coco.list_things,
    "ade20k-parts": lambda path, _split: list_ade20k_parts(path),
}
SPLITS = {
    "voc": voc.SPLITS,
    "coco-stuff": coco.SPLITS,
    "coco-thing": coco.SPLITS,
    "ade20k-parts": {"street": EXPECTED},
}
"""Number of photos in each split; the first split is the default."""
LAYOUTS = ("folder", *_READERS)
"""The names before the colon."""


def labelled_photos(data: str, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """The labelled set named by `NAME:PATH`; a bare path is read as `folder:PATH`.

    Args:
        data: see the module for the names.
        masks: which masks, see `open_folder`; the other sets have one kind.
        split: which photos. None: all of a folder, the first of the `SPLITS` of another set.

    Raises:
        LeopartError: the layout is unknown, or the folder does not have it; the message says what to do.
    """
    return require_files(listed_photos(data, masks, split))


def listed_photos(data: str, masks: str = "masks", split: str | None = None) -> LabelledPhotos:
    """Like `labelled_photos`, but photos and masks may be missing."""
    name, path = parse_data(data)
    check_choice(name, masks, split)
    if name == "folder":
        return list_folder(path, masks, split)
    return _READERS[name](path, next(iter(SPLITS[name])) if split is None else split)


def check_choice(name: str, masks: str, split: str | None) -> None:
    """Check that a data set can have these masks and this split.

    Raises:
        LeopartError: it has other splits, or only one kind of masks.
    """
    if name == "folder":
        return
    if masks != "masks":
        only = f"is for folder:PATH, and {name} has one kind of masks"
        raise LeopartError(f"--masks {shown(masks)} {only}; leave it out")
    splits = SPLITS.get(name, {})
    if split is not None and split not in splits:
        advice = f"choose --split {' or '.join(splits)}" if splits else "leave --split out"
        raise LeopartError(f"{name} has no split {shown(split)}; {advice}")


def parse_data(data: str) -> tuple[str, Path]:
    """Name and path of `NAME:PATH`; a bare path is read as `folder:PATH`.

    Raises:
        LeopartError: there is no such layout.
    """
    name, colon, rest = data.partition(":")
    if not colon or name not in LAYOUTS:
        if not os.path.lexists(data):
            known = " or ".join(f"{layout}:PATH" for layout in LAYOUTS)
            raise LeopartError(f"--data {shown(data)} is no labelled set; write {known}")
        name, rest = "folder", data
    return name, expanded(rest)

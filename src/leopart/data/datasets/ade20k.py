"""Parts in the street scenes of the full ADE20K: 111 classes in 1,983 photos.

    PATH/ADE20K_2021_17_01/
        index_ade20k.pkl                                    which photos there are, and what is in them
        images/ADE/training/urban/street/NAME.jpg           a photo
        images/ADE/training/urban/street/NAME_parts_1.png   its parts: class = (red // 10) * 256 + green

PATH may also be the folder that holds the index. Pixels without a part are without a label, and so are parts
that are none of the 111 classes.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from leopart.data.datasets.ade20k_classes import PARTS
from leopart.data.datasets.places import check_folder, not_here
from leopart.data.datasets.plain_pickle import read_plain_pickle
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE, IndexMask, read_colour_mask
from leopart.data.photos import Photo, shown
from leopart.data.remapping import Remapped
from leopart.errors import LeopartError
from leopart.paths import inside, is_file

EXPECTED = 1_983
"""Photos that the paper scores."""
MAX_INDEX = 27_258
"""The authors look at so many photos of the index: the last 316 of validation are never looked at."""
_RELEASE = "ADE20K_2021_17_01"
_INDEX = "index_ade20k.pkl"
_SCENE = "/street"


def read_part_ids(path: Path) -> IndexMask:
    """Read a `_parts_N.png` or `_seg.png` of ADE20K as class ids [H, W], int32, 0 where there is none.

    Raises:
        LeopartError: the file cannot be read, or has no colours.

    Source: ADE20K's own reader; blue numbers the instances and is left out.
    """
    colours = read_colour_mask(path).astype(np.int32)
    return colours[..., 0] // 10 * 256 + colours[..., 1]


READ_PARTS = Remapped(read_part_ids, {0: IGNORE} | {part: number for number, part in enumerate(PARTS)})
"""Reads a mask of parts as classes 0 to 110; other parts are without a label."""


def list_ade20k_parts(path: Path, max_index: int | None = MAX_INDEX) -> LabelledPhotos:
    """Street scenes with parts, in the order of the index, whether their files are there or not.

    Args:
        path: the folder that holds the release, or the release itself.
        max_index: how many photos of the index are looked at, in its order. None: all.

    Raises:
        LeopartError: there is no index, or it is not that of the release.

    Source: Leopart, CVPR 2022, supplement; README of ADE20K. Deviation: parts outside the list are
    without a label, where the authors' program ends with an error.
    """
    index_file = _find_index(path)
    index = _columns(index_file)
    total = len(index["filename"]) if max_index is None else max_index
    with_parts = np.asarray(index["objectIsPart"])[:, :total].sum(axis=0) > 0
    chosen = [i for i in np.flatnonzero(with_parts) if index["scene"][i] == _SCENE]
    pairs = [_pair(index_file, str(index["folder"][i]), str(index["filename"][i])) for i in chosen]
    classes = dict(enumerate(PARTS.values()))
    return LabelledPhotos(index_file.parent, classes, pairs, read_ids=READ_PARTS, notes=_notes(len(pairs)))


def _find_index(path: Path) -> Path:
    check_folder(path)
    for file in (path / _INDEX, path / _RELEASE / _INDEX):
        if is_file(file):
            return file
    raise not_here(
        path,
        f"is no full ADE20K: it has no {_RELEASE}/{_INDEX}",
        lambda other: is_file(other / _RELEASE / _INDEX) or is_file(other / _INDEX),
        "give the folder that holds the release, not the smaller set of the scene parsing challenge",
    )


def _columns(file: Path) -> dict[str, Any]:
    """The columns that are used, of equal length."""
    index = read_plain_pickle(file)
    wanted = ("filename", "folder", "scene", "objectIsPart")
    if not isinstance(index, dict) or (missing := [name for name in wanted if name not in index]):
        what = f"no columns {', '.join(missing)}" if isinstance(index, dict) else "no columns"
        raise LeopartError(f"{shown(file)} has {what}; copy it again from the release {_RELEASE}")
    texts = {name: _texts(index[name]) for name in wanted[:3]}
    table = index["objectIsPart"]
    numbers = isinstance(table, np.ndarray) and table.dtype.kind in "buif"
    shape: tuple[int, ...] = table.shape if numbers else ()
    count = len(texts["filename"])
    if {len(column) for column in texts.values()} != {count} or len(shape) != 2 or shape[1] != count:
        sizes = f"{count} file names and a table of parts of shape {shape}"
        raise LeopartError(f"{shown(file)} has {sizes}, which do not fit; copy it again from the release")
    return {**texts, "objectIsPart": table}


def _texts(column: Any) -> list[str]:
    """A column of text; empty where it is none, so that it does not fit the others."""
    items = column.tolist() if isinstance(column, np.ndarray) and column.ndim == 1 else column
    right = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return items if right else []


def _pair(index: Path, folder: str, name: str) -> tuple[Photo, Path]:
    release = index.parent
    # The column begins with the release's own name, which the folder on disk need not have.
    place = PurePosixPath(*PurePosixPath(folder).parts[1:])
    photo = inside(release, (place / name).as_posix(), index)
    below = photo.relative_to(release / "images") if photo.is_relative_to(release / "images") else Path(name)
    return Photo(photo, shown(below.as_posix())), photo.with_name(f"{photo.stem}_parts_1.png")


def _notes(count: int) -> tuple[str, ...]:
    notes = (f"{count} street scenes with parts, level 1; parts outside the 111 classes are without a label",)
    if count == EXPECTED:
        return notes
    why = f"they are what the first {MAX_INDEX:,} photos of the index of {_RELEASE} give"
    return (*notes, f"the paper scores {EXPECTED:,} photos, not {count:,}; {why}")

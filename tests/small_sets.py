"""Data sets in their published layouts, with photos of a few pixels."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (6, 4)  # width and height of every photo


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, "red").save(path)
    return path


def index(path: Path, ids: Any) -> Path:
    """An index PNG; one number fills it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(np.asarray(ids, np.uint8), SIZE[::-1]).copy()).save(path)
    return path


def colours(path: Path, values: Any) -> Path:
    """A PNG in colours; one colour fills it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(np.asarray(values, np.uint8), (*SIZE[::-1], 3)).copy()).save(path)
    return path


VOC_PARTS = {"authors": ("images", "sets"), "stock": ("JPEGImages", "ImageSets/Segmentation")}
VOC_LISTS = {
    "train": ["2007_01", "2007_02"],
    "val": ["2007_03"],
    "trainaug": ["2007_01", "2007_02", "2008_04"],
}


def voc(root: Path, layout: str = "authors", lists: dict[str, list[str]] = VOC_LISTS) -> Path:
    """PASCAL VOC: official masks hold class 1, those of SegmentationClassAug class 2, of `trainaug` alone."""
    images, sets = VOC_PARTS[layout]
    for split, stems in lists.items():
        (root / sets).mkdir(parents=True, exist_ok=True)
        (root / sets / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            photo(root / images / f"{stem}.jpg")
            if split == "trainaug":
                index(root / "SegmentationClassAug" / f"{stem}.png", 2)
            else:
                index(root / "SegmentationClass" / f"{stem}.png", 1)
    return root


COCO_PLACES = {
    "authors": (
        "coco/images",
        "annotations/annotations/stuff_annotations",
        "annotations/panoptic_annotations",
    ),
    "stock": ("", "annotations", "annotations"),
    "images": ("images", "annotations", "annotations"),
}
STUFF_ROW = (0, 95, 181, 183, 255, 124)  # -> none, building, window, none, none, plant
THING_ROW = (0, 1, 9, 92, 200, 90)  # -> none, person, vehicle, none, none, indoor


def coco(root: Path, layout: str = "stock", things: str = "panoptic", val: int = 3, train: int = 21) -> Path:
    """COCO 2017; `things`: panoptic (PNGs and JSON), or the name of a folder of converted masks."""
    images, stuff, panoptic = (root / place for place in COCO_PLACES[layout])
    for year, count in (("val2017", val), ("train2017", train)):
        names = [f"{number:012d}" for number in range(1, count + 1)]
        for name in names:
            photo(images / year / f"{name}.jpg")
            index(stuff / f"stuff_{year}_pixelmaps" / f"{name}.png", [STUFF_ROW] * 4)
            if things == "panoptic":
                colours(panoptic / f"panoptic_{year}" / f"{name}.png", segment_colours(THING_ROW))
            else:
                index(panoptic / f"{things}_{year}" / f"{name}.png", [THING_ROW] * 4)
        if things == "panoptic":
            write_panoptic(panoptic / f"panoptic_{year}.json", names, [c for c in THING_ROW if c])
    return root


def segment_of(category: int) -> int:
    """A segment id that needs all three channels; 0 stays 0."""
    return category and 65536 * category + 256 * (category + 3) + category + 5


def segment_colours(categories: Sequence[int]) -> np.ndarray:
    ids = np.array([segment_of(category) for category in categories])
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1)[None]


def write_panoptic(path: Path, names: Iterable[str], categories: Sequence[int]) -> Path:
    segments = [
        {"id": segment_of(c), "category_id": c, "iscrowd": 0, "bbox": [0, 0, 1, 4], "area": 4}
        for c in categories
    ]
    content = {
        "info": {"year": 2017},
        "images": [{"id": int(name), "file_name": f"{name}.jpg"} for name in names],
        "annotations": [
            {"image_id": int(name), "file_name": f"{name}.png", "segments_info": segments} for name in names
        ],
        "categories": [{"id": 1, "name": "person", "supercategory": "person", "isthing": 1}],
    }
    path.write_text(json.dumps(content))
    return path


ADE = "ADE20K_2021_17_01"
STREET = f"{ADE}/images/ADE/training/urban/street"


def ade20k(root: Path, rows: Sequence[tuple[str, int]] = (("/street", 2),) * 3, arrays: bool = False) -> Path:
    """Full ADE20K: a photo for each scene and number of parts; masks of a window, a wheel and no part."""
    names = [f"ADE_train_{number:08d}" for number in range(1, len(rows) + 1)]
    parts = np.zeros((5, len(rows)))
    parts[1] = [count for _, count in rows]
    columns: dict[str, Any] = {
        "filename": [f"{name}.jpg" for name in names],
        "folder": [STREET] * len(names),
        "scene": [scene for scene, _ in rows],
    }
    if arrays:
        columns = {name: np.array(values) for name, values in columns.items()}
    for name in names:
        photo(root / STREET / f"{name}.jpg")
        row = [part_colour(part) for part in (0, 3050, 3035, 50, 3154, 1)]  # the last is no class
        colours(root / STREET / f"{name}_parts_1.png", [row])
    index = columns | {"objectIsPart": parts, "objectnames": ["a", "b"], "description": {"scene": "where"}}
    (root / ADE / "index_ade20k.pkl").write_bytes(pickle.dumps(index))
    return root


def part_colour(part: int) -> tuple[int, int, int]:
    return part // 256 * 10, part % 256, 7

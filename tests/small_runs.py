"""A run in miniature: photos and masks with holes, single pixels, touching classes and odd names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.drawing.masks import save_mask
from leopart.export.masks.export import ExportedMasks, export_masks
from leopart.export.masks.writer import MaskOptions

NAMES = {1: "shirt", 2: "sky: clear", 5: "Tür"}
COLOURS = {1: (200, 100, 50), 2: (20, 120, 220), 5: (200, 100, 50)}  # the last has the first's


def drawn() -> dict[str, np.ndarray]:
    """Masks by the name of their photo."""
    holes = np.zeros((40, 60), np.uint8)
    holes[4:30, 5:40] = 1
    holes[8:12, 8:14] = 0  # a hole
    holes[9:11, 10:12] = 1  # an island in it
    holes[15, 20] = 0  # a hole of one pixel
    holes[16, 21] = 0  # that touches another at its corner
    holes[20:25, 25:30] = 2  # another class inside
    holes[22, 27] = 5
    holes[10:20, 40:50] = 2  # touches
    holes[35, 3] = holes[39, 59] = 5  # single pixels
    holes[36, 10:12] = 1  # two pixels
    edges = np.full((33, 47), 2, np.uint8)
    edges[0, 0] = edges[32, 46] = 0
    edges[np.arange(5, 20), np.arange(5, 20)] = 1  # a diagonal line
    noise = np.random.default_rng(0).choice(np.array([0, 1, 2, 5], np.uint8), (25, 31))
    return {
        "cat.jpg": holes,
        "trip/summer 1/große Kuh.png": edges,
        "trip/noise.JPG": noise,
        "images/empty.png": np.zeros((7, 9), np.uint8),
    }


class MadeRun:
    """A folder as `leopart segment` and `leopart label` leave it, as far as exports look at it."""

    def __init__(self, root: Path) -> None:
        self.photos, self.out = root / "photos", root / "OUT"
        self.masks: dict[str, np.ndarray] = {}
        self.entries: list[dict[str, object]] = []
        self.palette = np.zeros((6, 3), np.uint8)
        for number, colour in COLOURS.items():
            self.palette[number] = colour
        (self.out / "labels").mkdir(parents=True)
        self.write_names(NAMES)

    def write_names(self, names: dict[int, str]) -> None:
        lines = [f"{number}\t{name}\n" for number, name in ({0: "background"} | names).items()]
        (self.out / "classes.txt").write_text("".join(lines), "utf-8")

    def add(self, name: str, ids: np.ndarray, save: Callable[[Path], None] | None = None) -> None:
        """A photo of random pixels and its mask."""
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if save is None:
            pixels = np.random.default_rng(len(self.entries)).integers(0, 256, (*ids.shape, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            save(path)
        stem = name.rpartition(".")[0]
        save_mask(self.out / "labels" / f"{stem}.png", ids, self.palette)
        self.masks[name] = ids
        status = path.stat()
        height, width = ids.shape
        entry = {"name": name, "path": str(path), "mask": stem, "width": width, "height": height}
        self.entries.append(entry | {"bytes": status.st_size, "modified": status.st_mtime_ns})
        self.write_list()

    def write_list(self) -> None:
        text = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        (self.out / "photos.jsonl").write_text(text, "utf-8")

    def export(self, form: str, folder: Path, **options: object) -> ExportedMasks:
        return export_masks(self.out, form, folder, MaskOptions(**({"what": "labels"} | options)))


def real_run(root: Path, data: Path, number: int = 60) -> MadeRun:
    """A run of photos of a labelled set in the layout `folder:`; their classes are made three."""
    if not data.is_dir():
        pytest.skip(f"no {data.name} here; set LEOPART_DATA to the folder that holds it")
    run = MadeRun(root)
    for photo in sorted((data / "images").iterdir())[:number]:
        ids = np.asarray(Image.open(data / "masks" / f"{photo.stem}.png"))
        some = np.array([0, *NAMES], np.uint8)[ids % 4]
        run.add(photo.name, some, lambda path, photo=photo: shutil.copyfile(photo, path))
    return run


def small_run(root: Path) -> MadeRun:
    """A run of the photos above."""
    run = MadeRun(root)
    for name, ids in drawn().items():
        run.add(name, ids)
    return run

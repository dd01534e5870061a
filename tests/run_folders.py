"""A run's folder as small as it can be: photos of noise, part masks of rectangles, a segmenter's card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from leopart.data.photo_list import PhotoEntry, write_photo_list
from leopart.drawing.masks import save_mask
from leopart.drawing.palette import colours

PARTS, OBJECTS = 6, 2
OBJECT_OF_PART = np.array([0, 1, 1, 1, 2, 2, 2])


def make_run(
    folder: Path, photos: int = 6, size: tuple[int, int] = (120, 160), names: tuple[str, ...] = ()
) -> Path:
    """OUT with `photos` photos of [H, W] `size`; parts 1 to 6 are a grid of 2 x 3 in the middle.

    Part 6 is in the even photos alone. Objects 1 and 2 are the upper and the lower row.
    """
    out, height, width = folder / "OUT", *size
    rng = np.random.default_rng(0)
    entries = []
    for index in range(photos):
        name = names[index] if index < len(names) else f"photo {index:04}.jpg"
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tint = rng.integers(40, 200, 3)
        pixels = np.clip(tint + rng.normal(0, 12, (height, width, 1)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, format="JPEG")
        parts = np.zeros(size, np.int32)
        for part in range(1, PARTS + 1):
            row, column = divmod(part - 1, 3)
            top, left = height // 6 + row * height // 3, width // 8 + column * width // 4
            parts[top : top + height // 3, left : left + width // 4 - index % 5] = part
        if index % 2:
            parts[parts == 6] = 0
        stem = f"mask{index:04}"
        save_mask(out / "parts" / f"{stem}.png", parts, colours(PARTS + 1))
        save_mask(out / "objects" / f"{stem}.png", OBJECT_OF_PART[parts], colours(OBJECTS + 1))
        entries.append(PhotoEntry.of(name, path, stem, size))
    write_photo_list(out, entries)
    segmenter = out / "segmenter"
    segmenter.mkdir()
    save_file({"parts.centroids": np.eye(PARTS, dtype=np.float32)}, segmenter / "arrays.safetensors")
    objects = [{"id": 1, "parts": [1, 2, 3]}, {"id": 2, "parts": [4, 5, 6]}]
    card = {
        "arrays sha256": "0" * 64,
        "parts": PARTS,
        "objects": objects,
        "tree": [{"scene": 1, "objects": objects}],
    }
    (segmenter / "segmenter.json").write_text(json.dumps(card))
    summary = {"counts": {"photos": photos, "parts": PARTS, "objects": OBJECTS}}
    (out / "summary.json").write_text(json.dumps(summary))
    return out

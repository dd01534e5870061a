"""Make the pictures of tuning.md: the same photos segmented with other settings.

    python docs/make_tuning_pictures.py DEMO

DEMO is what `leopart demo --out DEMO` has written. Takes a few minutes. Writes `docs/images/tuning-NAME.jpg`:
a row for each setting, with a column for each photo.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from leopart.config import SegmentConfig
from leopart.drawing.masks import jpeg
from leopart.files import whole_file
from leopart.segment.photos_to_masks import segment_photos

TARGET = Path(__file__).parent / "images"
PHOTOS = ("astronaut", "grace_hopper", "coffee", "chelsea", "rocket")
#: Picture -> text of each row -> options of `leopart segment`.
PICTURES: dict[str, dict[str, dict[str, Any]]] = {
    "parts": {f"--parts {number}": {"parts": number} for number in (10, 25, 64)},
    "foreground": {
        "--foreground none": {"foreground": "none"},
        "--foreground 0.2": {"foreground": 0.2},
        "auto": {},
        "--foreground 0.7": {"foreground": 0.7},
    },
    "adapt": {
        "as it is": {},
        "--refine": {"refine": True},
        "--adapt 2 --refine": {"adapt": 2.0, "refine": True},
    },
}
_TILE, _GAP, _LABEL = (200, 150), 6, 176


def main(demo: Path) -> int:
    """Segment with every setting, and compose a picture for each question."""
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in PICTURES.items():
            overlays = {text: _segment(demo, Path(folder), options) for text, options in rows.items()}
            with whole_file(TARGET / f"tuning-{name}.jpg") as file:
                file.write(jpeg(_compose(overlays), quality=84))
    return 0


def _segment(demo: Path, folder: Path, options: Mapping[str, Any]) -> Path:
    """Folder of the overlays with these options."""
    out = folder / "-".join(f"{name}={value}" for name, value in options.items() or {"auto": ""}.items())
    features = folder / ("adapted" if "adapt" in options else "features")
    segment_photos(SegmentConfig(images=(demo / "sample-photos",), out=out, features=features, **options))
    return out / "overlays"


def _compose(rows: Mapping[str, Path]) -> np.ndarray:
    width = _LABEL + len(PHOTOS) * (_TILE[0] + _GAP) + _GAP
    page = Image.new("RGB", (width, len(rows) * (_TILE[1] + _GAP) + _GAP), (247, 246, 242))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(17)
    for row, (text, overlays) in enumerate(rows.items()):
        top = _GAP + row * (_TILE[1] + _GAP)
        draw.text((_GAP * 2, top + _TILE[1] // 2), text, fill=(45, 45, 50), font=font, anchor="lm")
        for column, photo in enumerate(PHOTOS):
            picture = Image.open(overlays / f"{photo}.jpg")
            side = min(picture.width / _TILE[0], picture.height / _TILE[1])
            left, above = (picture.width - side * _TILE[0]) / 2, (picture.height - side * _TILE[1]) / 3
            box = (left, above, left + side * _TILE[0], above + side * _TILE[1])
            tile = picture.resize(_TILE, Image.Resampling.LANCZOS, box=box)
            page.paste(tile, (_LABEL + column * (_TILE[0] + _GAP), top))
    return np.asarray(page)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

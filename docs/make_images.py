"""Make the picture of the README from the output of `leopart demo`.

    python docs/make_images.py DEMO

DEMO is the folder that `leopart demo --out DEMO` has filled. Writes `docs/images/demo.jpg`: a column per
photo, below it the same photo with its parts and with its objects, on a card that shows on any background.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from leopart.data.images import load_photo
from leopart.data.masks import read_index_mask
from leopart.drawing.masks import jpeg, overlay
from leopart.drawing.palette import colours, part_colours
from leopart.files import whole_file

#: File in DEMO/photos, and the centre of the square that is shown, as fractions of width and height.
PHOTOS = (
    ("astronaut.png", 0.5, 0.5),
    ("grace_hopper.jpg", 0.5, 0.4),
    ("china-tower.png", 0.5, 0.5),
    ("coffee-cup.png", 0.5, 0.5),
    ("flower-blossom.png", 0.5, 0.5),
    ("rocket-pad.png", 0.5, 0.5),
)
TARGET = Path(__file__).parent / "images" / "demo.jpg"

_TILE, _GAP, _MARGIN, _LABEL = 208, 8, 16, 92
_CARD, _INK = (247, 246, 242), (45, 45, 50)


def main(demo: Path) -> int:
    """Compose and write the picture."""
    card = json.loads((demo / "segmenter" / "segmenter.json").read_text(encoding="utf-8"))
    palettes = part_colours(_object_of_part(card)), colours(len(card["objects"]) + 1)
    columns = [_column(demo, name, x, y, palettes) for name, x, y in PHOTOS]
    with whole_file(TARGET) as file:
        file.write(jpeg(_compose(columns), quality=86))
    sys.stdout.write(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB\n")
    return 0


def _column(
    demo: Path, name: str, x: float, y: float, palettes: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> list[NDArray[np.uint8]]:
    """One photo three times, cut to a square: as it is, with its parts, with its objects."""
    photo = load_photo(demo / "sample-photos" / name)
    masks = [read_index_mask(demo / kind / Path(name).with_suffix(".png")) for kind in ("parts", "objects")]
    pictures = [photo, *(overlay(photo, *pair) for pair in zip(masks, palettes, strict=True))]
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = round(y * (height - side)), round(x * (width - side))
    return [picture[top : top + side, left : left + side] for picture in pictures]


def _object_of_part(card: dict[str, Any]) -> NDArray[np.int64]:
    """Object of every part id, [K + 1]; 0 for the background and for parts of no object."""
    result = np.zeros(card["parts"] + 1, np.int64)
    for entry in card["objects"]:
        result[entry["parts"]] = entry["id"]
    return result


def _compose(columns: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    step = _TILE + _GAP
    width = 2 * _MARGIN + _LABEL + len(columns) * step - _GAP
    height = 2 * _MARGIN + 3 * step - _GAP
    card = Image.new("RGB", (width, height), _CARD)
    draw, font = ImageDraw.Draw(card), ImageFont.load_default(22)
    for row, text in enumerate(("photo", "parts", "objects")):
        draw.text((_MARGIN, _MARGIN + row * step + _TILE // 2), text, fill=_INK, font=font, anchor="lm")
        for column, pictures in enumerate(columns):
            tile = Image.fromarray(pictures[row]).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
            card.paste(tile, (_MARGIN + _LABEL + column * step, _MARGIN + row * step))
    return np.asarray(card)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Make the pictures of the page on figures, from sample photos alone.

    python docs/make_figures.py DEMO RUN

DEMO is what `leopart demo --out DEMO` has written, RUN what `leopart train quick` has written for
DEMO/sample-photos. Writes `docs/images/figure-NAME.jpg` (curves as PNG): what the commands on the page write,
at 150 pixels an inch.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sample_labels import SHAPES, write_labelled

from leopart.config import (
    CBFEFigureConfig,
    CommunitiesFigureConfig,
    CropsFigureConfig,
    FigureConfig,
    LabelsFigureConfig,
    OverclusteringFigureConfig,
    PartsFigureConfig,
    TrainingFigureConfig,
)
from leopart.drawing.masks import jpeg
from leopart.figures.draw import draw_figure
from leopart.files import whole_file

TARGET = Path(__file__).parent / "images"
_DPI = 150


def main(demo: Path, run: Path) -> int:
    """Draw all figures and write them as pictures for a page."""
    with tempfile.TemporaryDirectory() as folder:
        labelled, out = Path(folder) / "labelled", Path(folder) / "out"
        write_labelled(labelled)
        for config in _configs(demo, run, f"folder:{labelled}", out):
            for file in draw_figure(config):
                if file.suffix == ".png":
                    _write(file)
    return 0


def _configs(demo: Path, run: Path, data: str, out: Path) -> list[FigureConfig]:
    photos, originals = (demo / "sample-photos",), tuple(Path(name).stem for name in SHAPES)
    return [
        CropsFigureConfig(name="crops", images=photos, out=out, dpi=_DPI),
        CBFEFigureConfig(name="cbfe", segmenter=demo, images=photos, out=out, dpi=_DPI),
        PartsFigureConfig(name="parts", segmenter=demo, images=photos, out=out, dpi=_DPI),
        CommunitiesFigureConfig(name="communities", segmenter=demo, images=photos, out=out, dpi=_DPI),
        OverclusteringFigureConfig(name="overclustering", data=data, k=100, out=out, dpi=_DPI),
        LabelsFigureConfig(name="ade-parts", data=data, photos=originals, columns=4, out=out, dpi=_DPI),
        TrainingFigureConfig(name="training", run=run, out=out),
    ]


def _write(file: Path) -> None:
    """A figure as a JPEG; curves stay a PNG, which is smaller and sharper for lines."""
    target = TARGET / f"figure-{file.stem}.jpg"
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    content = jpeg(pixels, quality=86)
    if file.stem.endswith("curves"):
        target, content = target.with_suffix(".png"), file.read_bytes()
    with whole_file(target) as picture:
        picture.write(content)
    sys.stdout.write(f"{target}: {len(content) / 1000:.0f} kB\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

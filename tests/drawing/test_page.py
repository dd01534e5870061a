"""Pages: pixels arrive as they are, the legend fits, files are the same each time."""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.drawing.mosaic import mosaic
from leopart.drawing.page import Legend, LegendEntry, Page
from leopart.errors import LeopartError


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("dpi", [72, 97, 300])
def test_pictures_are_on_the_png_pixel_by_pixel(tmp_path: Path, dpi: int):
    page, pictures = Page(211, 173, dpi), {(0, 0): noise(0, 50, 71), (101, 60): noise(1, 113, 110)}
    for (left, top), pixels in pictures.items():
        page.picture(left, top, pixels)
    pdf, png = page.save(tmp_path, "test")

    drawn = read(png)
    assert drawn.shape == (173, 211, 3)
    for (left, top), pixels in pictures.items():
        height, width = pixels.shape[:2]
        assert np.array_equal(drawn[top : top + height, left : left + width], pixels)
    assert (drawn[55:60] == 255).all()
    assert pdf.read_bytes().startswith(b"%PDF")


def test_words_of_a_pdf_are_in_a_truetype_font(tmp_path: Path):
    page = Page(200, 40, 72)
    page.words(4, 20, "a word")
    pdf, _ = page.save(tmp_path, "test")

    content = pdf.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    everything = content + b"".join(zlib.decompress(s) for s in streams if s[:1] == b"x")
    assert b"/FontFile2" in everything
    assert b"/Type3" not in everything


def test_the_same_page_gives_the_same_files(tmp_path: Path):
    def files(folder: Path) -> list[bytes]:
        page = Page(100, 60, 100)
        page.picture(0, 0, noise(0, 20, 30))
        page.words(50, 40, "words")
        return [file.read_bytes() for file in page.save(folder, "test")]

    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("names", [["a"], ["a" * 20] * 7, ["short", "a longer name"] * 9])
def test_a_legend_stays_on_its_page(tmp_path: Path, names: list[str]):
    entries = [LegendEntry(name, np.array((10, 200, 30), np.uint8)) for name in names]
    legend = Legend(entries, 700, 100)
    page = Page(700, legend.height, 100)
    legend.draw(page, 0, 0)
    _, png = page.save(tmp_path, "test")

    drawn = read(png).astype(int)
    swatch = (abs(drawn - (10, 200, 30)) < 8).all(2)
    assert swatch.sum() == pytest.approx(len(names) * (7 * 100 / 72) ** 2, rel=0.25)
    assert (drawn[:, -1] == 255).all()
    assert (drawn[[0, -1]] == 255).all()


def test_what_belongs_to_a_photo_stands_below_it(tmp_path: Path):
    shades = {(photo, band): 40 + 60 * photo + 20 * band for photo in range(3) for band in range(2)}

    def draw(index: int, height: int, width: int) -> list[np.ndarray]:
        return [np.full((height, width, 3), shades[index, band], np.uint8) for band in range(2)]

    page = mosaic([1.0, 1.0, 2.0], draw, width=4, dpi=100, columns=2, bands=("photo", "mask"))
    _, png = page.save(tmp_path, "test")

    drawn = read(png)[:, 16:, 0]  # without the words beside the photos
    place = {key: np.argwhere(drawn == shade) for key, shade in shades.items()}
    for photo in range(3):
        upper, lower = place[photo, 0], place[photo, 1]
        assert len(upper) == len(lower) > 1000
        assert (upper[:, 1] == lower[:, 1]).all()
        assert lower[:, 0].min() > upper[:, 0].max()
    assert place[2, 0][:, 0].min() > place[0, 1][:, 0].max()


def test_without_matplotlib_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LeopartError, match=r"^figures need matplotlib, .* pip install 'leopart\[demo\]'$"):
        Page(10, 10, 72)

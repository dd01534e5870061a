"""Stretched photos against numpy's percentiles; pages against the arrays they were written from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from leopart.data.developing import Development, develop
from leopart.data.images import load_photo, page_count
from leopart.data.photos import search_photos
from leopart.errors import PhotoError

DARK = np.random.default_rng(0).integers(1000, 1300, (20, 30)).astype(np.uint16)


def naive(values: np.ndarray, low: float, high: float) -> np.ndarray:
    black, white = np.percentile(values, [low, high])
    return np.floor(((values - black) / (white - black)).clip(0, 1) * 255 + 0.5)


@pytest.mark.parametrize(
    "kind", ["grey.tif", "grey.png", "float.tif", "colour.tif", "colour.png", "apart.tif"]
)
def test_percentiles_become_black_and_white(tmp_path: Path, kind: str):
    path = tmp_path / kind
    deep = DARK if kind.startswith("grey") else np.dstack([DARK, DARK // 2, DARK // 3])
    if kind == "float.tif":
        deep = (DARK * 1e6 - 4e7).astype(np.float32)  # without an agreed brightness
        Image.fromarray(deep).save(path)
    elif kind == "apart.tif":
        tifffile.imwrite(path, np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    elif kind.startswith("colour"):
        cv2.imwrite(str(path), deep[..., ::-1])
    else:
        Image.fromarray(deep).save(path)
    found = load_photo(path, stretch=(5, 90)).astype(int)
    expected = naive(deep, 5, 90)
    expected = np.dstack([expected] * 3) if expected.ndim == 2 else expected
    assert abs(found - expected).max() <= 1  # halves may be rounded either way
    assert found.min() == 0
    assert found.max() == 255


def test_a_photo_of_8_bits_is_stretched_and_its_opacity_stays(tmp_path: Path):
    flat = np.random.default_rng(1).integers(100, 120, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(flat).save(tmp_path / "p.png")
    found = load_photo(tmp_path / "p.png", stretch=(0, 100)).astype(int)
    assert abs(found - naive(flat, 0, 100)).max() <= 1
    clear = np.dstack([flat, np.zeros((16, 16), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert (load_photo(tmp_path / "clear.png", stretch=(0, 100)) == 255).all()


def test_a_photo_of_one_colour_stays_one(tmp_path: Path):
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "p.png")
    assert np.ptp(load_photo(tmp_path / "p.png", stretch=(1, 99))) == 0


@pytest.mark.parametrize("layout", ["grey", "colour", "apart", "8 bits"])
def test_each_page_is_read(tmp_path: Path, layout: str):
    rng = np.random.default_rng(2)
    shape = (3, 10, 12) if layout == "grey" else (3, 10, 12, 3)
    top = 256 if layout == "8 bits" else 2**16
    stack = rng.integers(0, top, shape).astype(np.uint8 if layout == "8 bits" else np.uint16)
    stack[:, 0, 0] = top - 1
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in stack:
            if layout == "apart":
                writer.write(np.moveaxis(page, -1, 0), photometric="rgb", planarconfig="separate")
            else:
                writer.write(page, photometric="minisblack" if layout == "grey" else "rgb")
    assert page_count(path) == 3
    for number, page in enumerate(stack):
        expected = np.floor(page.astype(np.float32) * np.float32(255 / (top - 1)) + np.float32(0.5))
        expected = np.dstack([expected] * 3) if layout == "grey" else expected
        assert (load_photo(path, page=number) == expected).all()


def test_pages_become_photos_with_names_of_their_own(tmp_path: Path):
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    pages[0].save(photos / "a" / "s.tif", save_all=True, append_images=pages[1:])
    pages[1].save(photos / "a" / "s_page2.tif")  # its name is taken
    pages[2].save(photos / "plain.png")
    found = develop(search_photos([photos]), tmp_path / "out", Development(all_pages=True))
    names = ["a/s_page1.tif", "a/s_page2_.tif", "a/s_page3.tif", "a/s_page2.tif", "plain.png"]
    assert [photo.name for photo in found.photos] == names
    red, blue, lime = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    assert [tuple(load_photo(photo.path)[0, 0]) for photo in found.photos] == [red, blue, lime, blue, lime]
    assert found.photos[-1].path == photos / "plain.png"  # nothing to do for it


def test_what_was_developed_is_kept_until_photo_or_settings_change(tmp_path: Path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(DARK).save(photos / "p.tif")

    def developed(low: float) -> Path:
        (photo,) = develop(search_photos([photos]), out, Development((low, 99))).photos
        assert photo.name == "p.tif"
        return photo.path

    before = developed(1).stat().st_mtime_ns
    assert developed(1).stat().st_mtime_ns == before
    other = developed(5).read_bytes()
    Image.fromarray(DARK[::-1].copy()).save(photos / "p.tif")
    assert developed(5).read_bytes() != other
    assert (load_photo(developed(5)) == load_photo(photos / "p.tif", stretch=(5, 99))).all()


def test_what_cannot_be_read_fails_by_name_later_and_a_page_is_left_out(tmp_path: Path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.png").write_bytes(b"not a photo")
    pages = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    pages[0].save(photos / "s.tif", save_all=True, append_images=pages[1:])

    def damaged(path: Path, page: int = 0, **options: object) -> np.ndarray:
        if page == 1:
            raise PhotoError(f"{path.name} is damaged")
        return load_photo(path, page=page)

    monkeypatch.setattr("leopart.data.developing.load_photo", damaged)
    found = develop(search_photos([photos]), tmp_path / "out", Development((1, 99), all_pages=True))
    assert [photo.name for photo in found.photos] == ["broken.png", "s_page1.tif"]
    assert found.photos[0].path == photos / "broken.png"
    assert found.notes == ["left out a page: s.tif is damaged (page 2)."]

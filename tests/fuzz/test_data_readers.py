"""Damaged photos, masks, lists and indices: each is read, or refused in one sentence."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fuzz.harness import fuzz, is_refused
from leopart.cli.data import main
from leopart.data.conversion import convert_masks
from leopart.data.datasets import panoptic
from leopart.data.datasets.ade20k import READ_PARTS
from leopart.data.datasets.folder import read_classes
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.datasets.unlabelled import training_photos
from leopart.data.images import load_photo, photo_size
from leopart.data.masks import read_index_mask
from leopart.data.own_output import pictures_that_are_no_photos
from small_sets import STREET, ade20k, coco, colours, part_colour, photo, voc

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)


def encoded(kind: str, image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def planar(bits: int) -> bytes:
    buffer = io.BytesIO()
    import tifffile

    values = np.moveaxis(PIXELS.astype(np.uint16) * (257 if bits == 16 else 1), -1, 0)
    tifffile.imwrite(buffer, values.astype(f"u{bits // 8}"), planarconfig="separate", photometric="rgb")
    return buffer.getvalue()


RGB, DEEP = Image.fromarray(PIXELS), PIXELS.astype(np.uint16) * 257
PHOTOS: dict[str, Callable[[], list[bytes]]] = {
    "jpeg": lambda: [encoded("JPEG", RGB, exif=turned()), encoded("JPEG", RGB.convert("CMYK"))],
    "png": lambda: [
        encoded("PNG", RGB),
        encoded("PNG", RGB.convert("P"), transparency=0),
        encoded("PNG", RGB.convert("LA")),
        encoded("PNG", Image.fromarray(DEEP[..., 0])),
        cv2.imencode(".png", DEEP)[1].tobytes(),
        cv2.imencode(".png", np.dstack([DEEP, DEEP[..., 0]]))[1].tobytes(),
    ],
    "tiff": lambda: [
        planar(16),
        planar(8),
        cv2.imencode(".tiff", DEEP)[1].tobytes(),
        encoded("TIFF", RGB, compression="tiff_lzw"),
        encoded("TIFF", Image.fromarray(DEEP[..., 0])),
        encoded("TIFF", RGB, save_all=True, append_images=[RGB, RGB]),
    ],
    "others": lambda: [
        *(encoded(kind, RGB) for kind in ("GIF", "WEBP", "BMP", "PPM", "JPEG2000")),
        *([encoded("AVIF", RGB)] if "AVIF" in Image.SAVE else []),
    ],
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_photos(tmp_path: Path, kind: str):
    def read(path: Path) -> None:
        photo_size(path)
        pixels = load_photo(path, smallest=16)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)

    tried = fuzz(read, tmp_path / "photo", PHOTOS[kind]())
    assert tried.inputs >= 50


def test_index_masks(tmp_path: Path):
    ids = Image.fromarray(PIXELS[..., 0] % 4)
    valid = [
        encoded("PNG", ids),
        encoded("PNG", ids.convert("1")),
        encoded("PNG", Image.fromarray(DEEP[..., 0])),
    ]
    fuzz(lambda path: read_index_mask(path, range(4)), tmp_path / "mask.png", valid)


def test_masks_in_colours(tmp_path: Path):
    row = [part_colour(part) for part in (0, 3050, 3035)]
    valid = [colours(tmp_path / "a.png", [row * 2]).read_bytes(), encoded("PNG", RGB)]
    fuzz(READ_PARTS, tmp_path / "mask.png", valid)


def test_masks_to_convert(tmp_path: Path):
    def read(path: Path) -> None:
        for target in (tmp_path / "out").glob("*"):
            target.unlink()
        convert_masks(path.parent, tmp_path / "out", {255: 1})

    (tmp_path / "in").mkdir()
    fuzz(read, tmp_path / "in/mask.png", [encoded("PNG", Image.fromarray(PIXELS[..., 0]))])


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_the_index_of_ade20k(tmp_path: Path, protocol: int):
    ade20k(tmp_path, arrays=protocol > 2)
    file = next(tmp_path.rglob("index_ade20k.pkl"))
    content = pickle.loads(file.read_bytes())

    def read(path: Path) -> None:
        for found, mask in labelled_photos(f"ade20k-parts:{tmp_path}").pairs:
            assert found.path.is_relative_to(path.parent)
            assert mask.is_relative_to(path.parent)

    assert STREET in content["folder"]
    fuzz(read, file, [pickle.dumps(content, protocol)])


def test_panoptic_annotations(tmp_path: Path):
    coco(tmp_path, val=1, train=1)
    file = tmp_path / "annotations/panoptic_val2017.json"

    def read(path: Path) -> None:
        panoptic._segments.cache_clear()
        labelled = labelled_photos(f"coco-thing:{tmp_path}")
        labelled.read_mask(*labelled.pairs[0])

    fuzz(read, file, [file.read_bytes()])
    file.write_text('{"annotations": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert is_refused(read, file, "deep nesting")


def test_lists_of_classes(tmp_path: Path):
    fuzz(read_classes, tmp_path / "classes.txt", [b"0\tbackground\n1\tcow\n\n300\tsky\n"])


def test_lists_of_photos(tmp_path: Path):
    photo(tmp_path / "images/a.jpg")
    photo(tmp_path / "images/more/b c.jpg")
    (tmp_path / "masks").mkdir()
    (tmp_path / "classes.txt").write_text("0\tcow\n")
    read = lambda _: labelled_photos(f"folder:{tmp_path}", split="val")  # noqa: E731
    fuzz(read, tmp_path / "val.txt", [b"a\nmore/b c\n", "\ufeffa\r\nmore/b c".encode()])


def test_lists_of_voc(tmp_path: Path):
    voc(tmp_path)

    def read(path: Path) -> None:
        for found, mask in labelled_photos(f"voc:{tmp_path}").pairs:
            assert found.path.is_relative_to(tmp_path)
            assert mask.is_relative_to(tmp_path)

    valid = [b"2007_03\n", b"2007_03 -1\n", b"/JPEGImages/2007_03.jpg /SegmentationClass/2007_03.png\n"]
    fuzz(read, tmp_path / "sets/val.txt", valid)


def test_lists_of_imagenet(tmp_path: Path):
    photo(tmp_path / "train/n01/a.jpg")
    photo(tmp_path / "train/n02/b.jpg")

    def read(path: Path) -> None:
        assert all(
            found.path.is_relative_to(tmp_path) for found in training_photos(f"imagenet100:{tmp_path}")
        )

    fuzz(read, tmp_path / "imagenet100.txt", [b"n01\nn02\n", b"n02 dog\nn01 cat\n"])


@pytest.mark.parametrize("name", ["config.yaml", ".leopart", "classes_coarse.txt"])
def test_marks_of_folders(tmp_path: Path, name: str):
    (tmp_path / "images").mkdir()
    valid = [b"out: x\ndevice: cpu\n", b"k8\nk9\n"]
    fuzz(lambda path: pictures_that_are_no_photos(path.parent), tmp_path / name, valid)


def test_data_check_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command itself: lists and masks damaged in turn."""
    photo(tmp_path / "images/a.jpg")
    (tmp_path / "classes.txt").write_text("0\tcow\n1\tsky\n")
    (tmp_path / "masks").mkdir()

    def read(path: Path) -> None:
        assert main(["check", str(tmp_path)]) in (0, 1)
        capsys.readouterr()

    fuzz(read, tmp_path / "masks/a.png", [encoded("PNG", Image.fromarray(np.zeros((4, 6), np.uint8)))])
    fuzz(read, tmp_path / "classes.txt", [b"0\tcow\n1\tsky\n"])

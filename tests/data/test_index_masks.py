from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.data.masks import check_mask_size, read_index_mask
from leopart.errors import LeopartError, PhotoError

IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def grey_png(path: Path, ids: np.ndarray, bits: int) -> Path:
    """A grey PNG of any bit depth, written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = []
    for row in ids:
        digits = "".join(f"{value:0{bits}b}" for value in row)
        digits += "0" * (-len(digits) % 8)
        rows.append(b"\0" + bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8)))
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_ids_are_read_as_stored(tmp_path: Path, bits: int):
    ids = (np.arange(35).reshape(5, 7) * 2047 + 1) % 2**bits
    mask = read_index_mask(grey_png(tmp_path / "m.png", ids, bits))
    assert mask.dtype == (np.int32 if bits == 16 else np.uint8)
    assert mask.tolist() == ids.tolist()


@pytest.mark.parametrize("bits", [4, 8])
def test_palette_indices_are_read_whatever_the_colours(tmp_path: Path, bits: int):
    image = Image.fromarray(IDS, "L").convert("P")
    image.putdata(IDS.ravel().tolist())
    image.putpalette([9, 9, 9] * 16)  # all colours equal: going through RGB would lose every id
    image.info["transparency"] = 0
    image.save(tmp_path / "m.png", bits=bits)

    mask = read_index_mask(tmp_path / "m.png")

    assert mask.dtype == np.uint8
    assert mask.tolist() == IDS.tolist()


def test_255_is_allowed_and_other_strange_ids_are_named(tmp_path: Path):
    ids = IDS.copy()
    ids[0, 0] = 255
    Image.fromarray(ids).save(tmp_path / "m.png")

    assert (read_index_mask(tmp_path / "m.png", range(1, 12)) == ids).all()
    with pytest.raises(LeopartError, match=r"m\.png holds the ids 1, 2, 3, 4, 5, \.\.\., which"):
        read_index_mask(tmp_path / "m.png", [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Image.new("RGB", (4, 4), (1, 2, 3)).save(p), r"colours \(RGB\).* replace each colour by"),
        (
            lambda p: Image.new("RGB", (4, 4), (7, 7, 7)).save(p),
            r"channels are equal: if they hold ids, save one",
        ),
        (lambda p: Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(p), r"colours \(RGBA\)"),
        (lambda p: Image.new("L", (4, 4)).save(p, "JPEG"), "is a JPEG, which smears ids beyond repair"),
        (lambda p: p.write_text("ids"), "not a mask"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: None, "is not there"),
        (lambda p: grey_png(p, IDS, 8).write_bytes(p.read_bytes()[:50]), "is damaged"),
    ],
)
def test_what_is_no_index_mask_is_refused(tmp_path: Path, make, message: str):
    make(tmp_path / "m.png")
    with pytest.raises(LeopartError, match=message) as caught:
        read_index_mask(tmp_path / "m.png")
    assert not isinstance(caught.value, PhotoError)  # a score must not go on without a mask
    assert str(tmp_path / "m.png") in str(caught.value)


def test_the_mask_is_compared_with_the_upright_photo(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 5)).save(tmp_path / "p.jpg", exif=exif)

    check_mask_size(np.zeros((8, 5), np.uint8), tmp_path / "m.png", tmp_path / "p.jpg")
    with pytest.raises(LeopartError, match=r"m\.png has 8x5 pixels, but its photo .*p\.jpg has 5x8"):
        check_mask_size(np.zeros((5, 8), np.uint8), tmp_path / "m.png", tmp_path / "p.jpg")

"""Photos of 16 bits: every layout against values that are known, since this file writes them itself."""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from leopart.data.images import load_photo, photo_size
from leopart.data.remarks import Remarks
from leopart.errors import PhotoError

CASES = Path(os.environ.get("LEOPART_CASES", Path(__file__).parents[2].parent / "shared" / "cases"))


def packbits(data: bytes) -> bytes:
    pieces = (data[start : start + 128] for start in range(0, len(data), 128))
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)


def lzw(data: bytes) -> bytes:
    """Codes of 9 bits that stand for one byte each; the table is cleared before it would need longer ones."""
    pieces = (data[start : start + 250] for start in range(0, len(data), 250))
    codes = [code for piece in pieces for code in (256, *piece)] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


COMPRESSIONS: dict[int, Callable[[bytes], bytes]] = {
    1: lambda data: data,
    5: lzw,
    8: zlib.compress,
    32946: zlib.compress,
    32773: packbits,
}


def tiff(
    path: Path, values: np.ndarray, bits: int, planar: int, compression: int, order: str, predictor: int
):
    """A TIFF of two strips a plane, from values [H, W, S], written by the specification (TIFF 6.0)."""
    height, width, samples = values.shape
    planes = [values] if planar == 1 else [values[..., i : i + 1] for i in range(samples)]
    rows = -(-height // 2)
    strips = []
    for plane in planes:
        for start in range(0, height, rows):
            strip = plane[start : start + rows].astype(np.int64)
            if predictor == 2:
                strip = np.diff(strip, axis=1, prepend=0) % 2**bits
            strips.append(COMPRESSIONS[compression](strip.astype(f"{order}u{bits // 8}").tobytes()))
    tags = {256: [width], 257: [height], 258: [bits] * samples, 259: [compression], 277: [samples]}
    tags |= {262: [2 if samples >= 3 else 1], 278: [rows], 284: [planar], 317: [predictor]}
    tags |= {338: [2]} if samples == 4 else {}
    fields = {**{tag: (v, "H") for tag, v in tags.items()}, 279: ([len(strip) for strip in strips], "I")}
    beyond = 8 + 2 + 12 * (len(fields) + 1) + 4
    lists = sum(
        struct.calcsize(kind) * len(v) for v, kind in fields.values() if len(v) * 4 > 4 and len(v) > 1
    )
    lists -= sum(4 for v, kind in fields.values() if kind == "H" and len(v) == 2)
    first = beyond + lists + 4 * len(strips)
    fields[273] = ([first + sum(map(len, strips[:i])) for i in range(len(strips))], "I")
    entries, extra = b"", b""
    for tag in sorted(fields):
        numbers, kind = fields[tag]
        data = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        value = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", beyond + len(extra))
        extra += b"" if len(data) <= 4 else data
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + value
    assert len(extra) == lists + 4 * len(strips)
    magic = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(fields))
    path.write_bytes(magic + entries + bytes(4) + extra + b"".join(strips))


MATRIX = [
    case
    for case in itertools.product((8, 16), (1, 3, 4), (1, 2), COMPRESSIONS, "<>", (1, 2))
    if not (case[1] == 1 and case[2] == 2) and (case[5] == 1 or case[3] in (5, 8, 32946))
]


@pytest.mark.parametrize(("bits", "samples", "planar", "compression", "order", "predictor"), MATRIX)
def test_every_layout_of_tiff_gives_its_values(
    tmp_path: Path, bits: int, samples: int, planar: int, compression: int, order: str, predictor: int
):
    values = np.random.default_rng(0).integers(0, 2**bits, (7, 9, samples))
    values[0, 0] = 2**bits - 1
    if samples == 4:
        values[..., 3] = 2**bits - 1  # opaque
    tiff(tmp_path / "p.tif", values, bits, planar, compression, order, predictor)
    found = load_photo(tmp_path / "p.tif").astype(int)
    expected = np.broadcast_to(values[..., : max(1, min(samples, 3))], found.shape) * (255 / (2**bits - 1))
    assert np.abs(found - expected).max() <= 0.5


def test_turned_tiffs_of_16_bits_are_upright(tmp_path: Path):
    values = np.arange(6 * 4 * 3, dtype=np.uint16).reshape(4, 6, 3) * 900
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = tmp_path / "p.png"
    cv2.imwrite(str(plain), values[..., ::-1])
    data = plain.read_bytes()
    block = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    plain.write_bytes(data[:33] + chunk + data[33:])
    found = load_photo(plain)
    assert photo_size(plain) == found.shape[:2] == (6, 4)
    expected = np.floor(np.rot90(values, -1) * (255 / 65535) + 0.5)
    assert (found == expected).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["grey.png", "grey.tif", "colour.png", "colour.tif", "apart.tif"])
def test_a_photo_is_scaled_by_the_bits_it_uses(tmp_path: Path, bits: int, kind: str):
    small = np.random.default_rng(bits).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    small[0, 0] = 255
    deep = np.floor(small * ((2**bits - 1) / 255) + 0.5).astype(np.uint16)
    path = tmp_path / kind
    if kind.startswith("grey"):
        Image.fromarray(deep[..., 0]).save(path)
        small = np.repeat(small[..., :1], 3, axis=2)
    elif kind == "apart.tif":
        tiff(path, deep, 16, 2, 1, "<", 1)
    else:
        cv2.imwrite(str(path), deep[..., ::-1])
    heard: list[str] = []
    assert (load_photo(path, remark=heard.append) == small).all()
    assert heard == ([] if bits == 16 else [f"{bits} bits"])


def test_half_transparent_photos_of_16_bits_lie_on_white(tmp_path: Path):
    deep = np.zeros((2, 2, 4), np.uint16)
    deep[0] = (0, 0, 65535, 65535)  # BGR: red
    cv2.imwrite(str(tmp_path / "p.png"), deep)
    assert load_photo(tmp_path / "p.png").tolist() == [[[255, 0, 0]] * 2, [[255, 255, 255]] * 2]


def test_a_damaged_photo_of_16_bits_is_told(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "p.png"), np.random.default_rng(0).integers(0, 2**16, (40, 40, 3), np.uint16))
    whole = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"p\.png is damaged"):
        load_photo(tmp_path / "p.png")


def test_pages_beyond_the_first_are_told(tmp_path: Path):
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    heard: list[str] = []
    assert (load_photo(tmp_path / "p.tif", remark=heard.append) == (255, 0, 0)).all()
    assert heard == ["3 pages"]


def test_damage_behind_the_first_page_is_no_matter(tmp_path: Path):
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    whole = (tmp_path / "p.tif").read_bytes()
    (tmp_path / "p.tif").write_bytes(whole[: len(whole) - 120])
    assert (load_photo(tmp_path / "p.tif") == (255, 0, 0)).all()


def test_a_tiff_in_another_layout_is_called_a_tiff(tmp_path: Path):
    tiff(tmp_path / "p.tif", np.zeros((4, 4, 2), int), 16, 1, 1, "<", 1)
    with pytest.raises(PhotoError, match=r"p\.tif is a TIFF in a layout that is not read; save it as"):
        load_photo(tmp_path / "p.tif")


def test_remarks_become_one_sentence_a_kind():
    remarks = Remarks()
    for kind, photo in (
        ("12 bits", "b.png"),
        ("12 bits", "a.png"),
        ("3 pages", "c.tif"),
        ("10 bits", "d.png"),
    ):
        remarks.add(kind, photo)
    remarks.look(np.full((32, 32, 3), 7, np.uint8), "black.png")
    remarks.look(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8), "good.png")
    bits, pages, flat = remarks.sentences()
    assert "(10 bits: d.png, 12 bits: a.png and 1 more)" in bits
    assert "equal values differ in brightness" in bits
    assert "3 pages: c.tif" in pages
    assert "(black.png)" in flat
    assert Remarks().sentences() == []


@pytest.mark.skipif(not (CASES / "tiff16_planar_rgb").is_dir(), reason="the cases are not here")
def test_planar_photos_of_16_bits_are_the_reference():
    folder = CASES / "tiff16_planar_rgb"
    reference = load_photo(folder / "rgb_ref.png").astype(int)
    for name in ("rgb16_planar.tif", "chw.tif"):
        assert np.abs(load_photo(folder / name).astype(int) - reference).max() <= 1


@pytest.mark.skipif(not (CASES / "grey12_in_16bit").is_dir(), reason="the cases are not here")
def test_12_bits_in_16_look_as_the_same_photo_of_8_bits():
    folder = CASES / "grey12_in_16bit"
    for path in sorted((folder / "p8").iterdir()):
        twelve = load_photo(folder / "p12" / path.name).astype(int)
        assert np.abs(twelve - load_photo(path)).max() <= 1

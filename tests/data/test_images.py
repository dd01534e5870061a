from __future__ import annotations

import os
import re
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from leopart.data import images
from leopart.data.images import (
    Photo,
    find_photos,
    load_photo,
    output_stems,
    photo_size,
    resize,
    target_size,
)
from leopart.errors import LeopartError, PhotoError

DATA = Path(os.environ.get("LEOPART_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
GRADIENT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(*inputs: Path) -> list[str]:
    return [photo.name for photo in find_photos(inputs)]


# Finding photos


def test_photos_are_found_at_any_depth_in_natural_order(tmp_path: Path):
    touch(tmp_path, "img10.jpg", "img2.JPG", "b/1.PnG", "b/c/2.webp", "notes.txt", "a.tiff")
    assert names(tmp_path) == ["a.tiff", "b/1.PnG", "b/c/2.webp", "img2.JPG", "img10.jpg"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path):
    touch(tmp_path, ".cache/1.jpg", "._2.jpg", "3.jpg")
    assert names(tmp_path) == ["3.jpg"]


def test_a_single_file_is_taken_whatever_its_suffix(tmp_path: Path):
    touch(tmp_path, "photo", "other.jpg")
    assert names(tmp_path / "photo") == ["photo"]


def test_several_files_of_one_folder_have_their_plain_names(tmp_path: Path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    assert names(tmp_path / "2.jpg", tmp_path / "1.jpg") == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        (("a", "b"), ["a/1.jpg", "b/1.jpg"]),
        (("x/photos", "y/photos"), ["x/photos/1.jpg", "y/photos/1.jpg"]),
        (("a", "a"), ["1.jpg"]),
        (("a", "a/../a"), ["1.jpg"]),
    ],
)
def test_the_same_name_in_several_inputs_does_not_collide(tmp_path: Path, roots, expected: list[str]):
    for root in roots:
        touch(tmp_path, f"{root}/1.jpg")
    assert names(*(tmp_path / root for root in roots)) == expected
    assert names(*(tmp_path / root / "1.jpg" for root in roots)) == expected


def test_overlapping_inputs_give_each_file_once(tmp_path: Path):
    touch(tmp_path, "photos/1.jpg", "photos/sub/2.jpg")
    assert len(names(tmp_path / "photos", tmp_path / "photos" / "sub")) == 2
    assert names(tmp_path / "photos", tmp_path / "photos" / "1.jpg") == ["1.jpg", "sub/2.jpg"]


def test_links_are_followed_and_loops_end(tmp_path: Path):
    touch(tmp_path, "elsewhere/2.jpg", "in/1.jpg", "in/z/3.jpg")
    (tmp_path / "in" / "a").symlink_to(tmp_path / "in" / "z")  # the real folder gives the name
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)
    assert names(tmp_path / "in") == ["1.jpg", "linked/2.jpg", "z/3.jpg"]


def test_a_link_to_nothing_is_found_and_fails_by_name(tmp_path: Path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    gone, loop = find_photos([tmp_path])
    with pytest.raises(PhotoError, match=r"gone\.jpg is not there"):
        load_photo(gone.path)
    with pytest.raises(PhotoError, match=r"self\.jpg cannot be read: .*links"):
        load_photo(loop.path)


def test_a_folder_that_cannot_be_listed_fails_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "1.jpg", "locked/2.jpg")
    listed = Path.iterdir

    def refuse(self: Path):
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert names(tmp_path) == ["1.jpg", "locked"]
    with pytest.raises(PhotoError, match="locked is a folder"):
        load_photo(tmp_path / "locked")
    with pytest.raises(LeopartError, match=r"cannot list .*locked: Permission denied"):
        find_photos([tmp_path / "locked"])


def test_no_such_path(tmp_path: Path):
    with pytest.raises(LeopartError, match=r"there is no file or folder .*nowhere"):
        find_photos([tmp_path / "nowhere"])


def test_an_empty_folder_says_what_was_seen_and_what_is_read(tmp_path: Path):
    touch(tmp_path, "a.txt", "b/c.psd", "noname")
    with pytest.raises(LeopartError, match=r"no photos in .*: 3 files seen, .*\.jpg .*\.png"):
        find_photos([tmp_path])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_can_be_printed_and_loaded(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (2, 2)).save(path)
    (photo,) = find_photos([tmp_path])
    assert photo.name == "caf\ufffd.png"
    assert load_photo(photo.path).shape == (2, 2, 3)


# Naming outputs


def stems(*photo_names: str) -> list[str]:
    return output_stems([Photo(Path(name), name) for name in photo_names])


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        (["a/cat.jpg", "b/cat.jpg"], ["a/cat", "b/cat"]),
        (["cat.jpg", "cat.png", "dog.jpg"], ["cat_jpg", "cat_png", "dog"]),
        (["Cat.jpg", "cat.jpg"], ["Cat_jpg", "cat_jpg_2"]),
        (["cat.jpg", "cat.png", "cat_jpg.png"], ["cat_jpg_2", "cat_png", "cat_jpg"]),
        (["A/x.jpg", "a/x.jpg"], ["A/x_jpg", "a/x_jpg_2"]),
        (["e\u0301.jpg", "\xe9.jpg"], ["e\u0301_jpg", "\xe9_jpg_2"]),
        (["photo", "photo.jpg"], ["photo", "photo_jpg"]),
        (["v1.2.jpg", "v1.3.jpg"], ["v1.2", "v1.3"]),
        (["a.jpg", "a.png/b.jpg"], ["a_jpg", "a.png/b"]),
    ],
)
def test_stems_are_short_where_they_can_be(given_names: list[str], expected: list[str]):
    assert stems(*given_names) == expected


file_names = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "a/", "A/", "a/b/", "c.png/"]),
        st.sampled_from(["cat", "Cat", "cat_jpg", "cat_jpg_2", "cat_2", "c", "ß", "SS"]),
        st.sampled_from([".jpg", ".JPG", ".png", "", ".jpg.png"]),
    ),
    max_size=30,
)


@given(file_names)
def test_stems_differ_on_every_file_system(photo_names: list[str]):
    result = stems(*photo_names)
    files = {f"{stem}.png".casefold() for stem in result}
    assert len(files) == len(result) == len(photo_names)
    folders = {parent.as_posix().casefold() for stem in result for parent in Path(stem).parents}
    assert not files & folders
    assert result == stems(*photo_names)


# Reading


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm", ".gif"])
def test_grey_becomes_equal_channels(tmp_path: Path, suffix: str):
    Image.fromarray(GRADIENT).save(tmp_path / f"p{suffix}")
    photo = load_photo(tmp_path / f"p{suffix}")
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert (photo == GRADIENT[..., None]).all()


DEEP = np.array([[0, 257, 128 * 257], [128, 129, 65535]], np.uint16)
SCALED = [[0, 1, 128], [0, 1, 255]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str):
    path = tmp_path / f"p{suffix}"
    if suffix == ".pgm":  # older versions of Pillow read these but cannot write them
        path.write_bytes(b"P5 3 2 65535\n" + DEEP.astype(">u2").tobytes())
    else:
        Image.fromarray(DEEP).save(path)
    assert load_photo(path)[..., 0].tolist() == SCALED


def tiff(path: Path, tags: dict[int, int], pixels: bytes) -> None:
    """A little-endian TIFF of one strip, written by hand."""
    tags |= {273: 8 + 2 + 12 * (len(tags) + 2) + 4, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels)


def test_12_bit_grey_is_scaled_by_its_own_depth(tmp_path: Path):
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 277: 1, 278: 1}
    tiff(tmp_path / "p.tif", tags, bytes([0xFF, 0xF8, 0x00]))  # 4095, 2048
    assert load_photo(tmp_path / "p.tif")[..., 0].tolist() == [[255, 128]]


def test_16_bit_grey_where_white_is_zero_is_inverted(tmp_path: Path):
    tags = {256: 2, 257: 1, 258: 16, 259: 1, 262: 0, 277: 1, 278: 1}
    tiff(tmp_path / "p.tif", tags, struct.pack("<2H", 0, 65535))
    assert load_photo(tmp_path / "p.tif")[..., 0].tolist() == [[255, 0]]


def test_floating_point_grey_is_0_to_1(tmp_path: Path):
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "p.tif")
    assert load_photo(tmp_path / "p.tif")[..., 0].tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0.0, 300.0]], np.float32),
        np.array([[0.0, np.nan]], np.float32),
        np.array([[5, -1]], np.int32),
    ],
)
def test_numbers_without_a_brightness_are_refused(tmp_path: Path, values: np.ndarray):
    Image.fromarray(values).save(tmp_path / "p.tif")
    with pytest.raises(PhotoError, match=r"p\.tif holds .*no agreed brightness; give --stretch 1 99"):
        load_photo(tmp_path / "p.tif")


def test_cmyk(tmp_path: Path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "p.jpg", quality=95)
    red = load_photo(tmp_path / "p.jpg")[8, 8].astype(int)
    assert (abs(red - (255, 0, 0)) < 8).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(tmp_path: Path, mode: str):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(0, 0, 0, 0), (0, 0, 0, 128), (0, 0, 0, 255)])
    image.convert(mode).save(tmp_path / "p.png")
    levels = load_photo(tmp_path / "p.png")[0, :, 0].astype(int)
    assert levels[0] == 255
    assert levels[2] == 0
    assert mode == "P" or abs(levels[1] - 127) <= 1


def test_a_palette_with_a_transparent_index_and_grey_with_a_transparent_level(tmp_path: Path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=bytes([255, 0]))
    assert load_photo(tmp_path / "p.png").tolist() == [[[255, 0, 0], [255, 255, 255]]]
    palette.save(tmp_path / "p.gif", transparency=1)
    assert load_photo(tmp_path / "p.gif").tolist() == [[[255, 0, 0], [255, 255, 255]]]
    Image.fromarray(np.array([[7, 9]], np.uint8)).save(tmp_path / "g.png", transparency=7)
    assert load_photo(tmp_path / "g.png")[..., 0].tolist() == [[255, 9]]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".webp"])
def test_of_an_animation_the_first_frame(tmp_path: Path, suffix: str):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"p{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (load_photo(tmp_path / f"p{suffix}") == (255, 0, 0)).all()


def test_one_bit(tmp_path: Path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "p.png")
    assert load_photo(tmp_path / "p.png")[..., 0].tolist() == [[255, 0]]


UPRIGHT = {  # how the stored rows and columns are seen, by the EXIF standard
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_photos_are_upright(tmp_path: Path, orientation: int, suffix: str):
    stored = np.kron(GRADIENT, np.ones((16, 16), np.uint8))  # flat blocks survive JPEG
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"p{suffix}"
    Image.fromarray(stored).convert("RGB").save(path, exif=exif, quality=95)

    photo = load_photo(path)

    seen = UPRIGHT[orientation](GRADIENT).astype(int)
    assert photo_size(path) == photo.shape[:2] == tuple(16 * side for side in seen.shape)
    assert abs(photo[8::16, 8::16, 0] - seen).max() <= 4


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_senseless_orientation_is_none(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (6, 4)).save(tmp_path / "p.jpg", exif=exif)
    assert load_photo(tmp_path / "p.jpg").shape == (4, 6, 3)


@pytest.mark.parametrize("block", [b"Exif\0\0junk", b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01", b"Exif\0\0"])
def test_a_damaged_exif_block_harms_nothing(tmp_path: Path, block: bytes):
    Image.new("RGB", (6, 4)).save(tmp_path / "p.jpg", exif=block)
    assert photo_size(tmp_path / "p.jpg") == (4, 6)
    assert load_photo(tmp_path / "p.jpg").shape == (4, 6, 3)


# Sizes


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 20000), (20000, 40)])
def test_extreme_shapes_are_fine(tmp_path: Path, height: int, width: int):
    Image.new("RGB", (width, height), (9, 8, 7)).save(tmp_path / "p.png")
    photo = load_photo(tmp_path / "p.png")
    assert photo.shape == (height, width, 3)
    for keep_aspect in (True, False):
        side = target_size(height, width, 448, 14, keep_aspect)
        assert (resize(photo, *side) == (9, 8, 7)).all()


def test_a_108_megapixel_photo_is_no_bomb(tmp_path: Path):
    Image.new("L", (12000, 9000), 77).save(tmp_path / "p.jpg")
    assert photo_size(tmp_path / "p.jpg") == (9000, 12000)
    assert load_photo(tmp_path / "p.jpg", smallest=448).shape == (1125, 1500, 3)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path):
    (tmp_path / "p.png").write_bytes(png_of_size(40_000, 40_000))
    with pytest.raises(PhotoError, match=r"p\.png has 40000x40000 pixels, .*; make it smaller"):
        load_photo(tmp_path / "p.png")


@pytest.mark.parametrize(("height", "width"), [(300, 800), (800, 300), (100, 100), (1000, 1001)])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("smallest", [90, 130, 500, (300, 700), (40, 99)])
def test_a_jpeg_is_decoded_no_smaller_than_asked(tmp_path: Path, height, width, orientation, smallest):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height), "teal").save(tmp_path / "p.jpg", exif=exif)
    full = photo_size(tmp_path / "p.jpg")
    least = (smallest, smallest) if isinstance(smallest, int) else smallest

    got = load_photo(tmp_path / "p.jpg", smallest).shape[:2]

    scale = max(s for s in (1, 2, 4, 8) if s == 1 or (full[0] // s >= least[0] and full[1] // s >= least[1]))
    assert got == (-(-full[0] // scale), -(-full[1] // scale))


# Broken files


def jpeg(path: Path) -> bytes:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_text("dear diary"), r"not a photo in a format that is read .*; convert it"),
        (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\); copy it again"),
        (lambda p: p.write_bytes(jpeg(p)[:2000]), r"is damaged \(.*truncated.*\); copy it again"),
        (lambda p: p.write_bytes(jpeg(p)[:-200]), r"is damaged \(.*truncated.*\); copy it again"),
        (lambda p: p.write_bytes(jpeg(p)[:20]), "not a photo"),
        (lambda p: None, "is not there"),
        (lambda p: p.mkdir(), "is a folder"),
        (os.mkfifo, "is not a plain file; leave it out"),
        (lambda p: p.write_bytes(png_of_size(0, 5)), r"0x5|is damaged|not a photo"),
        (lambda p: p.write_bytes(png_of_size(50, 50)), "is damaged"),
        (lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not a photo"),
    ],
)
def test_a_broken_file_is_one_sentence_with_name_reason_and_advice(tmp_path: Path, make, message: str):
    path = tmp_path / "p.jpg"
    make(path)
    with pytest.raises(PhotoError, match=message) as caught:
        load_photo(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert re.search(r"; \w+", str(caught.value))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(13, "Permission denied"),
            "cannot be read: Permission denied; check the file's permissions",
        ),
        (OSError(5, "Input/output error"), "cannot be read: Input/output error"),
        (MemoryError(), "does not fit into memory; make it smaller"),
        (KeyError(), r"is damaged \(KeyError\)"),
    ],
)
def test_whatever_pillow_raises_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error, message: str):
    jpeg(tmp_path / "p.jpg")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(PhotoError, match=message):
        load_photo(tmp_path / "p.jpg")


def test_a_phones_heif_photo_is_found_and_refused_by_name(tmp_path: Path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (photo,) = find_photos([tmp_path])
    with pytest.raises(PhotoError, match=r"IMG_1\.HEIC is a HEIF photo.*; convert it"):
        load_photo(photo.path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["jpeg", "png", "gif", "tiff", "webp", "bmp", "ppm"]), st.data())
def test_random_damage_gives_a_photo_or_a_photo_error(tmp_path: Path, form: str, data: st.DataObject):
    path = tmp_path / "p"
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if form in ("gif", "bmp", "ppm") else {"exif": exif}
    Image.fromarray(np.kron(GRADIENT, np.ones((3, 3), np.uint8))).convert("RGB").save(path, form, **options)
    broken = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, min(len(broken), 300) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(broken[: data.draw(st.integers(1, len(broken)))])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MAX_PIXELS", 10**6)  # damage to the size must not cost gigabytes
        try:
            photo = load_photo(path)
        except PhotoError:
            return
    assert photo.shape == (*photo_size(path), 3)


def test_pillow_is_left_as_it_was_found_also_by_threads(tmp_path: Path):
    content = jpeg(tmp_path / "p.jpg")
    (tmp_path / "broken.jpg").write_bytes(content[:-300])
    limit, filters, failed = Image.MAX_IMAGE_PIXELS, list(warnings.filters), []

    def work() -> None:
        for _ in range(20):
            load_photo(tmp_path / "p.jpg")
            try:
                load_photo(tmp_path / "broken.jpg")
            except PhotoError:
                failed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 80
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


# Resizing


def test_resizing_is_pillows_bilinear(tmp_path: Path):
    photo = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    expected = np.asarray(Image.fromarray(photo).resize((20, 30), Image.Resampling.BILINEAR))
    assert (resize(photo, 30, 20) == expected).all()
    assert resize(photo, 50, 70) is photo


@pytest.mark.parametrize(
    ("height", "width", "keep_aspect", "expected"),
    [
        (300, 500, False, (448, 448)),
        (300, 300, True, (448, 448)),
        (400, 100, True, (896, 224)),
        (100, 400, True, (224, 896)),
        (213, 320, True, (364, 546)),
        (20000, 40, True, (1792, 112)),
        (1, 1, True, (448, 448)),
    ],
)
def test_target_sizes_by_hand(height: int, width: int, keep_aspect: bool, expected: tuple[int, int]):
    assert target_size(height, width, 448, 14, keep_aspect) == expected


def test_the_size_is_rounded_to_patches():
    assert target_size(9, 9, 100, 16, False) == (96, 96)
    assert target_size(9, 9, 104, 16, False) == (112, 112)
    assert target_size(9, 9, 1, 16, True) == (16, 16)


side = st.integers(1, 30_000)


@given(side, side, st.integers(1, 2000), st.sampled_from([1, 8, 14, 16]), st.booleans())
def test_target_sizes_are_whole_patches_of_bounded_number(height, width, size, patch, keep_aspect):
    rows, columns = target_size(height, width, size, patch, keep_aspect)
    n = max(1, round(size / patch + 1e-9))

    assert rows % patch == columns % patch == 0
    assert patch <= min(rows, columns)
    assert max(rows, columns) <= 4 * n * patch
    tokens = rows * columns / patch**2
    assert tokens <= n**2 + 3 * n + 1  # rounding adds at most half a patch to each side
    assert (columns, rows) == target_size(width, height, size, patch, keep_aspect)
    if keep_aspect and n >= 8:
        assert 0.7 * n**2 <= tokens <= 1.3 * n**2
        ratio = min(max(height / width, 1 / 16), 16)
        assert rows / columns == pytest.approx(ratio, rel=0.35)


# Real photos


@pytest.mark.skipif(not DATA.is_dir(), reason="no development photos here; set LEOPART_DATA to their folder")
def test_every_tenth_development_photo_loads():
    photos = [photo for photo in find_photos([DATA]) if photo.path.suffix == ".jpg"][::10]
    assert photos
    for photo in photos:
        assert load_photo(photo.path).shape == (*photo_size(photo.path), 3)

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from leopart.data.decoding import _decode_jpegs, _plain_jpeg, checked, decode_photos
from leopart.data.images import load_photo
from leopart.errors import LeopartError, PhotoError

CPU = torch.device("cpu")


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (4, 4, 0))
    return np.clip(128 + 90 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def encoded(
    pixels: np.ndarray, orientation: int = 1, mode: str = "RGB", form: str = "JPEG", **options
) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form, exif=exif, **options)
    return file.getvalue()


def jpeg(orientation: int = 1, mode: str = "RGB", **options) -> bytes:
    return encoded(picture(), orientation, mode, quality=95, **options)


def test_files_bytes_and_pixels_become_the_same_tensors(tmp_path: Path):
    path = tmp_path / "1.jpg"
    path.write_bytes(jpeg(6))
    pixels = load_photo(path)

    found = decode_photos([path, path.read_bytes(), pixels], CPU)

    for tensor in found:
        assert tensor.dtype == torch.uint8
        np.testing.assert_array_equal(tensor.permute(1, 2, 0), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_torchvisions_decoder_gives_upright_photos(tmp_path: Path, orientation: int):
    """On the CPU here; a GPU takes the same way."""
    (tmp_path / "1.jpg").write_bytes(jpeg(orientation))
    whole = _plain_jpeg(tmp_path / "1.jpg")
    assert whole == (jpeg(orientation), orientation)

    (found,) = _decode_jpegs([whole], CPU)

    expected = load_photo(tmp_path / "1.jpg").astype(int)
    assert found.shape[1:] == expected.shape[:2]
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).mean() < 1


def test_a_grey_jpeg_gets_three_channels():
    whole = _plain_jpeg(jpeg(mode="L"))
    (found,) = _decode_jpegs([whole], CPU)
    assert found.shape == (3, 40, 56)
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    "photo",
    [
        jpeg(mode="CMYK"),
        encoded(picture(), form="PNG"),
        jpeg()[:-40],
        jpeg()[:30] + b"\xff\xd9",
        b"\xff\xd8\xff\xd9",
        b"",
        picture(),
        Path("nowhere.jpg"),
        jpeg(keep_rgb=True),
    ],
    ids=["cmyk", "png", "cut", "cut header", "no header", "empty", "pixels", "no file", "rgb"],
)
def test_what_a_gpus_decoder_might_get_wrong_is_left_to_load_photo(photo: Path | bytes | np.ndarray):
    assert _plain_jpeg(photo) is None


def test_one_bad_jpeg_leaves_all_of_them_to_load_photo():
    bad = jpeg()[:200] + b"\xff\xd9"
    assert _decode_jpegs([(jpeg(), 1), (bad, 1)], CPU) == []
    assert _decode_jpegs([], CPU) == []


def test_complaints_are_those_of_load_photo(tmp_path: Path):
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:-300])
    for photo in (tmp_path / "cut.jpg", tmp_path / "none.jpg"):
        with pytest.raises(PhotoError) as expected:
            load_photo(photo)
        with pytest.raises(PhotoError) as found:
            decode_photos([photo], CPU)
        assert str(found.value) == str(expected.value)
    with pytest.raises(PhotoError, match="is damaged"):
        decode_photos([jpeg()[:-300]], CPU)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3)])
def test_pixels_that_are_not_rgb_are_refused(shape: tuple[int, ...]):
    with pytest.raises(LeopartError, match=r"must be RGB, uint8 \[height, width, 3\], not uint8"):
        checked(np.zeros(shape, np.uint8))
    with pytest.raises(LeopartError, match="not float32"):
        checked(np.zeros((4, 4, 3), np.float32))


def test_pixels_are_copied_only_if_need_be():
    pixels = picture()
    assert checked(pixels) is pixels
    frozen = picture()
    frozen.flags.writeable = False
    for odd in (frozen, pixels[::-1], pixels[:, ::2]):
        np.testing.assert_array_equal(checked(odd), odd)
        assert checked(odd).flags.writeable
        assert checked(odd).flags.c_contiguous


@pytest.mark.gpu
def test_a_gpu_decodes_as_load_photo_does(tmp_path: Path):
    files = {"6.jpg": jpeg(6), "grey.jpg": jpeg(mode="L"), "1.png": encoded(picture(), form="PNG")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in files]

    found = decode_photos(paths, torch.device("cuda"))

    for path, tensor in zip(paths, found, strict=True):
        assert tensor.device.type == "cuda"
        assert np.abs(tensor.permute(1, 2, 0).cpu().numpy() - load_photo(path).astype(int)).mean() < 3

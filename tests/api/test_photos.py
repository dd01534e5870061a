"""Photos in every form that Python programs have them in: the same photo gives the same result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import leopart
from leopart.data.given import as_files, each_photo, pixels_of
from leopart.errors import PhotoError


def forms(photo: np.ndarray) -> dict[str, object]:
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    return {
        "array": photo,
        "PIL": Image.fromarray(photo),
        "tensor": tensor,
        "float tensor": tensor.float() / 255,
        "float array": photo.astype(np.float64) / 255,
        "RGBA": Image.fromarray(photo).convert("RGBA"),
    }


@pytest.mark.parametrize("form", ["array", "PIL", "tensor", "float tensor", "float array", "RGBA"])
def test_every_form_of_a_photo_has_the_same_pixels(painted, form: str):
    photo = painted[0][0]
    np.testing.assert_array_equal(pixels_of(forms(photo)[form]), photo)


def test_grey_photos_get_three_equal_channels():
    grey = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    for form in (grey, grey[..., None], torch.from_numpy(grey)[None], Image.fromarray(grey)):
        np.testing.assert_array_equal(pixels_of(form), np.stack([grey] * 3, 2))


def test_a_turned_pil_image_is_set_upright(painted, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(painted[0][0])).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(pixels_of(Image.open(tmp_path / "a.png")), painted[0][0])


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"RGB \[H, W, 3\], not \[4, 4, 5\]"),
        (torch.zeros(4, 4, 3), r"must be \[3, H, W\]"),
        (np.zeros((4, 4, 3), np.int64), "not int64"),
        (np.full((4, 4, 3), 255.0), "divide by 255"),
        (np.full((4, 4, 3), np.nan), "0..1"),
        (np.zeros((0, 4, 3), np.uint8), "not \\[0, 4, 3\\]"),
        (7, "a int is no photo"),
    ],
)
def test_what_is_no_photo_is_refused_in_a_sentence(photo: object, words: str):
    with pytest.raises(PhotoError, match=words):
        pixels_of(photo)


def test_several_photos_come_one_by_one_whatever_holds_them(labelled: Path, painted):
    photos = [photo for photo, _ in painted]
    folder = labelled / "images"
    for given in (
        photos,
        (photo for photo in photos),
        np.stack(photos),
        torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2),
        folder,
        [str(path) for path in sorted(folder.iterdir())],
    ):
        found = [np.asarray(Image.open(p)) if isinstance(p, Path) else p for p in each_photo(given)]
        assert len(found) == 6
        for one, photo in zip(found, photos, strict=True):
            np.testing.assert_array_equal(one, photo)


def test_photos_in_memory_are_written_once_and_keep_their_dates(painted, tmp_path: Path):
    photos = [photo for photo, _ in painted]
    first = as_files(photos, tmp_path)
    dates = [photo.path.stat().st_mtime_ns for photo in first]
    assert [photo.name for photo in first] == [f"00000{i}.png" for i in range(6)]
    assert [photo.path.stat().st_mtime_ns for photo in as_files(photos, tmp_path)] == dates
    other = [photos[1], *photos[1:]]
    np.testing.assert_array_equal(np.asarray(Image.open(as_files(other, tmp_path)[0].path)), photos[1])


def test_a_segmenter_learns_and_predicts_the_same_from_every_form(
    labelled: Path, painted, tiny_weights: Path
):
    photos = [photo for photo, _ in painted]
    options = {"n_parts": 5, "n_objects": 2, "size": 64, "precision": "fp32", "foreground": "none"}
    segmenter = leopart.Segmenter(tiny_weights, **options).fit(labelled / "images")
    wanted = [segmenter.predict(photo).parts for photo in photos]
    for given in (photos, np.stack(photos), (Image.fromarray(photo) for photo in photos)):
        other = leopart.Segmenter(tiny_weights, **options).fit(given)
        for found, parts in zip(other.predict_each(iter(photos)), wanted, strict=True):
            np.testing.assert_array_equal(found.parts, parts)
    for given in (photos, labelled / "images", [Image.fromarray(photo) for photo in photos]):
        found = segmenter.predict(given)
        assert isinstance(found, list)
        for one, parts in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one.parts, parts)


def test_predict_each_takes_an_endless_iterable(painted, tiny_weights: Path):
    photos = [photo for photo, _ in painted]
    segmenter = leopart.Segmenter(tiny_weights, n_parts=4, n_objects=1, size=64, foreground="none").fit(
        photos
    )

    def endless():
        while True:
            yield photos[0]

    found = segmenter.predict_each(endless())
    assert next(found).parts.shape == next(found).parts.shape == (48, 64)
    found.close()


def test_progress_is_shown_when_asked_for(painted, tiny_weights: Path, capsys: pytest.CaptureFixture[str]):
    photos = [photo for photo, _ in painted]
    segmenter = leopart.Segmenter(tiny_weights, n_parts=4, n_objects=1, size=64, foreground="none").fit(
        photos
    )
    capsys.readouterr()
    segmenter.predict(photos)
    assert capsys.readouterr().err == ""
    segmenter.predict(photos, progress=True)
    assert "6/6" in capsys.readouterr().err


def test_extract_gives_what_the_backbone_gives(labelled: Path, painted, tiny_weights: Path, tmp_path: Path):
    photos = [photo for photo, _ in painted]
    backbone = leopart.load_backbone(tiny_weights)
    found = leopart.extract(backbone, photos, size=64, precision="fp32", device="cpu")

    for number, photo in enumerate(photos):
        resized = np.asarray(Image.fromarray(photo).resize((64, 64), Image.Resampling.BILINEAR)).copy()
        features = backbone(torch.from_numpy(resized).permute(2, 0, 1)[None])
        np.testing.assert_array_equal(found.tokens[number], features.tokens[0].half().numpy())
        np.testing.assert_array_equal(found.attention[number], features.attention[0].numpy())
    tokens, _ = found.to_torch()
    assert tokens.shape == (6, 8, 8, 24)
    np.testing.assert_allclose(found.pooled, tokens.float().mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert found.names == [f"00000{i}.png" for i in range(6)]

    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.warns(UserWarning, match="1 of 7 photos left out"):
        some = leopart.extract(tiny_weights, [labelled / "images", tmp_path], size=64, device="cpu")
    assert (len(some), len(some.failures)) == (6, 1)
    with pytest.raises(PhotoError, match="no photo could be used, of 1 given"):
        leopart.extract(tiny_weights, tmp_path, size=64, device="cpu")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from leopart.drawing.animation import save_animation, strip
from leopart.errors import LeopartError


def painted(folder: Path, count: int, size: tuple[int, int] = (60, 40)) -> list[Path]:
    """Pictures whose left half is the same noise and whose right half has a colour of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    paths = []
    for index in range(count):
        noise[:, size[0] // 2 :] = (40 * index, 255 - 40 * index, 90)
        paths.append(folder / f"{index}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths


def test_every_picture_is_shown_in_turn_and_the_last_one_longer(tmp_path: Path):
    save_animation(painted(tmp_path, 5), tmp_path / "a.gif", 200)
    with Image.open(tmp_path / "a.gif") as gif:
        frames = [frame.convert("RGB").copy() for frame in ImageSequence.Iterator(gif)]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
        assert (gif.size, gif.info["loop"]) == ((60, 40), 0)
    assert durations == [200] * 4 + [600]
    for index, frame in enumerate(frames):
        found = np.array(frame.getpixel((50, 20)), int)
        assert np.abs(found - (40 * index, 255 - 40 * index, 90)).max() < 45  # one of 256 colours


def test_what_does_not_change_does_not_flicker(tmp_path: Path):
    save_animation(painted(tmp_path, 5), tmp_path / "a.gif", 200)
    with Image.open(tmp_path / "a.gif") as gif:
        left = [np.asarray(frame.convert("RGB"))[:, :30] for frame in ImageSequence.Iterator(gif)]
    for frame in left[1:]:
        assert np.array_equal(frame, left[0])


def test_smaller_pictures_are_filled_up(tmp_path: Path):
    (tmp_path / "small").mkdir()
    pictures = painted(tmp_path, 1) + painted(tmp_path / "small", 2, (30, 50))
    save_animation(pictures, tmp_path / "a.gif", 200)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size == (60, 50)
    assert strip(pictures).size == (60, 40 + 50 + 50)


@pytest.mark.parametrize(("count", "shown"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (6, [0, 2, 5])])
def test_the_strip_has_the_first_the_middle_and_the_last(tmp_path: Path, count: int, shown: list[int]):
    pictures = painted(tmp_path, count)
    expected = np.concatenate([np.asarray(Image.open(pictures[index])) for index in shown])
    assert np.array_equal(np.asarray(strip(pictures)), expected)


def test_one_picture_is_an_animation_too(tmp_path: Path):
    save_animation(painted(tmp_path, 1), tmp_path / "a.gif", 200)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 1


def test_a_damaged_picture_is_named(tmp_path: Path):
    pictures = painted(tmp_path, 2)
    pictures[1].write_bytes(b"no picture")
    with pytest.raises(LeopartError, match=r"cannot read the picture .*1\.png"):
        save_animation(pictures, tmp_path / "a.gif", 200)
    assert not (tmp_path / "a.gif").exists()

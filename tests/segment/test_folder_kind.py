from __future__ import annotations

import numpy as np
import pytest

from leopart.segment.folder_kind import FolderKind, PlaceCounts

FOREGROUND = np.array([False, True])


def ratio(*photos: np.ndarray) -> float:
    counts = PlaceCounts(2)
    for photo in photos:
        counts.add(photo)
    return counts.border_ratio(FOREGROUND)


def test_the_ratio_is_the_foreground_of_the_border_by_that_of_the_middle():
    photo = (np.random.default_rng(0).random((32, 32)) < 0.3).astype(int)
    border = [photo[y, x] for y in range(32) for x in range(32) if min(y, x, 31 - y, 31 - x) < 2]
    middle = [photo[y, x] for y in range(8, 24) for x in range(8, 24)]
    assert ratio(photo) == pytest.approx(np.mean(border) / np.mean(middle))


def test_photos_are_counted_together_whatever_their_shape():
    """The border has 240 cells and 136, 40 of them foreground; in the middle only the first photo has any."""
    thing, other = np.zeros((32, 32), int), np.zeros((16, 40), int)
    thing[8:24, 8:24] = 1
    other[0] = 1
    border = 40 / (240 + 136)
    assert ratio(thing, other) == pytest.approx(border / (256 / (256 + 8 * 20)))


@pytest.mark.parametrize(
    ("border_ratio", "name"), [(0.0, "things"), (0.25, "things"), (0.5, "scenes"), (1.2, "texture")]
)
def test_a_folder_is_named_by_its_ratio(border_ratio: float, name: str):
    assert FolderKind(border_ratio).name == name


def test_a_photo_of_one_token_is_all_border():
    assert ratio(np.ones((1, 1), int)) > 1

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto

#: Parts of the planted photos: two background surfaces, then head and body of two kinds of animal.
LEFT, RIGHT, HEAD, BODY, TOP, BOTTOM = range(6)
GRID = 10


def planted_parts(photo: int) -> np.ndarray:
    """Which part each token of a planted photo shows, [10, 10]: one animal on a ground of two halves."""
    parts = np.full((GRID, GRID), LEFT)
    parts[:, GRID // 2 :] = RIGHT
    left = 1 + photo % 3
    if photo % 3 < 2:  # the first animal is in two photos of three
        parts[1:4, left : left + 6] = HEAD
        parts[4:8, left : left + 6] = BODY
    else:
        parts[1:4, left : left + 5] = TOP
        parts[4:8, left : left + 5] = BOTTOM
    return parts


@pytest.fixture(scope="session")
def planted_truth() -> np.ndarray:
    """Parts 0..5 of the tokens of the twelve planted photos, [12, 10, 10]; 0 and 1 are ground."""
    return np.stack([planted_parts(photo) for photo in range(12)])


@pytest.fixture
def planted_store(tmp_path: Path) -> FeatureStore:
    """Twelve photos whose tokens are their part's vector and some noise, with attention on the animals."""
    rng = np.random.default_rng(0)
    vectors = 6 * np.linalg.qr(rng.standard_normal((16, 6)))[0].T
    entries = [StoredPhoto(f"{photo}.jpg", 1, 1, GRID, GRID) for photo in range(12)]
    recipe = FeatureRecipe("planted", "0", 16, 2, {"size": 10, "keep_aspect": False}, "fp32")
    store = FeatureStore.open(tmp_path / "planted", recipe, entries)
    for photo in range(12):
        parts = planted_parts(photo)
        tokens = vectors[parts] + 0.05 * rng.standard_normal((GRID, GRID, 16))
        attention = np.where(parts >= HEAD, 1.0, 0.3) * rng.uniform(0.9, 1.1, (2, GRID, GRID))
        store.put(photo, tokens.astype(np.float16), attention.astype(np.float32))
    return store


def paint(seed: int, height: int, width: int) -> np.ndarray:
    """A photo of a house, red roof on a blue wall, on noisy green, RGB [height, width, 3]."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 60, (height, width, 3))
    photo[..., 1] += 120
    top, left = int(height * rng.uniform(0.1, 0.3)), int(width * rng.uniform(0.1, 0.4))
    middle, bottom, right = top + height // 4, top + height * 5 // 8, left + width // 2
    photo[top:middle, left:right] = np.array([220, 30, 30]) + rng.integers(-20, 20, 3)
    photo[middle:bottom, left:right] = np.array([30, 30, 210]) + rng.integers(-20, 20, 3)
    return photo.astype(np.uint8)


@pytest.fixture(scope="session")
def paint_photo() -> Callable[[int, int, int], np.ndarray]:
    """Give a painted photo from (seed, height, width)."""
    return paint


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight painted photos of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        Image.fromarray(paint(seed, 60 + 4 * seed, 90 - 5 * seed)).save(folder / f"{seed}.png")
    return folder

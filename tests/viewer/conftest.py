"""A real run, small: a tiny network, photos of painted blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leopart.models.backbone import Backbone
from leopart.segment.segmenter import Segmenter


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos: a red block on a blue one, on noisy green."""
    folder = tmp_path_factory.mktemp("painted")
    rng = np.random.default_rng(0)
    for number in range(6):
        photo = rng.integers(0, 60, (72, 96, 3)) + np.array([0, 120, 0])
        left = 10 + 6 * number
        photo[10:35, left : left + 40] = np.array([220, 30, 30]) + rng.integers(-20, 20, 3)
        photo[35:60, left : left + 40] = np.array([30, 30, 210]) + rng.integers(-20, 20, 3)
        Image.fromarray(photo.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def fitted(tiny_backbone: Backbone, painted: Path) -> Segmenter:
    """Of six parts and two objects. One photo a batch: the same sums as for a photo alone."""
    options = {"n_parts": 6, "n_objects": 2, "size": 64, "precision": "fp32", "foreground": "none"}
    return Segmenter(tiny_backbone, device="cpu", batch_size=1, **options).fit(painted)

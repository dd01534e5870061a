from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from leopart.clustering.kmeans import KMeans
from leopart.config import OverclusteringFigureConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.figures.overclustering import class_maps
from leopart.progress import silent


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Four photos, a bright class 2 beside a dark class 7 on noise; rims without a label."""
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for photo in range(4):
        pixels = generator.integers(60, 120, (48, 64, 3))
        ids = np.zeros((48, 64), np.uint8)
        x, y = generator.integers(2, 20, 2)
        pixels[y : y + 20, x : x + 20], ids[y : y + 20, x : x + 20] = (240, 200, 40), 2
        pixels[y : y + 20, x + 20 : x + 40], ids[y : y + 20, x + 20 : x + 40] = (10, 10, 60), 7
        ids[:3] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / "images" / f"{photo}.png")
        Image.fromarray(ids).save(tmp_path / "set" / "masks" / f"{photo}.png")
    (tmp_path / "set" / "classes.txt").write_text("0\tbackground\n2\tbright\n7\tdark\n")
    return tmp_path / "set"


def test_a_cluster_has_the_class_of_most_of_its_pixels(
    labelled: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen, assign = [], KMeans.assign

    def spy(self, points):
        seen.append(assign(self, points).numpy().copy())
        return torch.from_numpy(seen[-1])

    monkeypatch.setattr(KMeans, "assign", spy)
    data = labelled_photos(f"folder:{labelled}")
    config = OverclusteringFigureConfig(
        name="overclustering",
        data=f"folder:{labelled}",
        out=tmp_path / "out",
        backbone=str(tiny_weights),
        k=12,
        size=64,
        device="cpu",
    )
    found = class_maps(config, data, [1, 3], silent)

    ids = [grid for grid in seen if grid.shape == (8, 8)][:4]
    votes: dict[int, Counter[int]] = {}
    for photo, clusters in enumerate(ids):
        square = Image.open(labelled / "masks" / f"{photo}.png").resize((64, 64), Image.Resampling.NEAREST)
        truth = F.interpolate(torch.from_numpy(np.array(square))[None, None], (100, 100), mode="nearest")[
            0, 0
        ]
        for y in range(100):
            for x in range(100):
                if (label := int(truth[y, x])) != 255:
                    row = [0, 2, 7].index(label)
                    votes.setdefault(int(clusters[y * 8 // 100, x * 8 // 100]), Counter())[row] += 1
    assert set(found) == {1, 3}
    for photo, rows in found.items():
        for cluster, row in zip(ids[photo].ravel(), rows.ravel(), strict=True):
            most = max(votes[int(cluster)].values())
            assert row == min(c for c, count in votes[int(cluster)].items() if count == most)
    assert {0, 1, 2} == {int(row) for rows in found.values() for row in np.unique(rows)}
    assert (tmp_path / "out" / "overclustering.json").is_file()

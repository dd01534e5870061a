"""The stages of `segment` between the network and the files, each against a naive version of the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.extraction import write_photos
from benchmarks.harness import Comparison, compare
from leopart.clustering.cooccurrence import CLEAN_OFFSETS, Cooccurrence
from leopart.clustering.kmeans import KMeans
from leopart.data.photos import find_photos
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import load_backbone
from leopart.segment.refinement import guided

#: What another user of the machine does: products of matrices in as many threads as there are cores.
_NEIGHBOUR = "import torch\nx = torch.rand(1500, 1500)\nwhile True: x @ x"


def run() -> Iterator[Comparison]:
    yield from _encoding()
    yield _nearest()
    yield _neighbours()
    yield _outlines()


def _encoding() -> Iterator[Comparison]:
    """Photos side by side, against one after the other in all threads: alone, and beside another job."""
    with tempfile.TemporaryDirectory() as folder:
        photos = find_photos([write_photos(Path(folder) / "photos")])
        extractor = Extractor(load_backbone(), Preprocessing(112))

        def ours() -> None:
            for _ in extractor.stream(photos):
                pass

        def naive() -> None:
            for photo in photos:
                extractor.forward([extractor.prepare(photo.path)])

        yield compare("encoding at 112 / photo by photo", ours, naive, note="alone")
        neighbour = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR], env=dict(os.environ))
        try:
            yield compare("encoding at 112 / photo by photo", ours, naive, note="beside another job")
        finally:
            neighbour.kill()
            neighbour.wait()


def _nearest() -> Comparison:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(128 * 128, 50, generator=generator)
    clusters = KMeans(torch.randn(200, 50, generator=generator), spherical=False, objective=0.0)
    return compare(
        "nearest of 200 parts / distances",
        lambda: clusters.nearest(points),
        lambda: torch.cdist(points, clusters.centroids).min(1),
        note="a photo's grid, 128 x 128",
    )


def _neighbours() -> Comparison:
    ids = np.kron(np.random.default_rng(0).integers(-1, 25, (32, 32)), np.ones((4, 4), np.int64))

    def naive() -> NDArray[np.int64]:
        counts = np.zeros((25, 25), np.int64)
        for dy, dx in CLEAN_OFFSETS:
            rows, columns = (slice(max(0, -d), 128 - max(0, d)) for d in (dy, dx))
            there_rows, there_columns = (slice(max(0, d), 128 - max(0, -d)) for d in (dy, dx))
            a, b = ids[rows, columns], ids[there_rows, there_columns]
            kept = (a >= 0) & (b >= 0) & (a != b)
            np.add.at(counts, (a[kept], b[kept]), 1)
        return counts

    return compare(
        "neighbours of parts / np.add.at", lambda: Cooccurrence(25).add(ids), naive, note="a photo's grid"
    )


def _outlines() -> Comparison:
    generator = np.random.default_rng(0)
    photo = cv2.resize(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8), (640, 480))
    values = cv2.resize(generator.standard_normal((32, 32)).astype(np.float32), (640, 480))
    return compare(
        "outlines (guided filter) / LAPACK",
        lambda: guided(values, photo, 6, 1e-3),
        lambda: _guided_by_lapack(values, photo, 6, 1e-3),
        note="640 x 480",
    )


def _guided_by_lapack(
    values: NDArray[np.float32], photo: NDArray[np.uint8], radius: int, contrast: float
) -> NDArray[np.float32]:
    guide, window = photo / np.float32(255), (2 * radius + 1, 2 * radius + 1)

    def mean(maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(maps, window, borderType=cv2.BORDER_REFLECT), np.float32)

    colour, value = mean(guide), mean(values)
    right = mean(guide * values[..., None]) - colour * value[..., None]
    spread = np.stack([mean(guide * guide[..., [a]]) - colour * colour[..., [a]] for a in range(3)], -1)
    slope = np.linalg.solve(spread + contrast * np.eye(3, dtype=np.float32), right[..., None])[..., 0]
    return np.asarray((mean(slope) * guide).sum(-1) + mean(value - (slope * colour).sum(-1)), np.float32)

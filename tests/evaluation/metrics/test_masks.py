from __future__ import annotations

import numpy as np
import pytest

from leopart.data.masks import IGNORE
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.jaccard import foreground_jaccard
from leopart.evaluation.metrics.masks import score_maps
from leopart.evaluation.metrics.matching import hungarian

CLASSES = 4


def random_maps(ids: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photos of different sizes; photo i holds ids up to `ids[i]`, and some pixels without a label."""
    maps = []
    for seed, most in enumerate(ids):
        generator = np.random.default_rng(seed)
        shape = (5 + seed, 8)
        labels = generator.choice([*range(CLASSES), IGNORE], shape).astype(np.uint8)
        maps.append((labels, generator.integers(0, most + 1, shape)))
    return maps


@pytest.mark.parametrize("ids", [[6, 2, 5], [1, 2, 7], [3]])
def test_scores_are_those_of_all_pixels_together_however_ids_grow(ids: list[int]):
    maps = random_maps(ids)
    clusters = 1 + max(int(found.max()) for _, found in maps)
    together = Confusion(CLASSES, clusters, IGNORE)
    for labels, found in maps:
        together.update(labels, found)
    scores = score_maps(iter(maps), CLASSES, 0)

    assert (scores.images, scores.clusters) == (len(ids), clusters)
    assert scores.matching.miou == hungarian(together.matrix, 0).miou
    assert scores.jaccard == pytest.approx(np.mean([foreground_jaccard(*pair) for pair in maps]))
    assert scores.foreground_truth == pytest.approx(np.mean([(labels != 0).mean() for labels, _ in maps]))

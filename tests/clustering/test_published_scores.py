"""Reduction and k-means together against the scores of the published pipeline."""

from __future__ import annotations

import numpy as np


def test_overclustering_scores_lie_in_the_golden_range(golden, adapter):
    case = golden("kmeans_pipeline")
    scores = adapter.kmeans_pipeline(
        case["features"].astype(np.float32),
        case["gt"].astype(np.int64),
        *(int(case[name]) for name in ("grid", "num_classes", "k", "pca_dim")),
        case["seeds"].tolist(),
        bool(case["spherical"]),
    )

    assert case["score_lo"] <= np.mean(scores) <= case["score_hi"]
    assert len(scores) == len(case["seeds"])

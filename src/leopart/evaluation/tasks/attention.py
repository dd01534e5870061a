"""The task `attention`: CLS attention against the labelled foreground."""

from __future__ import annotations

import numpy as np

from leopart.config import AttentionConfig
from leopart.evaluation.case import Case
from leopart.evaluation.metrics.attention import AttentionScores, merged_mask
from leopart.evaluation.report import Outcome, Score


def run(case: Case[AttentionConfig]) -> Outcome:
    """See `leopart.evaluation.metrics.attention`.

    Raises:
        LeopartError: a photo or mask cannot be used, there is no background class, or no attention.
    """
    config, background = case.config, case.background
    labels = case.labels(case.labelled, config.size)
    store = case.attention()
    scores = AttentionScores(config.keep, background)
    with case.watch.stage("scoring"):
        for index in case.track(range(len(labels)), len(labels), "scoring"):
            attention = store.attention_of(index)
            scores.add(attention, labels[index])
            case.maps.write_mask("attention", index, merged_mask(attention, config.keep))
    metrics = {"jaccard": np.array([scores.merged]), "best head": np.array([scores.best_head])}
    extra = {
        "photos with objects": scores.photos_with_objects,
        "objects won by each head": scores.head_wins.tolist(),
    }
    used = {"masks": "none", "scores": "those of the photos scored"}
    return Outcome((Score("attention", metrics),), used, extra=extra)

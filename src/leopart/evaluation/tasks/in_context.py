"""The task `in-context`: each patch takes the labels of its nearest labelled patches."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from leopart.config import InContextConfig
from leopart.evaluation.case import Case, as_side
from leopart.evaluation.in_context import MemoryBank, fraction_subset, in_context
from leopart.evaluation.metrics.matching import Matching, score
from leopart.evaluation.report import Outcome, Score
from leopart.evaluation.splits import learned_photos, notes_on


def run(case: Case[InContextConfig]) -> Outcome:
    """See `leopart.evaluation.in_context`.

    Raises:
        LeopartError: a photo or mask cannot be used, or a photo is in both splits.
    """
    config = case.config
    learned = learned_photos(config, case.labelled, case.given.learned)
    labels = case.labels(case.labelled, as_side(config.eval_size))
    memory_labels = case.labels(learned, config.size)
    memory_tokens, tokens = case.features(learned, "training features"), case.features(case.labelled)

    def scored(share: Fraction, seed: int) -> Matching:
        chosen = fraction_subset(len(learned.pairs), float(share), seed)
        bank = MemoryBank.build(
            memory_tokens,
            memory_labels,
            case.num_classes,
            memory_size=config.memory,
            seed=seed,
            device=case.device,
            photos=chosen.tolist(),
            track=case.track,
        )
        confusion = in_context(
            bank,
            tokens,
            labels,
            neighbours=config.neighbours,
            temperature=config.temperature,
            on_map=(lambda index, rows: case.maps.write(_folder(share), index, rows)) if not seed else None,
            track=case.track,
        )
        return score(confusion.matrix, np.arange(case.num_classes), case.labelled.background, config.absent)

    rows = []
    with case.watch.stage("neighbours"):
        for share in config.shares:
            seeds = range(config.seeds if share < 1 else 1)  # all photos can be drawn in one way only
            photos = len(fraction_subset(len(learned.pairs), float(share)))
            matchings = [scored(share, seed) for seed in seeds]
            rows.append(Score.of_matchings(str(share), matchings, photos=photos))
    used = {"memory": f"those of {len(learned.pairs)} training photos, or of a share of them"}
    used["scores"] = "those of the photos scored"
    return Outcome(tuple(rows), used, tuple(range(config.seeds)), notes=notes_on(learned))


def _folder(share: Fraction) -> str:
    return f"share-{share}".replace("/", "-of-")

"""The task `boundary`: outlines of foreground masks against the labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.config import BoundaryConfig
from leopart.data.masks import check_mask_size, read_index_mask
from leopart.evaluation.case import Case
from leopart.evaluation.labels import mask_files, nearest, squeezed
from leopart.evaluation.metrics.attention import merged_mask
from leopart.evaluation.metrics.boundary import mean_boundary_f1
from leopart.evaluation.report import Outcome, Score

Mask = npt.NDArray[np.bool_]


def run(case: Case[BoundaryConfig]) -> Outcome:
    """See `leopart.evaluation.metrics.boundary`.

    Raises:
        LeopartError: a photo or mask cannot be used, there is no background class, or no attention.
    """
    config, background = case.config, case.background
    labels = case.labels(case.labelled, config.size)
    found = _attended(case) if config.predicted is None else _predicted(case, config.predicted)

    def pairs() -> Iterator[tuple[Mask, Mask]]:
        for index in case.track(range(len(labels)), len(labels), "scoring"):
            mask = found(index)
            case.maps.write_mask("boundary", index, mask)
            yield labels[index] != background, mask

    with case.watch.stage("scoring"):
        scores = mean_boundary_f1(pairs(), config.tolerance)
    metrics = {"f1": scores.f1, "precision": scores.precision, "recall": scores.recall}
    name = "attention" if config.predicted is None else "predicted masks"
    row = Score(name, {metric: np.array([value]) for metric, value in metrics.items()})
    used = {
        "masks": "none" if config.predicted is None else "unknown",
        "scores": "those of the photos scored",
    }
    return Outcome((row,), used, extra={"photos without any outline": scores.left_out})


def _attended(case: Case[BoundaryConfig]) -> Callable[[int], Mask]:
    """Masks of the CLS attention, enlarged by nearest."""
    store, config = case.attention(), case.config
    return lambda index: nearest(merged_mask(store.attention_of(index), config.keep), config.size)


def _predicted(case: Case[BoundaryConfig], folder: Path) -> Callable[[int], Mask]:
    """Masks of a folder, squeezed as the labels are."""
    photos = [photo for photo, _ in case.labelled.pairs]
    paths = mask_files(folder, photos, "--predicted")

    def read(index: int) -> Mask:
        ids = read_index_mask(paths[index])
        check_mask_size(ids, paths[index], photos[index].path)
        mask: Mask = squeezed(ids, case.config.size) != 0
        return mask

    return read

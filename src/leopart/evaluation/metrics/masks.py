"""Scores of masks that were found without labels, measured with labels afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leopart.data.datasets.presence import spelled
from leopart.data.labelled import LabelledPhotos
from leopart.data.masks import IGNORE, read_index_mask
from leopart.data.photos import output_stems
from leopart.errors import LeopartError
from leopart.evaluation.metrics.confusion import Confusion
from leopart.evaluation.metrics.jaccard import foreground_jaccard
from leopart.evaluation.metrics.matching import Matching, hungarian

Maps = tuple[NDArray[np.uint8], NDArray[np.integer]]
"""Labels and found ids of one photo."""


@dataclass(frozen=True)
class MaskScores:
    """Scores of a folder of masks.

    Attributes:
        images: number of photos scored.
        clusters: number of ids in the masks, background included.
        matching: ids and classes one to one (Hungarian), see `Matching`.
        jaccard: mean over photos of the foreground Jaccard index, in [0, 1].
        foreground_truth: share of pixels that are labelled foreground, for comparison: a mask that is
            foreground everywhere scores about this Jaccard index.
    """

    images: int
    clusters: int
    matching: Matching
    jaccard: float
    foreground_truth: float


def score_masks(masks: Path, labelled: LabelledPhotos) -> MaskScores:
    """Compare index PNGs, 0 = background, with the labels at the photos' own size.

    Labels without a background class (everything else is 255) count their 255 as background for the Jaccard
    index and leave it out of the mIoU; ids without a class are then matched to nothing.

    Args:
        masks: folder with a PNG per photo, named as `leopart segment` names them.
        labelled: photos, masks and class names.

    Raises:
        LeopartError: a mask is missing or has another size than the labels.

    Source: Leopart, CVPR 2022, tables 2b (Hungarian mIoU) and 2c (Jaccard) of the supplement, at the photos'
    own size instead of 100 x 100.
    """
    stems = output_stems([photo for photo, _ in labelled.pairs])
    pairs = list(zip(spelled(masks, [f"{stem}.png" for stem in stems]), labelled.pairs, strict=True))

    def maps() -> Iterator[Maps]:
        for found, pair in pairs:
            ids, labels = read_index_mask(found), labelled.rows(labelled.read_mask(*pair))
            if ids.shape != labels.shape:
                message = f"{found} has another size than the labels {pair[1]}: segment the same photos"
                raise LeopartError(message)
            yield labels, ids

    return score_maps(maps(), len(labelled.classes), labelled.background)


def score_maps(maps: Iterable[Maps], classes: int, background: int | None) -> MaskScores:
    """`score_masks` for label maps and ids in memory, at any size; one pair is held at a time.

    Args:
        maps: rows of the classes [H, W], 255 = no label, and ids [H, W], 0 = background; at least one pair.
        classes: number of rows.
        background: row of the background class; None where there is none.
    """
    empty = IGNORE if background is None else background
    matrix, jaccard, truth = np.zeros((classes, 1), np.int64), [], []
    for labels, ids in maps:
        confusion = Confusion(classes, max(int(ids.max()) + 1, matrix.shape[1]), IGNORE)
        confusion.update(labels, ids)
        wider = confusion.matrix.copy()
        wider[:, : matrix.shape[1]] += matrix
        matrix = wider
        jaccard.append(foreground_jaccard(labels, ids, background=empty))
        truth.append(float((labels != empty).mean()))
    return MaskScores(
        images=len(jaccard),
        clusters=matrix.shape[1],
        matching=hungarian(matrix, background),
        jaccard=float(np.mean(jaccard)),
        foreground_truth=float(np.mean(truth)),
    )

"""Label maps at the size at which predictions are compared with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo
from leopart.evaluation.confusion import Labels
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent


def nearest(ids: Labels, side: int) -> Labels:
    """A map [h, w] of ids at `side` x `side`: cell i of the result is cell floor(i * h / side).

    This is torch's `nearest`, in exact integers.
    """
    rows, columns = (np.arange(side) * length // side for length in ids.shape)
    return ids[np.ix_(rows, columns)]


def small_labels(
    labelled: LabelledPhotos, side: int = 100, through: int = 448, *, track: Track = silent
) -> list[npt.NDArray[np.uint8]]:
    """Class rows of every photo's mask, [side, side] each, 255 where there is no label.

    A mask follows its photo: squeezed into the square that the network sees, then made smaller, both by
    nearest. The second step takes a cell's corner, as it does for cluster ids, so that both lie alike.

    Args:
        labelled: photos, masks and class names.
        side: of the result.
        through: side in pixels of the network's input.
        track: progress, one step a photo.

    Raises:
        LeopartError: a mask cannot be read, or does not fit its photo or the classes.

    Source: Leopart, CVPR 2022, evaluation: by nearest to 448 as Pillow does it, then to 100 as torch does.
    """

    def read(pair: tuple[Photo, Path]) -> npt.NDArray[np.uint8]:
        ids = labelled.read_mask(*pair)
        corners = np.arange(side) * through // side
        rows, columns = ((2 * corners + 1) * length // (2 * through) for length in ids.shape)
        return labelled.rows(ids[np.ix_(rows, columns)])

    masks = ordered_map(read, labelled.pairs, workers=workers())
    return list(track(masks, len(labelled.pairs), "masks"))

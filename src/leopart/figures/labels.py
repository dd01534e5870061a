"""Labelled photos and their part masks; unlabelled pixels are dark green."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leopart.config import LabelsFigureConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.images import load_photo, photo_size
from leopart.drawing.mosaic import fitted, fitted_ids, mosaic
from leopart.drawing.page import LegendEntry, Page
from leopart.figures.choice import chosen
from leopart.figures.classes import ClassColours, labels_of
from leopart.progress import Track

DARK_GREEN = np.array((6, 46, 26), np.uint8)
"""Of pixels that are no part."""


def draw(config: LabelsFigureConfig, track: Track) -> Page:
    """Photos (a), and below each its mask in flat colours (b)."""
    labelled = labelled_photos(config.data, config.masks, config.split)
    every = [photo for photo, _ in labelled.pairs]
    photos = [every[index] for index in chosen(every, config)]
    classes = ClassColours(labelled)
    masks = [classes.numbers(labels_of(labelled, photo)) for photo in track(photos, len(photos), "masks")]
    table = classes.table.copy()
    table[0] = DARK_GREEN

    def both(index: int, height: int, width: int) -> list[NDArray[np.uint8]]:
        photo = load_photo(photos[index].path, smallest=(height, width))
        return [fitted(photo, height, width), table[fitted_ids(masks[index], height, width)]]

    sizes = [photo_size(photo.path) for photo in photos]
    return mosaic(
        [width / height for height, width in sizes],
        both,
        width=config.width,
        dpi=config.dpi,
        columns=config.columns,
        bands=("(a) photo", "(b) parts"),
        legend=[LegendEntry("no part", DARK_GREEN), *classes.legend(masks)],
    )

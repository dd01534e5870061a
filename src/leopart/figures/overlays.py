"""Pages of photos with masks drawn over them, for four of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leopart.config import OverlayConfig
from leopart.data.images import load_photo, photo_size
from leopart.data.photos import Photo
from leopart.drawing.masks import overlay
from leopart.drawing.mosaic import fitted, fitted_ids, mosaic
from leopart.drawing.page import LegendEntry, Page

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Layer:
    """Masks of all photos shown.

    Attributes:
        name: of the masks, written beside them.
        ids: of each photo, integer [h, w] of any size, 0 = no colour.
        table: sRGB of each id, uint8 [n, 3].
    """

    name: str
    ids: Sequence[NDArray[np.integer]]
    table: Pixels


def overlay_page(
    photos: Sequence[Photo], layers: Sequence[Layer], legend: Sequence[LegendEntry], config: OverlayConfig
) -> Page:
    """Draw every photo once for each layer, one below the other.

    Raises:
        PhotoError: a photo cannot be read.
        LeopartError: matplotlib is missing.
    """
    sizes = [photo_size(photo.path) for photo in photos]

    def draw(index: int, height: int, width: int) -> list[Pixels]:
        photo = fitted(load_photo(photos[index].path, smallest=(height, width)), height, width)
        masks = [(fitted_ids(layer.ids[index], height, width), layer.table) for layer in layers]
        drawn = [overlay(photo, ids, table, config.opacity) for ids, table in masks]
        return [photo, *drawn] if config.originals else drawn

    return mosaic(
        [width / height for height, width in sizes],
        draw,
        width=config.width,
        dpi=config.dpi,
        columns=config.columns,
        bands=(["photo"] if config.originals else []) + [layer.name for layer in layers],
        legend=legend,
    )

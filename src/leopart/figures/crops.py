"""Views of photos as in training, and the boxes on which pairs of views are compared.

Legend: T global views, N views of a photo in all, global ones first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leopart.config import CropsFigureConfig
from leopart.data.photometry import AugmentSettings
from leopart.data.photos import find_photos
from leopart.data.views import Views
from leopart.drawing.mosaic import fitted
from leopart.drawing.page import FONT, Page
from leopart.drawing.palette import colours
from leopart.errors import LeopartError
from leopart.presets import preset
from leopart.progress import Track, silent
from leopart.training.run import view_maker
from leopart.training.stream import Stream, Unreadable, ViewDataset

Pixels = NDArray[np.uint8]
UNCHANGED = AugmentSettings(jitter_probability=0, grey_probability=0, blur_probability=0)

#: In points: between views, between photos, height of the tab above a view; widest and thinnest line, and
#: the white round them.
_GAP, _PHOTO_GAP, _TAB = 4.0, 14.0, 1.5 * FONT
_LINES, _CASING = (2.4, 1.2), 0.7


@dataclass(frozen=True)
class View:
    """One view of a photo.

    Attributes:
        index: among the views of the photo, global ones first.
        name: in words.
        pixels: RGB, uint8 [s, s, 3].
        boxes: the area shared with another view, by the index of that view: x1, y1, x2, y2 in pixels of this
            view.
    """

    index: int
    name: str
    pixels: Pixels
    boxes: dict[int, tuple[float, float, float, float]]


def draw(config: CropsFigureConfig, track: Track) -> Page:
    """Global views in a column, local ones in a column beside it, photo by photo."""
    return _page(list(views_of(config, track)), config)


def views_of(config: CropsFigureConfig, track: Track = silent) -> Iterator[list[View]]:
    """Views of each photo: the first ones of a training with the same photos and seed.

    Raises:
        LeopartError: no photo can be read, or there is no such preset.
    """
    recipe = preset(config.preset)
    photos = find_photos(config.images)
    maker = replace(view_maker(recipe), augment=UNCHANGED)
    dataset = ViewDataset(photos, Stream(len(photos), 1, config.seed), maker)
    count = min(config.number, len(photos))
    for position in track(range(count), count, "views"):
        sample = dataset[position]
        if isinstance(sample, Unreadable):
            raise LeopartError(sample.message)
        yield _views(sample[1])


def _views(views: Views) -> list[View]:
    """Each view with its boxes: of a global one with all others, of a local one with the global ones."""
    stack = [*views.global_crops, *views.local_crops]
    n_global = len(views.global_crops)
    found = []
    for index, pixels in enumerate(stack):
        partners = views.gc[index] if index < n_global else views.all[index]
        name = f"global {index + 1}" if index < n_global else f"local {index - n_global + 1}"
        boxes = {other: tuple(box.tolist()) for other, box in enumerate(partners) if other != index}
        found.append(View(index, name, pixels.permute(1, 2, 0).numpy(), boxes))
    return found


def _page(blocks: list[list[View]], config: CropsFigureConfig) -> Page:
    """Photos side by side, two in a row; sides of the views follow from the width of the page."""
    point = config.dpi / 72
    gap, photo_gap, tab = (round(points * point) for points in (_GAP, _PHOTO_GAP, _TAB))
    n_global = sum(view.name.startswith("global") for view in blocks[0])
    n_local = len(blocks[0]) - n_global
    across = round(config.width * config.dpi)
    columns = min(2, len(blocks))
    block = (across - photo_gap * (columns - 1)) // columns
    large, small = _sides(block, n_global, n_local, gap, tab)
    tall = max(n_global * (large + tab + gap), n_local * (small + tab + gap)) - gap
    rows = -(-len(blocks) // columns)
    page = Page(across, rows * (tall + photo_gap) - photo_gap, config.dpi)
    palette = colours(len(blocks[0]) + 1)[1:]
    for number, views in enumerate(blocks):
        row, column = divmod(number, columns)
        left, top = column * (block + photo_gap), row * (tall + photo_gap)
        for view in views:
            is_global = view.index < n_global
            side = large if is_global else small
            place = view.index if is_global else view.index - n_global
            x = left if is_global else left + large + gap
            _draw_view(page, view, x, top + place * (side + tab + gap), side, tab, palette)
    return page


def _sides(block: int, n_global: int, n_local: int, gap: int, tab: int) -> tuple[int, int]:
    """Sides of global and local views that make both columns equally tall and together fill the width."""
    if not n_local:
        return block, 0
    # n_global * large + (n_global - 1) * (tab + gap) = n_local * small + ...; large + gap + small = block
    free = (n_local - n_global) * (tab + gap)
    large = round((n_local * (block - gap) + free) / (n_global + n_local))
    return large, block - gap - large


def _draw_view(page: Page, view: View, left: int, top: int, side: int, tab: int, palette: Pixels) -> None:
    """A view below a tab of its colour, with a box for each partner in the partner's colour."""
    page.block(left, top, side, tab, palette[view.index])
    page.words(left + side / 2, top + tab / 2, view.name, ha="center", color="black")
    axes = page.picture(left, top + tab, fitted(view.pixels, side, side))
    scale = side / len(view.pixels)
    by_area = sorted(view.boxes, key=lambda other: -_area(view.boxes[other]))
    widths = np.linspace(*_LINES, len(by_area))
    for other, line in zip(by_area, widths, strict=True):  # thin ones last: lines that coincide both show
        _draw_box(axes, [edge * scale for edge in view.boxes[other]], palette[other], float(line))


def _draw_box(axes: Any, box: list[float], colour: Pixels, line: float) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:  # disjoint: there is nothing to compare
        return
    for edge, wide in (("white", line + _CASING), (colour / 255, line)):
        shape = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=wide)
        shape.set_joinstyle("miter")
        axes.add_patch(shape)


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])

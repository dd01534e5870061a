"""Masks of a segmenter: foreground, parts, and objects as communities of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leopart.config import (
    CBFEFigureConfig,
    CommunitiesFigureConfig,
    PartsFigureConfig,
    SegmentedConfig,
)
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.data.photos import Photo, find_photos, output_stems
from leopart.drawing.page import LegendEntry, Page
from leopart.drawing.palette import colours
from leopart.evaluation.metrics.masks import score_maps, score_masks
from leopart.evaluation.metrics.matching import Matching
from leopart.figures.choice import chosen
from leopart.figures.classes import ClassColours, labels_of, legend_of
from leopart.figures.overlays import Layer, overlay_page
from leopart.progress import Track
from leopart.segment.outputs import part_palette
from leopart.segment.segmenter import Segmentation, Segmenter

Drawn = tuple[Layer, Sequence[LegendEntry]]
"""Masks of the photos shown, and the legend."""


@dataclass(frozen=True)
class FoundMasks:
    """A segmenter, and its masks of the photos of a figure.

    Attributes:
        segmenter: fitted.
        photos: the photos shown.
        masks: of each photo, at its size.
        labelled: the whole labelled set of the photos, if they are from one.
    """

    segmenter: Segmenter
    photos: Sequence[Photo]
    masks: Sequence[Segmentation]
    labelled: LabelledPhotos | None


def draw(config: SegmentedConfig, track: Track) -> Page:
    """The page of the figure."""
    found = _find(config, track)
    layer, legend = _LAYERS[type(config)](config, found, track)
    layers = [layer]
    if config.labels and found.labelled is not None:
        classes = ClassColours(found.labelled)
        ids = [classes.numbers(labels_of(found.labelled, photo)) for photo in found.photos]
        layers.append(Layer("labels", ids, classes.table))
        by_class = isinstance(config, CommunitiesFigureConfig)
        legend = classes.legend([*layer.ids, *ids] if by_class else ids)
    return overlay_page(found.photos, layers, legend, config)


def _foreground(_config: SegmentedConfig, found: FoundMasks, _track: Track) -> Drawn:
    """Foreground (CBFE) in one colour."""
    ids = [(masks.parts > 0).astype(np.int32) for masks in found.masks]
    return Layer("foreground", ids, colours(2)), []


def _parts(_config: SegmentedConfig, found: FoundMasks, _track: Track) -> Drawn:
    """Part ids in the colours that `leopart segment` gives them."""
    table = part_palette(found.segmenter.model_)
    return Layer("parts", [masks.parts for masks in found.masks], table), []


def _communities(config: SegmentedConfig, found: FoundMasks, track: Track) -> Drawn:
    """Object ids in their own colours, or in those of their matched classes."""
    if found.labelled is None:
        ids = [masks.objects for masks in found.masks]
        table = colours(found.segmenter.model_.n_objects + 1)
        names = [f"object {i}" for i in range(len(table))]
        return Layer("objects", ids, table), legend_of(ids, names, table)
    classes = ClassColours(found.labelled)
    number_of = class_numbers(match_objects(config, found, found.labelled, track), classes)
    ids = [number_of[masks.objects] for masks in found.masks]
    return Layer("objects", ids, classes.table), classes.legend(ids)


_LAYERS: dict[type[SegmentedConfig], Callable[[Any, FoundMasks, Track], Drawn]] = {
    CBFEFigureConfig: _foreground,
    PartsFigureConfig: _parts,
    CommunitiesFigureConfig: _communities,
}


def match_objects(
    config: SegmentedConfig, found: FoundMasks, labelled: LabelledPhotos, track: Track
) -> Matching:
    """Match object ids to classes one to one, over all photos of a labelled set at their own size.

    The masks are those that `leopart segment` wrote for these photos, if it did; otherwise they are computed.

    Raises:
        LeopartError: a mask cannot be used.
    """
    folder = config.segmenter / "objects"
    photos = [photo for photo, _ in labelled.pairs]
    if all((folder / f"{stem}.png").is_file() for stem in output_stems(photos)):
        return score_masks(folder, labelled).matching

    def maps() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        for photo, mask in track(labelled.pairs, len(photos), "matching"):
            rows = labelled.rows(labelled.read_mask(photo, mask))
            yield rows, found.segmenter.predict(photo.path).objects

    return score_maps(maps(), len(labelled.classes), labelled.background).matching


def class_numbers(matching: Matching, classes: ClassColours) -> NDArray[np.int32]:
    """Number of each object id in `ClassColours`: that of its class, or `unmatched`.

    Objects matched to background or to nothing are grey. Id 0 has no colour.
    """
    numbers = classes.numbers(matching.assignment)
    numbers[1:][numbers[1:] == 0] = classes.unmatched
    numbers[0] = 0
    return numbers


def _find(config: SegmentedConfig, track: Track) -> FoundMasks:
    """Load the segmenter, choose photos, and compute their masks.

    Raises:
        LeopartError: the segmenter is incomplete, or a photo cannot be used.
    """
    labelled = None
    if config.data is not None:
        labelled = labelled_photos(config.data, config.masks, config.split)
    photos = find_photos(config.images) if labelled is None else [photo for photo, _ in labelled.pairs]
    shown = [photos[index] for index in chosen(photos, config)]
    inside = config.segmenter / "segmenter"
    folder = inside if inside.is_dir() else config.segmenter
    segmenter = Segmenter.load(folder, backbone=config.backbone, device=config.device)
    masks = [segmenter.predict(photo.path) for photo in track(shown, len(shown), "masks")]
    return FoundMasks(segmenter, shown, masks, labelled)

"""Many clusters of the tokens, each with a class by majority vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leopart.config import OverclusteringConfig, OverclusteringFigureConfig
from leopart.data.datasets.labelled import labelled_photos
from leopart.data.labelled import LabelledPhotos
from leopart.drawing.page import Page
from leopart.evaluation.evaluate import evaluate
from leopart.evaluation.maps import MapWriter
from leopart.evaluation.metrics.confusion import Labels
from leopart.figures.choice import chosen
from leopart.figures.classes import ClassColours, labels_of
from leopart.figures.overlays import Layer, overlay_page
from leopart.progress import Track


class MapKeeper(MapWriter):
    """Keeps the class rows of some photos, and writes nothing.

    Args:
        labelled: the photos and classes.
        shown: indices of the photos to keep.

    Attributes:
        rows: of each of them, [h, w] int32 on the grid of the tokens, -1 for nothing.
    """

    def __init__(self, labelled: LabelledPhotos, shown: Sequence[int]) -> None:
        super().__init__(None, labelled)
        self.shown, self.rows = frozenset(shown), dict[int, Labels]()

    @property
    def wanted(self) -> bool:
        """Always."""
        return True

    def write(self, name: str, index: int, rows: Labels) -> None:
        """Take the predicted classes of photo `index`."""
        del name  # there is one K
        if index in self.shown:
            self.rows[index] = np.asarray(rows, np.int32)


def draw(config: OverclusteringFigureConfig, track: Track) -> Page:
    """Class of the cluster of every token, drawn over the photos."""
    labelled = labelled_photos(config.data, config.masks, config.split).without(config.ignore)
    photos = [photo for photo, _ in labelled.pairs]
    shown = chosen(photos, config)
    rows = class_maps(config, labelled, shown, track)
    classes = ClassColours(labelled)
    layers = [Layer("clusters", [classes.numbers(rows[index]) for index in shown], classes.table)]
    if config.labels:
        truth = [classes.numbers(labels_of(labelled, photos[index])) for index in shown]
        layers.append(Layer("labels", truth, classes.table))
    legend = classes.legend(ids for layer in layers for ids in layer.ids)
    return overlay_page([photos[index] for index in shown], layers, legend, config)


def class_maps(
    config: OverclusteringFigureConfig, labelled: LabelledPhotos, shown: Sequence[int], track: Track
) -> dict[int, Labels]:
    """Class rows of some photos, as `leopart evaluate overclustering` predicts them with all photos.

    Writes `OUT/overclustering.json` with the scores, and the options beside it.

    Args:
        config: options.
        labelled: the photos and classes.
        shown: indices of the photos.
        track: progress.

    Returns:
        Of each photo, rows [h, w] on the grid of the tokens, -1 for nothing.

    Raises:
        LeopartError: data, backbone or options do not fit.
    """
    keeper = MapKeeper(labelled, shown)
    evaluate(
        OverclusteringConfig(
            task="overclustering",
            data=config.data,
            out=config.out / "overclustering.json",
            backbone=config.backbone,
            masks=config.masks,
            split=config.split,
            ignore=config.ignore,
            k=(config.k,),
            seeds=1,
            size=config.size,
            device=config.device,
            batch_size=config.batch_size,
            cache=config.cache,
        ),
        track=track,
        maps=keeper,
    )
    return keeper.rows

"""Learn object parts without labels, and turn them into segmentation masks without labels.

The names in `__all__` are public and stay; everything else may move. They are imported when they are first
used, since torch takes seconds to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leopart import datasets
    from leopart.api.evaluation import evaluate, overcluster
    from leopart.api.extraction import PhotoFeatures, extract
    from leopart.api.training import adapt, train
    from leopart.clustering.kmeans import kmeans
    from leopart.errors import LeopartError
    from leopart.evaluation.report import Scores
    from leopart.models.backbone import Backbone, load_backbone
    from leopart.recipe import Recipe
    from leopart.segment.segmentation import Segmentation
    from leopart.segment.segmenter import NotFittedError, Segmenter
    from leopart.viewer.serve import show as view

__version__ = "0.1.0"
__all__ = [
    "Backbone",
    "LeopartError",
    "NotFittedError",
    "PhotoFeatures",
    "Recipe",
    "Scores",
    "Segmentation",
    "Segmenter",
    "__version__",
    "adapt",
    "datasets",
    "evaluate",
    "extract",
    "kmeans",
    "load_backbone",
    "overcluster",
    "train",
    "view",
]

#: Where a name is, as `module:attribute`, or a module.
_PLACES = {
    "Backbone": "leopart.models.backbone:Backbone",
    "LeopartError": "leopart.errors:LeopartError",
    "NotFittedError": "leopart.segment.segmenter:NotFittedError",
    "PhotoFeatures": "leopart.api.extraction:PhotoFeatures",
    "Recipe": "leopart.recipe:Recipe",
    "Scores": "leopart.evaluation.report:Scores",
    "Segmentation": "leopart.segment.segmentation:Segmentation",
    "Segmenter": "leopart.segment.segmenter:Segmenter",
    "adapt": "leopart.api.training:adapt",
    "datasets": "leopart.datasets",
    "evaluate": "leopart.api.evaluation:evaluate",
    "extract": "leopart.api.extraction:extract",
    "kmeans": "leopart.clustering.kmeans:kmeans",
    "load_backbone": "leopart.models.backbone:load_backbone",
    "overcluster": "leopart.api.evaluation:overcluster",
    "train": "leopart.api.training:train",
    "view": "leopart.viewer.serve:show",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'leopart' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)

"""What the tasks about foreground share."""

from __future__ import annotations

from typing import Any

from leopart.errors import LeopartError
from leopart.evaluation.case import Case
from leopart.features.store import FeatureStore
from leopart.models.transformer import has_cls


def background_of(case: Case[Any]) -> int:
    """Row of the background class.

    Raises:
        LeopartError: there is none, so nothing says what foreground is.
    """
    background = case.labelled.background
    if background is None:
        names = ", ".join(list(case.labelled.classes.values())[:5])
        message = (
            f"no class of these masks is called background (there are {names}, ...), so nothing is foreground"
        )
        raise LeopartError(f"{message}; choose other --masks, or another set such as voc:PATH")
    return background


def attention_store(case: Case[Any]) -> FeatureStore:
    """Features of the photos that are scored, with their CLS attention.

    Raises:
        LeopartError: the backbone has none.
    """
    backbone = case.extractor.backbone
    if not has_cls(backbone.model):  # other networks have a stand-in, which is no attention
        raise LeopartError(
            f"{backbone.name} has no CLS attention; choose a vision transformer with --backbone"
        )
    return case.features(case.labelled)

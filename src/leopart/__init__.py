"""Learn object parts without labels, and turn them into segmentation masks without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leopart.models.backbone import Backbone, load_backbone
    from leopart.segment.segmenter import Segmenter
    from leopart.viewer.serve import show as view

__version__ = "0.1.0"
__all__ = ["Backbone", "Segmenter", "__version__", "load_backbone", "view"]


def __getattr__(name: str) -> Any:
    """Import the public names when first used: torch takes seconds, `leopart --help` must not."""
    if name in ("Backbone", "load_backbone"):
        from leopart.models import backbone

        return getattr(backbone, name)
    if name == "Segmenter":
        from leopart.segment.segmenter import Segmenter

        return Segmenter
    if name == "view":
        from leopart.viewer.serve import show

        return show
    raise AttributeError(f"module 'leopart' has no attribute {name!r}")

"""Backbones and segmenters in forms that other programs take: timm, safetensors, ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leopart.export.folders import Exported, export_backbone, export_segmenter

__all__ = ["Exported", "export_backbone", "export_segmenter"]


def __getattr__(name: str) -> Any:
    """Import the public names when first used, as the package itself does."""
    if name in __all__:
        from leopart.export import folders

        return getattr(folders, name)
    raise AttributeError(f"module 'leopart.export' has no attribute {name!r}")

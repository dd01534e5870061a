"""A backbone as ONNX nodes: `Backbone.forward`, written once more.

Legend: B photos, N = P + h * w tokens, P of them before the patches (CLS, registers), D channels.
"""

from __future__ import annotations

import numpy as np

from leopart.export.graph import Graph
from leopart.export.resnet import write_resnet
from leopart.export.transformer import write_transformer
from leopart.models.backbone import Backbone


def write_backbone(
    graph: Graph, backbone: Backbone, images: str, *, attention: bool = True
) -> tuple[str, str | None]:
    """Write the nodes from photos to tokens and attention.

    Args:
        graph: to write into.
        backbone: whose features to compute, from its own feature block.
        images: uint8 [B, H, W, 3] RGB, of the graph; what is beyond a multiple of the patch is left
            out on the right and below.
        attention: whether to write what only the attention needs.

    Returns:
        Tokens float32 [B, h, w, D], and attention float32 [B, heads, h, w] or None.

    Raises:
        LeopartError: the network has a part that is not known here.
    """
    spec = backbone.spec
    std = np.asarray(spec.std)
    pixels = graph.add(
        "Mul", graph.cast(_whole_patches(graph, images, spec.patch_size)), (1 / 255 / std).astype(np.float32)
    )
    pixels = graph.add("Sub", pixels, (np.asarray(spec.mean) / std).astype(np.float32))
    pixels = graph.add("Transpose", pixels, perm=[0, 3, 1, 2])
    write = write_resnet if spec.convolutional else write_transformer
    return write(graph, backbone, pixels, attention)


def _whole_patches(graph: Graph, images: str, patch: int) -> str:
    """Photos [B, H, W, 3] cut to multiples of the patch: padded convolutions see the rest too."""
    sides = graph.add("Shape", images, start=1, end=3)
    sides = graph.add("Mul", graph.add("Div", sides, [patch]), [patch])
    return graph.add("Slice", images, [0, 0], sides, [1, 2])

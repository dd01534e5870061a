"""A timm vision transformer as ONNX nodes: `Backbone.forward`, written once more.

Legend: B photos, N = P + h * w tokens, P of them before the patches (CLS, registers), D channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from leopart.errors import LeopartError
from leopart.export.graph import Graph
from leopart.export.positions import resampled_positions
from leopart.models.backbone import Backbone

_EPS = 1e-6
"""Of the LayerNorm without parameters, as in `Backbone`."""


def write_backbone(
    graph: Graph, backbone: Backbone, images: str, *, attention: bool = True
) -> tuple[str, str | None]:
    """Write the nodes from photos to tokens and attention.

    Args:
        graph: to write into.
        backbone: whose features to compute, from its own feature block.
        images: uint8 [B, H, W, 3] RGB, of the graph; rows and columns beyond a multiple of the patch are
            left out.
        attention: whether to write what only the attention needs.

    Returns:
        Tokens float32 [B, h, w, D], and attention float32 [B, heads, h, w] or None.

    Raises:
        LeopartError: the network has a part that is not known here.
    """
    model, spec = backbone.model, backbone.spec
    _check_model(model)
    grid = _Grid(graph, backbone, images)
    x, tokens, row = _with_positions(graph, backbone, grid), "", None
    last = (spec.depth if attention else spec.feature_block + 1) - 1
    for index, block in enumerate(model.blocks[: last + 1]):
        query, key, value = _projected(graph, block, x)
        if attention and index == last:
            row = _cls_row(graph, query, key)
        if index > spec.feature_block and index == last:
            break  # only its attention was wanted
        x = _mlp(graph, block, _attend(graph, block, x, query, key, value))
        if index == spec.feature_block:
            tokens = x
    prefix = int(model.num_prefix_tokens)
    patches = _normed(graph, backbone, graph.add("Slice", tokens, [prefix], [2**31 - 1], [1]))
    return grid.unfold(patches), None if row is None else grid.unfold_maps(row, prefix)


class _Grid:
    """Patch embeddings of a batch, and the sizes that later nodes need."""

    def __init__(self, graph: Graph, backbone: Backbone, images: str) -> None:
        spec, projection = backbone.spec, backbone.model.patch_embed.proj
        self._graph, self.dim, self.heads = graph, backbone.dim, backbone.heads
        std = np.asarray(spec.std)
        pixels = graph.add("Mul", graph.cast(images), (1 / 255 / std).astype(np.float32))
        pixels = graph.add("Sub", pixels, (np.asarray(spec.mean) / std).astype(np.float32))
        pixels = graph.add("Transpose", pixels, perm=[0, 3, 1, 2])
        bias = () if projection.bias is None else (projection.bias,)
        maps = graph.add("Conv", pixels, projection.weight, *bias, strides=list(projection.stride))
        shape = graph.add("Shape", maps)  # [B, D, h, w]
        self._sizes = {place: graph.add("Gather", shape, [place]) for place in (0, 2, 3)}
        self.rows, self.columns = (
            graph.add("Gather", shape, np.array(place, dtype=np.int64)) for place in (2, 3)
        )
        flat = graph.add("Transpose", graph.add("Reshape", maps, [0, self.dim, -1]), perm=[0, 2, 1])
        norm = backbone.model.patch_embed.norm
        self.patches = flat if isinstance(norm, nn.Identity) else _layer_norm(graph, norm, flat)

    def repeated(self, token: Any) -> str:
        """A prefix token [1, n, D] for every photo, [B, n, D]."""
        ones = self._graph.add("Concat", self._sizes[0], [1, 1], axis=0)
        return self._graph.add("Expand", token, ones)

    def unfold(self, patches: str) -> str:
        """[B, h * w, D] as [B, h, w, D]."""
        return self._reshape(patches, 0, 2, 3, [self.dim])

    def unfold_maps(self, row: str, prefix: int) -> str:
        """[B, heads, N] without the prefix as [B, heads, h, w]."""
        patches = self._graph.add("Slice", row, [prefix], [2**31 - 1], [2])
        return self._reshape(patches, 0, [self.heads], 2, 3)

    def _reshape(self, value: str, *sizes: int | list[int]) -> str:
        shape = [size if isinstance(size, list) else self._sizes[size] for size in sizes]
        return self._graph.add("Reshape", value, self._graph.add("Concat", *shape, axis=0))


def _with_positions(graph: Graph, backbone: Backbone, grid: _Grid) -> str:
    """Prefix and patch tokens with their positions, [B, N, D]."""
    model = backbone.model
    tokens = [grid.repeated(token) for token in (model.cls_token, model.reg_token) if token is not None]
    table, _ = resampled_positions(
        graph, model.pos_embed[0], grid.rows, grid.columns, backbone.spec.position_resampling
    )
    if model.no_embed_class:
        x = graph.add("Concat", *tokens, graph.add("Add", grid.patches, table), axis=1)
    else:
        x = graph.add("Add", graph.add("Concat", *tokens, grid.patches, axis=1), table)
    return _layer_norm(graph, model.norm_pre, x)


def _projected(graph: Graph, block: Any, x: str) -> tuple[str, str, str]:
    """Of a block: scaled queries [B, heads, N, d], keys [B, heads, d, N] and values [B, heads, N, d]."""
    attn = block.attn
    qkv = graph.linear(_layer_norm(graph, block.norm1, x), attn.qkv.weight, attn.qkv.bias)
    width = attn.qkv.weight.shape[0] // (3 * attn.num_heads)
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", part, [0, 0, attn.num_heads, width]), perm=[0, 2, 1, 3])
        for part in graph.several("Split", 3, qkv, axis=-1)
    )
    query = graph.add("Mul", _layer_norm(graph, attn.q_norm, query), float(attn.scale))
    key = graph.add("Transpose", _layer_norm(graph, attn.k_norm, key), perm=[0, 1, 3, 2])
    return query, key, value


def _attend(graph: Graph, block: Any, x: str, query: str, key: str, value: str) -> str:
    """The attention half of a block."""
    attn = block.attn
    weights = graph.add("Softmax", graph.add("MatMul", query, key), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    mixed = graph.add("Reshape", mixed, [0, 0, attn.proj.weight.shape[1]])
    mixed = _layer_norm(graph, getattr(attn, "norm", nn.Identity()), mixed)
    mixed = graph.linear(mixed, attn.proj.weight, attn.proj.bias)
    return graph.add("Add", x, _scaled(graph, block.ls1, mixed))


def _cls_row(graph: Graph, query: str, key: str) -> str:
    """The first token's attention to all, [B, heads, N]."""
    first = graph.add("Slice", query, [0], [1], [2])
    row = graph.add("Softmax", graph.add("MatMul", first, key), axis=-1)
    return graph.add("Squeeze", row, [2])


def _mlp(graph: Graph, block: Any, x: str) -> str:
    """The other half of a block."""
    mlp = block.mlp
    inner = graph.linear(_layer_norm(graph, block.norm2, x), mlp.fc1.weight, mlp.fc1.bias)
    bent = graph.add("Erf", graph.add("Div", inner, 2**0.5))
    inner = graph.add("Mul", graph.add("Mul", inner, graph.add("Add", bent, 1.0)), 0.5)
    inner = _layer_norm(graph, getattr(mlp, "norm", nn.Identity()), inner)
    inner = graph.linear(inner, mlp.fc2.weight, mlp.fc2.bias)
    return graph.add("Add", x, _scaled(graph, block.ls2, inner))


def _scaled(graph: Graph, scale: Any, x: str) -> str:
    return x if isinstance(scale, nn.Identity) else graph.add("Mul", x, scale.gamma)


def _layer_norm(graph: Graph, norm: Any, x: str) -> str:
    if isinstance(norm, nn.Identity):
        return x
    parameters = (norm.weight,) if norm.bias is None else (norm.weight, norm.bias)
    return graph.add("LayerNormalization", x, *parameters, axis=-1, epsilon=float(norm.eps))


def _normed(graph: Graph, backbone: Backbone, patches: str) -> str:
    """What `Backbone` puts after the feature block: the model's own LayerNorm, or one without parameters."""
    spec = backbone.spec
    if spec.final_norm == "learned" and spec.feature_block == spec.depth - 1:
        return _layer_norm(graph, backbone.model.norm, patches)
    ones = np.ones(backbone.dim, dtype=np.float32)
    return graph.add("LayerNormalization", patches, ones, axis=-1, epsilon=_EPS)


def _check_model(model: Any) -> None:
    """Refuse what the nodes above do not describe; numbers are compared afterwards in any case."""
    from timm.layers import Mlp
    from timm.models.vision_transformer import Attention, Block, VisionTransformer

    if type(model) is not VisionTransformer:
        raise _unknown(f"a {type(model).__name__}")
    if model.cls_token is None or model.pos_embed is None:
        raise _unknown("one without a CLS token or without a position table")
    for block in model.blocks:
        parts = {block: Block, block.attn: Attention, block.mlp: Mlp}
        other = [type(part).__name__ for part, kind in parts.items() if type(part) is not kind]
        if other:
            raise _unknown(f"blocks with {', '.join(other)}")
        activation = block.mlp.act
        if not isinstance(activation, nn.GELU) or activation.approximate != "none":
            raise _unknown(f"the activation {type(activation).__name__}")
        if getattr(block.attn, "gate", None) is not None:
            raise _unknown("gated attention")


def _unknown(what: str) -> LeopartError:
    return LeopartError(
        f"ONNX export knows plain vision transformers, not {what}: use --format timm or safetensors"
    )

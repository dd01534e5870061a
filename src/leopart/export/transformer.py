"""A timm vision transformer as ONNX nodes: the plain one, and EVA's with DINOv3's rotary positions.

Legend: B photos, N = P + h * w tokens, P of them before the patches (CLS, registers), D channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leopart.export.graph import Graph, unknown
from leopart.export.positions import resampled_positions
from leopart.export.resnet import TINY
from leopart.export.rotation import Rotation, write_rotation
from leopart.models.backbone import Backbone
from leopart.models.transformer import has_cls

_EPS = 1e-6
"""Of the LayerNorm without parameters, as in `Backbone`."""
_END = 2**31 - 1


def write_transformer(
    graph: Graph, backbone: Backbone, pixels: str, attention: bool
) -> tuple[str, str | None]:
    """Write the nodes from normalised pixels [B, 3, H, W] to tokens and attention.

    Returns:
        Tokens [B, h, w, D], and attention [B, heads, h, w] or None.

    Raises:
        LeopartError: the network has a part that is not known here.
    """
    model, wanted = backbone.model, backbone.spec.feature_block
    _check_model(model)
    grid = _Grid(graph, backbone, pixels)
    x, tokens, row = _with_positions(graph, backbone, grid), "", None
    rotation = write_rotation(graph, model, grid.rows, grid.columns)
    last = backbone.spec.depth - 1 if attention else wanted
    for index, block in enumerate(model.blocks[: last + 1]):
        query, key, value = _projected(graph, block, x, rotation)
        if attention and index == last and has_cls(model):
            row = _cls_row(graph, query, key)
            if wanted < last:
                break  # nobody reads the last block's own output
        x = _mlp(graph, block, _attend(graph, block, x, query, key, value))
        if index == wanted:
            tokens = x
    prefix = int(model.num_prefix_tokens)
    if attention and row is None:
        row = _lengths_row(graph, x, prefix)
    patches = _normed(graph, backbone, graph.add("Slice", tokens, [prefix], [_END], [1]))
    return grid.unfold(patches), None if row is None else grid.unfold_maps(row, prefix)


class _Grid:
    """Patch embeddings of a batch, and the sizes that later nodes need."""

    def __init__(self, graph: Graph, backbone: Backbone, pixels: str) -> None:
        embed = backbone.model.patch_embed
        self._graph, self.dim, self.heads = graph, backbone.dim, backbone.heads
        bias = () if embed.proj.bias is None else (embed.proj.bias,)
        maps = graph.add("Conv", pixels, embed.proj.weight, *bias, strides=list(embed.proj.stride))
        shape = graph.add("Shape", maps)  # [B, D, h, w]
        self._sizes = {place: graph.add("Gather", shape, [place]) for place in (0, 2, 3)}
        self.rows, self.columns = (
            graph.add("Gather", shape, np.array(place, dtype=np.int64)) for place in (2, 3)
        )
        flat = graph.add("Transpose", graph.add("Reshape", maps, [0, self.dim, -1]), perm=[0, 2, 1])
        self.patches = _layer_norm(graph, embed.norm, flat)

    def repeated(self, token: Any) -> str:
        """A prefix token [1, n, D] for every photo, [B, n, D]."""
        ones = self._graph.add("Concat", self._sizes[0], [1, 1], axis=0)
        return self._graph.add("Expand", token, ones)

    def unfold(self, patches: str) -> str:
        """[B, h * w, D] as [B, h, w, D]."""
        return self._reshape(patches, 0, 2, 3, [self.dim])

    def unfold_maps(self, row: str, prefix: int) -> str:
        """[B, heads, N] without the prefix as [B, heads, h, w]."""
        patches = self._graph.add("Slice", row, [prefix], [_END], [2])
        return self._reshape(patches, 0, [self.heads], 2, 3)

    def _reshape(self, value: str, *sizes: int | list[int]) -> str:
        shape = [size if isinstance(size, list) else self._sizes[size] for size in sizes]
        return self._graph.add("Reshape", value, self._graph.add("Concat", *shape, axis=0))


def _with_positions(graph: Graph, backbone: Backbone, grid: _Grid) -> str:
    """Prefix and patch tokens with their positions, [B, N, D]."""
    model, rule, x = backbone.model, backbone.spec.position_resampling, grid.patches
    tokens = [grid.repeated(token) for token in (model.cls_token, model.reg_token) if token is not None]
    table = None
    if model.pos_embed is not None and rule != "none":
        table, _ = resampled_positions(graph, model.pos_embed[0], grid.rows, grid.columns, rule)
    if table is not None and model.no_embed_class:
        x = graph.add("Add", x, table)
    if tokens:
        x = graph.add("Concat", *tokens, x, axis=1)
    if table is not None and not model.no_embed_class:
        x = graph.add("Add", x, table)
    return _layer_norm(graph, model.norm_pre, x)


def _projected(graph: Graph, block: Any, x: str, rotation: Rotation | None) -> tuple[str, str, str]:
    """Of a block: scaled queries [B, heads, N, d], keys [B, heads, d, N] and values [B, heads, N, d]."""
    attn = block.attn
    weight, bias = _projection(attn)
    qkv = graph.linear(_layer_norm(graph, block.norm1, x), weight, bias)
    width = len(weight) // (3 * attn.num_heads)
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", part, [0, 0, attn.num_heads, width]), perm=[0, 2, 1, 3])
        for part in graph.several("Split", 3, qkv, axis=-1)
    )
    query, key = _layer_norm(graph, attn.q_norm, query), _layer_norm(graph, attn.k_norm, key)
    if rotation is not None:
        query, key = rotation.rotated(graph, query), rotation.rotated(graph, key)
    query = graph.add("Mul", query, float(attn.scale))
    return query, graph.add("Transpose", key, perm=[0, 1, 3, 2]), value


def _projection(attn: Any) -> tuple[Tensor, Tensor | None]:
    """Weight [3 * D, D] and bias [3 * D] of queries, keys and values, however the class keeps them."""
    if attn.qkv is None:
        parts = (attn.q_proj, attn.k_proj, attn.v_proj)
        weight, biases = torch.cat([part.weight for part in parts]), [part.bias for part in parts]
    else:
        weight, biases = attn.qkv.weight, [getattr(attn, f"{letter}_bias", None) for letter in "qkv"]
        if attn.qkv.bias is not None:
            return weight, attn.qkv.bias
    if all(bias is None for bias in biases):
        return weight, None
    zeros = torch.zeros(len(weight) // 3)
    return weight, torch.cat([zeros if bias is None else bias for bias in biases])


def _attend(graph: Graph, block: Any, x: str, query: str, key: str, value: str) -> str:
    """The attention half of a block."""
    attn = block.attn
    weights = graph.add("Softmax", graph.add("MatMul", query, key), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    mixed = graph.add("Reshape", mixed, [0, 0, attn.proj.weight.shape[1]])
    mixed = _layer_norm(graph, getattr(attn, "norm", None), mixed)
    mixed = graph.linear(mixed, attn.proj.weight, attn.proj.bias)
    return graph.add("Add", x, _scaled(graph, block, 1, mixed))


def _mlp(graph: Graph, block: Any, x: str) -> str:
    """The other half of a block."""
    mlp = block.mlp
    inner = graph.linear(_layer_norm(graph, block.norm2, x), mlp.fc1.weight, mlp.fc1.bias)
    bent = graph.add("Erf", graph.add("Div", inner, 2**0.5))
    inner = graph.add("Mul", graph.add("Mul", inner, graph.add("Add", bent, 1.0)), 0.5)
    inner = _layer_norm(graph, getattr(mlp, "norm", None), inner)
    inner = graph.linear(inner, mlp.fc2.weight, mlp.fc2.bias)
    return graph.add("Add", x, _scaled(graph, block, 2, inner))


def _scaled(graph: Graph, block: Any, half: int, x: str) -> str:
    """Layer scale, where there is one: `ls1` in plain blocks, `gamma_1` in EVA's."""
    gamma = getattr(getattr(block, f"ls{half}", None), "gamma", getattr(block, f"gamma_{half}", None))
    return x if gamma is None else graph.add("Mul", x, gamma)


def _cls_row(graph: Graph, query: str, key: str) -> str:
    """The first token's attention to all, [B, heads, N]."""
    first = graph.add("Slice", query, [0], [1], [2])
    row = graph.add("Softmax", graph.add("MatMul", first, key), axis=-1)
    return graph.add("Squeeze", row, [2])


def _lengths_row(graph: Graph, x: str, prefix: int) -> str:
    """The stand-in where there is no CLS token: share in the sum of the patches' lengths, [B, 1, N]."""
    lengths = graph.add("Unsqueeze", graph.add("ReduceL2", x, axes=[2], keepdims=0), [1])
    total = graph.add("ReduceSum", graph.add("Slice", lengths, [prefix], [_END], [2]), [2], keepdims=1)
    return graph.add("Div", lengths, graph.add("Max", total, TINY))


def _layer_norm(graph: Graph, norm: Any, x: str) -> str:
    if norm is None or isinstance(norm, nn.Identity):
        return x
    if not isinstance(norm, nn.LayerNorm):
        raise unknown(f"one with {type(norm).__name__}")
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
    if type(model).__name__ not in ("VisionTransformer", "Eva"):
        raise unknown(f"a {type(model).__name__}")
    for block in model.blocks:
        kinds = [type(part).__name__ for part in (block, block.attn, block.mlp)]
        if kinds not in (["Block", "Attention", "Mlp"], ["EvaBlock", "EvaAttention", "Mlp"]):
            raise unknown(f"blocks of {', '.join(kinds)}")
        activation = block.mlp.act
        if not isinstance(activation, nn.GELU) or activation.approximate != "none":
            raise unknown(f"the activation {type(activation).__name__}")
        if getattr(block.attn, "gate", None) is not None:
            raise unknown("gated attention")

"""The blocks of a transformer of timm, one after the other: tokens of one, CLS attention of the last.

Two classes of timm are known: `VisionTransformer`, and `Eva`, whose positions rotate queries and keys
(DINOv3, EVA-02).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Ropes = list[Tensor] | None
"""Sines and cosines for each block; None where positions do not rotate."""


def has_cls(model: Any) -> bool:
    """Whether a network has a CLS token to take attention from."""
    return getattr(model, "cls_token", None) is not None


def ropes_of(model: Any, rope: Tensor | None) -> Ropes:
    """The rotary tables of each block, from what timm computes for all."""
    if rope is None:
        return None
    mixed = getattr(model, "rope_mixed", False)  # then each block has its own
    return [rope[index] if mixed else rope for index in range(len(model.blocks))]


def run_blocks(model: Any, x: Tensor, ropes: Ropes, blocks: range) -> Tensor:
    """Embedded tokens after some blocks, one after the other; no attention is computed.

    Args:
        model: timm's.
        x: tokens before the first of the blocks, [B, P + N, D].
        ropes: see `ropes_of`.
        blocks: 0-based, ascending.

    Returns:
        [B, P + N, D], before any final norm.
    """
    for index in blocks:
        x = model.blocks[index](x, **_given(ropes, index))
    return x


def run_watched(model: Any, x: Tensor, ropes: Ropes, wanted: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens of one block and the attention of the last, from one pass.

    Args:
        model: timm's; its first `num_prefix_tokens` tokens are CLS, distillation and registers.
        x: tokens before block `start`, [B, P + N, D].
        ropes: see `ropes_of`.
        wanted: block whose tokens are returned, 0-based, from `start` on.
        start: the first block to run.

    Returns:
        Tokens [B, P + N, D] before any final norm, and attention [B, heads, N] float32 (`norm_attention`
        where there is no CLS token).
    """
    last = len(model.blocks) - 1
    tokens = None
    if wanted < last:
        tokens = x = run_blocks(model, x, ropes, range(start, wanted + 1))
        start = wanted + 1
    x = run_blocks(model, x, ropes, range(start, last))
    prefix = model.num_prefix_tokens
    block, given = model.blocks[last], _given(ropes, last)
    if not has_cls(model):
        x = block(x, **given)
        return x if tokens is None else tokens, norm_attention(x[:, prefix:])
    row = _rotated_row if hasattr(block.attn, "q_bias") else _plain_row
    if tokens is None:
        tokens, attention = row(block, x, given, whole=True)
    else:  # nobody reads the last block's own output: its attention needs the projection alone
        _, attention = row(block, x, given, whole=False)
    return tokens, attention[..., prefix:]


def _given(ropes: Ropes, index: int) -> dict[str, Tensor]:
    return {} if ropes is None else {"rope": ropes[index]}


def norm_attention(tokens: Tensor) -> Tensor:
    """A stand-in for attention where there is no CLS token: the share of each token in the sum of lengths.

    Args:
        tokens: [B, N, D], not normalised.

    Returns:
        [B, 1, N] float32, sums to 1 over N (0 where all tokens are 0).
    """
    lengths: Tensor = torch.linalg.vector_norm(tokens.float(), dim=-1)
    return (lengths / lengths.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny))[:, None]


def _plain_row(block: Any, x: Tensor, _given: dict[str, Tensor], *, whole: bool) -> tuple[Tensor, Tensor]:
    """What a block makes of x (x itself unless `whole`) and the CLS row of its attention."""
    if not whole:
        return x, _cls_attention(block.attn, block.attn.qkv(block.norm1(x)))
    with _watched(block.attn.qkv) as caught:
        tokens: Tensor = block(x)
    return tokens, _cls_attention(block.attn, caught[0][1])


def _rotated_row(block: Any, x: Tensor, given: dict[str, Tensor], *, whole: bool) -> tuple[Tensor, Tensor]:
    """As `_plain_row`, for queries and keys that rotate inside the attention: they are projected again."""
    if not whole:
        return x, _rotated_cls_attention(block.attn, block.norm1(x), given.get("rope"))
    with _watched(block.norm1) as caught:
        tokens: Tensor = block(x, **given)
    return tokens, _rotated_cls_attention(block.attn, caught[0][1], given.get("rope"))


@contextmanager
def _watched(layer: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Catch what goes into `layer` and comes out, so that the block around it need not run twice."""
    caught: list[tuple[Tensor, Tensor]] = []
    thread = threading.get_ident()

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if threading.get_ident() == thread:  # another thread's batch may be passing through the same layer
            caught.append((inputs[0], output))

    handle = layer.register_forward_hook(keep)
    try:
        yield caught
    finally:
        handle.remove()


def _cls_attention(attn: Any, qkv: Tensor) -> Tensor:
    """The first token's attention to all N, [B, heads, N] float32, from the fused projection [B, N, 3 * D].

    One row of the N x N matrix, so it costs next to nothing beside the block it comes from.
    """
    query, key, _ = qkv.reshape(*qkv.shape[:2], 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return _softmax_row(attn, attn.q_norm(query[:, :, :1]), attn.k_norm(key))


def _rotated_cls_attention(attn: Any, x: Tensor, rope: Tensor | None) -> Tensor:
    """The first token's attention, [B, heads, N] float32, from the normed input [B, N, D] of the attention.

    Positions rotate patches alone: the query is the CLS token's and stays as it is.
    """
    from timm.layers import apply_rot_embed_cat

    if attn.qkv is None:
        query, key = attn.q_proj(x[:, :1]), attn.k_proj(x)
    else:
        of_query, of_key, _ = attn.qkv.weight.chunk(3)
        query, key = F.linear(x[:, :1], of_query, attn.q_bias), F.linear(x, of_key)
    query, key = (part.unflatten(2, (attn.num_heads, -1)).transpose(1, 2) for part in (query, key))
    query, key = attn.q_norm(query), attn.k_norm(key)
    if rope is not None:
        prefix = attn.num_prefix_tokens
        layout = {"half": True} if getattr(attn, "rotate_half", False) else {}
        patches = apply_rot_embed_cat(key[:, :, prefix:], rope, **layout)
        key = torch.cat([key[:, :, :prefix], patches.to(key.dtype)], dim=2)
    return _softmax_row(attn, query, key)


def _softmax_row(attn: Any, query: Tensor, key: Tensor) -> Tensor:
    with torch.autocast(key.device.type, enabled=False):
        # Not a matrix product: those round differently with the batch, and TF32 would coarsen them.
        logits: Tensor = ((query.float() * attn.scale) * key.float()).sum(dim=-1)
        return logits.softmax(dim=-1)

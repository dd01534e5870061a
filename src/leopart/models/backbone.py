"""Photos in, tokens and attention out: one forward, any pretrained vision transformer of the registry."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.cards import verify
from leopart.models.networks import build_network
from leopart.models.positions import resample_position_table
from leopart.models.registry import BACKBONES, DEFAULT_BACKBONE, BackboneSpec, backbone_spec
from leopart.models.weights import fetch

_EPS = 1e-6
"""Of the LayerNorm without parameters; the value the DINO family uses in its own."""

_DESCRIPTION = {"name", "summary", "blocks", "weights", "source", "licence", "origin", "citation"}
"""Fields of a row that cannot change a number that comes out; the fingerprint leaves them out."""


@dataclass(frozen=True)
class Features:
    """What a backbone says about a batch of B photos, on a grid of h x w tokens."""

    tokens: Tensor
    """[B, h, w, D] float32, layer-normalised; one vector for each patch."""
    attention: Tensor
    """[B, heads, h, w] float32 in [0, 1]: from the CLS token of the last kept block to each patch, after a
    softmax over all keys. The CLS key's own share is left out, so a map sums to less than 1."""


class Backbone(nn.Module):
    """A frozen vision transformer that knows how it wants to be fed.

    Made by `load_backbone` or `build_backbone`. It can be moved, cast (`.to(torch.bfloat16)`) and run under
    autocast; normalisation, final LayerNorm and attention softmax stay in float32.

    Attributes:
        name: registry row, or file stem.
        source: what `load_backbone` takes to load it again: the registry row, or the file's absolute path.
        spec: the row.
        patch_size: pixels.
        dim: channels D of a token.
        heads: attention heads.
        fingerprint: 64 hexadecimal digits that change with the weights and with everything in the row that
            can change a number; the same in every process. Stored features are refused by another
            fingerprint.
        model: the timm model, cut after the last kept block.
    """

    model: Any

    def __init__(self, model: nn.Module, spec: BackboneSpec, fingerprint: str) -> None:
        super().__init__()
        self.model = model
        self.name, self.spec, self.fingerprint = spec.name, spec, fingerprint
        self.source = spec.name
        self.patch_size, self.dim, self.heads = spec.patch_size, spec.dim, spec.heads

    def forward(self, images: Tensor, block: int | None = None) -> Features:
        """Tokens of one block, and the CLS attention of the last kept one, from one pass.

        Args:
            images: RGB, [B, 3, H, W], uint8 in 0..255 or float in [0, 1]; H and W multiples of the patch.
            block: 0-based, below `spec.depth`; None takes `spec.feature_block`.

        Returns:
            Features with h, w = H / patch_size, W / patch_size.

        Raises:
            LeopartError: shape, size, type or range of the images does not fit, or there is no such block.
        """
        _check_images(images)
        return self.encode(self.normalise(images), block)

    def normalise(self, images: Tensor) -> Tensor:
        """Photos as the network was trained to see them: float32 [B, 3, H, W], mean 0 and deviation 1.

        Args:
            images: as in `forward`.
        """
        unit = 1 / 255 if images.dtype == torch.uint8 else 1.0
        # Plain numbers channel by channel: a tensor of constants would follow the model into bfloat16.
        channels = [
            images[:, index].float() * (unit / std) - mean / std
            for index, (mean, std) in enumerate(zip(self.spec.mean, self.spec.std, strict=True))
        ]
        return torch.stack(channels, dim=1)

    def encode(self, pixels: Tensor, block: int | None = None) -> Features:
        """`forward` for pixels that are normalised already, as training's augmentations leave them.

        Args:
            pixels: float, [B, 3, H, W]; H and W multiples of the patch.
            block: as in `forward`.

        Raises:
            LeopartError: the size does not fit, or there is no such block.
        """
        grid = self._grid(pixels)
        wanted = self._checked_block(block)
        x, tokens = self._embed(pixels.to(self.model.patch_embed.proj.weight.dtype), grid), None
        *earlier, last = self.model.blocks
        for index, layer in enumerate(earlier):
            x = layer(x)
            if index == wanted:
                tokens = x
        if tokens is None:
            with _output_of(last.attn.qkv) as caught:
                tokens = last(x)
            qkv = caught[0]
        else:  # nobody reads the last block's own output: its attention needs the projection alone
            qkv = last.attn.qkv(last.norm1(x))
        prefix = self.model.num_prefix_tokens
        row = _cls_attention(last.attn, qkv)[..., prefix:]
        patches = self._normed(tokens[:, prefix:], last_block=wanted == self.spec.depth - 1)
        batch = len(pixels)
        return Features(patches.reshape(batch, *grid, self.dim), row.reshape(batch, self.heads, *grid))

    def _embed(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Prefix and patch tokens with their positions, [B, P + h * w, D]."""
        model, rule = self.model, self.spec.position_resampling
        x = model.patch_embed(pixels)  # [B, h, w, D]
        if rule == "timm":
            return model.norm_pre(model._pos_embed(x))  # type: ignore[no-any-return]
        height, width = (side * self.patch_size for side in grid)
        table = resample_position_table(model.pos_embed[0], height, width, self.patch_size, rule)
        x = x.flatten(1, 2)
        prefix = [
            token.expand(len(x), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None
        ]
        x = torch.cat([*prefix, x + table], 1) if model.no_embed_class else torch.cat([*prefix, x], 1) + table
        return model.norm_pre(x)  # type: ignore[no-any-return]

    def _normed(self, tokens: Tensor, *, last_block: bool) -> Tensor:
        """LayerNorm in float32: the learned one where the row has it after this block, else a plain one."""
        with torch.autocast(tokens.device.type, enabled=False):
            if last_block and self.spec.final_norm == "learned":
                norm = self.model.norm
                return F.layer_norm(
                    tokens.float(), (self.dim,), norm.weight.float(), norm.bias.float(), norm.eps
                )
            return F.layer_norm(tokens.float(), (self.dim,), eps=_EPS)

    def _grid(self, pixels: Tensor) -> tuple[int, int]:
        """Tokens along both axes of a batch."""
        height, width = pixels.shape[-2:]
        patch = self.patch_size
        if height % patch or width % patch or not height or not width:
            near = "x".join(str(max(1, round(side / patch)) * patch) for side in (height, width))
            message = (
                f"images of {height}x{width} pixels do not divide into patches of {patch}: "
                f"height and width must be multiples of {patch}; the nearest size is {near}"
            )
            raise LeopartError(message)
        return height // patch, width // patch

    def _checked_block(self, block: int | None) -> int:
        wanted = self.spec.feature_block if block is None else block
        if not 0 <= wanted < self.spec.depth:
            message = f"{self.name} has blocks 0 to {self.spec.depth - 1}, not {wanted}; choose one of them"
            raise LeopartError(message)
        return wanted


def load_backbone(
    name_or_path: str | Path = DEFAULT_BACKBONE,
    *,
    device: str | torch.device = "cpu",
    arch: str | None = None,
) -> Backbone:
    """A pretrained backbone by name, or from a file that Leopart wrote.

    A name that is not in the cache yet is fetched first (`leopart.models.weights.fetch`). The file's hash is
    checked each time.

    Args:
        name_or_path: registry row, or a `.safetensors` file with its `.json` beside it.
        device: where to put it.
        arch: with a file, the registry row to read it as, instead of the row its card holds.

    Returns:
        The backbone in float32, in evaluation mode, with gradients off.

    Raises:
        LeopartError: no such backbone; weights that cannot be had, are damaged, do not fit or hold NaN.
    """
    from safetensors.torch import load_file

    by_name = str(name_or_path) in BACKBONES
    if not by_name and Path(name_or_path).suffix != ".safetensors":
        backbone_spec(str(name_or_path))  # says what is known
    path = fetch(str(name_or_path)) if by_name else Path(name_or_path).expanduser()
    card = verify(path)
    spec = backbone_spec(str(name_or_path)) if by_name else backbone_spec(arch) if arch else card.spec
    backbone = build_backbone(spec, load_file(path), card.sha256).to(device)
    if not by_name:
        backbone.source = str(path.resolve())
    return backbone


def build_backbone(spec: BackboneSpec, state: Mapping[str, Tensor], weights_sha256: str = "") -> Backbone:
    """The backbone a row describes, with the given weights.

    Args:
        spec: the row.
        state: weights under timm's names; see `leopart.models.networks.build_network`.
        weights_sha256: hash of the file the weights come from; part of the fingerprint.

    Returns:
        The backbone, on the weights' device, in evaluation mode, with gradients off.

    Raises:
        LeopartError: the weights do not fit the row.
    """
    backbone = Backbone(build_network(spec, state), spec, _fingerprint(spec, weights_sha256))
    return backbone.eval().requires_grad_(False)


def _fingerprint(spec: BackboneSpec, weights_sha256: str) -> str:
    computing = {field: value for field, value in asdict(spec).items() if field not in _DESCRIPTION}
    text = json.dumps({"weights": weights_sha256, **computing}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _output_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Catch what `layer` returns, so that the block around it need not be written out or run twice."""
    caught: list[Tensor] = []
    thread = threading.get_ident()

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if threading.get_ident() == thread:  # another thread's batch may be passing through the same layer
            caught.append(output)

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
    query, key = attn.q_norm(query[:, :, :1]), attn.k_norm(key)
    with torch.autocast(qkv.device.type, enabled=False):
        # Not a matrix product: those round differently with the batch, and TF32 would coarsen them.
        logits: Tensor = ((query.float() * attn.scale) * key.float()).sum(dim=-1)
        return logits.softmax(dim=-1)


def _check_images(images: Tensor) -> None:
    """Shape, type and, where looking is free, range."""
    if images.ndim != 4 or images.shape[1] != 3:
        message = f"images must be RGB [B, 3, H, W], not {list(images.shape)}"
        raise LeopartError(message)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        message = f"images must be uint8 in 0..255 or float in [0, 1], not {images.dtype}"
        raise LeopartError(message)
    # On an accelerator, reading one value would make the host wait for all queued work.
    if images.is_floating_point() and images.device.type == "cpu" and images.numel():
        low, high = (float(value) for value in images.aminmax())
        if low < 0 or high > 1 + 1e-3:
            message = (
                f"float images must be in [0, 1], not {low:.3g} to {high:.3g}; divide by 255, or give uint8"
            )
            raise LeopartError(message)

"""Photos in, tokens and attention out: one forward, any pretrained network of the registry or of timm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.positions import resample_position_table
from leopart.models.transformer import Ropes, has_cls, norm_attention, ropes_of, run_blocks, run_watched
from leopart.models.weights.conversion import hash_of_state
from leopart.models.weights.networks import build_network
from leopart.models.weights.opening import open_weights
from leopart.models.weights.registry import DEFAULT_BACKBONE, BackboneSpec

_EPS = 1e-6
"""Of the LayerNorm without parameters; the value the DINO family uses in its own."""

_DESCRIPTION = {
    *("name", "summary", "blocks", "weights", "source", "licence", "origin", "citation"),
    *("family", "files", "gated", "labels"),
}
"""Fields of a row that cannot change a number that comes out; the fingerprint leaves them out."""


@dataclass(frozen=True)
class Features:
    """Output of a backbone for a batch of B photos, on a grid of h x w tokens."""

    tokens: Tensor
    """[B, h, w, D] float32; one vector for each patch, layer-normalised (a ResNet's as they are)."""
    attention: Tensor
    """[B, heads, h, w] float32 in [0, 1]: from the CLS token of the last kept block to each patch, after a
    softmax over all keys. The shares of CLS and register keys are left out, so a map sums to less than 1.
    Networks without a CLS token have a stand-in of one head: the length of each vector of the last kept
    block, divided by the sum of all."""


@dataclass(frozen=True)
class Hidden:
    """A batch between two blocks: what `Backbone.begin` returns and `Backbone.finish` takes."""

    x: Tensor
    """[B, P + h * w, D]: prefix tokens, then patches."""
    ropes: Ropes
    """Rotary tables for each block, where positions rotate."""
    grid: tuple[int, int]
    """h, w."""
    done: int
    """Blocks that have run."""


class Backbone(nn.Module):
    """A frozen network together with the preprocessing it was trained with.

    Made by `load_backbone` or `build_backbone`. It can be moved, cast (`.to(torch.bfloat16)`) and run under
    autocast; normalisation, final LayerNorm and attention softmax stay in float32.

    Attributes:
        name: registry row, or file stem.
        source: what `load_backbone` takes to load it again: the registry row, the file's absolute path, ...;
            empty where it is in memory only.
        spec: the row.
        patch_size: pixels along the side of what one token stands for.
        dim: channels D of a token.
        heads: attention maps of a photo: heads of the network, 1 where a stand-in takes their place.
        has_attention: False where a stand-in takes the place of the attention.
        fingerprint: 64 hexadecimal digits that change with the weights and with everything in the row that
            can change a number; the same in every process. Stored features are refused by another
            fingerprint.
        model: the timm model (vision transformer, EVA with rotary positions, or ResNet), cut after the last
            kept block.
    """

    model: Any

    def __init__(self, model: nn.Module, spec: BackboneSpec, fingerprint: str) -> None:
        super().__init__()
        self.model = model
        self.name, self.spec, self.fingerprint = spec.name, spec, fingerprint
        self.source = spec.name
        self.patch_size, self.dim = spec.patch_size, spec.dim
        self.has_attention = has_cls(model)
        self.heads = spec.heads if self.has_attention else 1

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
        check_images(images)
        return self.encode(self.normalise(images), block)

    def normalise(self, images: Tensor) -> Tensor:
        """Photos normalised as in the network's training: float32 [B, 3, H, W], about mean 0 and deviation 1.

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
        wanted = self._checked_block(block)
        if self.spec.convolutional:
            grid = self._grid(pixels)
            pixels = pixels.to(next(self.model.parameters()).dtype)
            features = self.model.forward_features(pixels).permute(0, 2, 3, 1).float()
            lengths = norm_attention(features.flatten(1, 2))
            return Features(features.contiguous(), lengths.reshape(len(pixels), 1, *grid))
        return self.finish(self.begin(pixels), block=wanted)

    def begin(self, pixels: Tensor, blocks: int = 0) -> Hidden:
        """The first blocks of a vision transformer alone, for training that leaves them as they are.

        Args:
            pixels: as in `encode`.
            blocks: how many, from the first; 0 embeds only.

        Raises:
            LeopartError: the size does not fit, or the network has no blocks.
        """
        if self.spec.convolutional:
            message = f"{self.name} is a convolutional network: only vision transformers have blocks"
            raise LeopartError(message)
        grid = self._grid(pixels)
        x, ropes = self._embed(pixels.to(next(self.model.parameters()).dtype), grid)
        return Hidden(run_blocks(self.model, x, ropes, range(blocks)), ropes, grid, blocks)

    def finish(self, hidden: Hidden, block: int | None = None) -> Features:
        """Tokens of one block and the attention of the last, from what `begin` left."""
        wanted = self._checked_block(block)
        tokens, attention = run_watched(self.model, hidden.x, hidden.ropes, wanted, hidden.done)
        patches = self._patches(tokens, hidden.grid, last_block=wanted == self.spec.depth - 1)
        return Features(patches, attention.reshape(len(patches), self.heads, *hidden.grid))

    def finish_tokens(self, hidden: Hidden) -> Tensor:
        """Tokens of the last kept block alone, [B, h, w, D], from what `begin` left; cheaper to train."""
        return self._patches(self._last_block(hidden), hidden.grid, last_block=True)

    def finish_with_summary(self, hidden: Hidden) -> tuple[Tensor, Tensor]:
        """The same, and a vector for the whole image, [B, D].

        It is the CLS token, normed as the others; their mean where there is none.
        """
        tokens = self._last_block(hidden)
        patches = self._patches(tokens, hidden.grid, last_block=True)
        if not has_cls(self.model):
            return patches, patches.mean((1, 2))
        return patches, self._normed(tokens[:, 0], last_block=True)

    def _last_block(self, hidden: Hidden) -> Tensor:
        """Prefix and patch tokens after the last kept block, [B, P + h * w, D]; nothing is normed."""
        return run_blocks(self.model, hidden.x, hidden.ropes, range(hidden.done, self.spec.depth))

    def _patches(self, tokens: Tensor, grid: tuple[int, int], *, last_block: bool) -> Tensor:
        """Patch tokens on their grid, normed."""
        patches = self._normed(tokens[:, self.model.num_prefix_tokens :], last_block=last_block)
        return patches.reshape(len(patches), *grid, self.dim)

    def _embed(self, pixels: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Ropes]:
        """Prefix and patch tokens with their positions, [B, P + h * w, D]; rotary tables for the blocks."""
        model, rule = self.model, self.spec.position_resampling
        x = model.patch_embed(pixels)  # [B, h, w, D]
        if rule == "timm" or rule == "none":  # noqa: PLR1714 - mypy narrows by ==
            x = model._pos_embed(x)
            x, rope = x if isinstance(x, tuple) else (x, None)
            return model.norm_pre(x), ropes_of(model, rope)
        height, width = (side * self.patch_size for side in grid)
        table = resample_position_table(model.pos_embed[0], height, width, self.patch_size, rule)
        x = x.flatten(1, 2)
        prefix = [
            token.expand(len(x), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None
        ]
        x = torch.cat([*prefix, x + table], 1) if model.no_embed_class else torch.cat([*prefix, x], 1) + table
        return model.norm_pre(x), None

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
        if self.spec.convolutional and wanted != self.spec.depth - 1:
            message = f"{self.name} has features after its last stage only, block {self.spec.depth - 1}"
            raise LeopartError(message)
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
    """A pretrained backbone: one line, wherever it comes from.

    | given | is |
    |---|---|
    | `dino_vits16` | a registry row; fetched first if it is not in the cache yet |
    | `mine.safetensors` | a file that Leopart wrote, with its `.json` beside it |
    | `dino_vits16:checkpoint.pth` | a foreign checkpoint, read as that row (or `arch="dino_vits16"`) |
    | `timm:vit_base_patch16_siglip_224` | any timm model with patch tokens, through timm and its cache |
    | `timm:vit_tiny_patch16_224?pretrained=false` | the same with random weights; nothing is downloaded |
    | `random_vits16:7` | random weights; the number is the seed, 0 if it is left out |

    Hashes that are known are checked each time, and no code from a file is ever run.

    Args:
        name_or_path: see the table.
        device: where to put it.
        arch: with a file, the registry row to read it as, instead of the row its card holds.

    Returns:
        The backbone in float32, in evaluation mode, with gradients off.

    Raises:
        LeopartError: no such backbone; weights that are not available, are damaged, do not fit or hold NaN.
    """
    opened = open_weights(str(name_or_path), arch)
    backbone = build_backbone(opened.spec, opened.state, opened.sha256)
    backbone.source = opened.source
    return backbone.to(device)


def build_backbone(
    spec: BackboneSpec, state: Mapping[str, Tensor], weights_sha256: str | None = None
) -> Backbone:
    """The backbone a row describes, with the given weights.

    Args:
        spec: the row.
        state: weights under timm's names; see `leopart.models.weights.networks.build_network`.
        weights_sha256: hash of the file the weights come from, part of the fingerprint; None hashes the
            weights themselves.

    Returns:
        The backbone, on the weights' device, in evaluation mode, with gradients off.

    Raises:
        LeopartError: the weights do not fit the row.
    """
    hashed = hash_of_state(state) if weights_sha256 is None else weights_sha256
    backbone = Backbone(build_network(spec, state), spec, _fingerprint(spec, hashed))
    return backbone.eval().requires_grad_(False)


def _fingerprint(spec: BackboneSpec, weights_sha256: str) -> str:
    computing = {field: value for field, value in asdict(spec).items() if field not in _DESCRIPTION}
    text = json.dumps({"weights": weights_sha256, **computing}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_images(images: Tensor) -> None:
    """Refuse images of another shape or type than `Backbone.forward` takes and, where looking is free, range.

    Raises:
        LeopartError: says what is wrong.
    """
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

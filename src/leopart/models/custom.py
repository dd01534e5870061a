"""A network of the user's own, which need not be known to Leopart: any callable from images to tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, Features, check_images, load_backbone
from leopart.models.transformer import norm_attention
from leopart.models.weights.conversion import hash_of_state
from leopart.models.weights.spec import CUSTOM, UNKNOWN, BackboneSpec

#: Side in pixels of the image that a callable is tried with: 224 is a multiple of 8, 14, 16 and 32.
_PROBE = 224


@runtime_checkable
class TokenNetwork(Protocol):
    """What can stand in for a backbone: a function, a torch module, or any other callable."""

    def __call__(self, images: Tensor, /) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens of a batch of images, and attention if there is one.

        Args:
            images: RGB float32 in [0, 1], [B, 3, H, W]. Normalise them here if the network needs it.

        Returns:
            Tokens [B, h, w, D], where h and w are H and W divided by one whole number, the patch; or these
            and attention [B, heads, h, w], at least 0: how much a head looks at a patch.
        """
        ...


BackboneLike = str | Path | Backbone | TokenNetwork
"""What stands for a backbone: what `load_backbone` takes, a loaded one, or a `TokenNetwork`."""


class CustomBackbone(Backbone):
    """A `TokenNetwork` as a backbone. It can be used everywhere but in training and export.

    A segmenter that was fitted with it is saved without it: give it again to `Segmenter.load`.

    Args:
        network: see `TokenNetwork`; a torch module is put into evaluation mode.
        network: see `TokenNetwork`.
        name: for reports. The fingerprint is made of it, of the sizes, and of the weights if `network` is a
            torch module; so give another callable that computes something else another name.
        probe: side in pixels of the image with which the sizes are found; a multiple of the patch.

    Raises:
        LeopartError: what comes out is neither tokens nor tokens and attention.
    """

    def __init__(self, network: TokenNetwork, name: str | None = None, probe: int = _PROBE) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.name = name or _name_of(network)
        # Says where the computing is done, also for a callable without parameters.
        weights = list(network.parameters()) if isinstance(network, nn.Module) else []
        device = weights[0].device if weights else torch.device("cpu")
        self.home = nn.Parameter(torch.empty(0, device=device), requires_grad=False)
        if isinstance(network, nn.Module):
            network.eval()
        self._describe(probe)

    def _describe(self, probe: int) -> None:
        """Find the sizes by trying the network."""
        with torch.inference_mode():
            tokens, attention = self._run(torch.zeros(1, 3, probe, probe, device=self.home.device))
        self.patch_size, self.dim = probe // tokens.shape[1], tokens.shape[3]
        self.heads, self.has_attention = (1, False) if attention is None else (attention.shape[1], True)
        self.spec = _spec(self.name, self.patch_size, self.dim, self.heads)
        state = self.network.state_dict() if isinstance(self.network, nn.Module) else {}
        facts = (self.name, self.patch_size, self.dim, self.heads, hash_of_state(state) if state else "")
        self.fingerprint = hashlib.sha256(repr(facts).encode()).hexdigest()
        self.source = f"{CUSTOM}:{self.name}"

    def forward(self, images: Tensor, block: int | None = None) -> Features:
        """See `Backbone.forward`; there is one block, and the tokens are taken as they are."""
        check_images(images)
        self._checked_block(block)
        self._grid(images)
        unit = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        tokens, attention = self._run(unit)
        if attention is None:
            attention = norm_attention(tokens.flatten(1, 2)).reshape(len(tokens), 1, *tokens.shape[1:3])
        return Features(tokens.float(), attention.float())

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        found: Any = self.network(images)
        tokens, attention = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        batch, (height, width) = len(images), images.shape[-2:]
        if not isinstance(tokens, Tensor) or tokens.ndim != 4 or len(tokens) != batch:
            raise self._refused(f"tokens must be a tensor [{batch}, h, w, D], not {_described(tokens)}")
        rows, columns = tokens.shape[1:3]
        if not rows or not columns or height % rows or width % columns or height // rows != width // columns:
            what = f"{height}x{width} pixels became {rows}x{columns} tokens"
            raise self._refused(f"{what}; tokens must be [B, h, w, D] and stand for equal square patches")
        if attention is not None and (
            not isinstance(attention, Tensor)
            or attention.ndim != 4
            or (attention.shape[0], *attention.shape[2:]) != (batch, rows, columns)
        ):
            wanted = f"[{batch}, heads, {rows}, {columns}]"
            raise self._refused(f"attention must be a tensor {wanted}, not {_described(attention)}")
        return tokens, attention

    def _refused(self, reason: str) -> LeopartError:
        return LeopartError(f"{self.name} cannot be a backbone: {reason}")


def as_backbone(backbone: BackboneLike, device: str | torch.device | None = None) -> Backbone:
    """The backbone that something stands for.

    Args:
        backbone: see `BackboneLike`.
        device: where to put it; None leaves a loaded one where it is, and loads others on the CPU.

    Raises:
        LeopartError: see `load_backbone` and `CustomBackbone`.
    """
    if isinstance(backbone, str | Path):
        return load_backbone(backbone, device="cpu" if device is None else device)
    if isinstance(backbone, Backbone):
        return backbone if device is None else backbone.to(device)
    if not callable(backbone):
        what = f"a backbone is a name, a path, a loaded one or a callable, not a {type(backbone).__name__}"
        raise LeopartError(f"{what}; `leopart weights list` has names")
    found = CustomBackbone(backbone)
    return found if device is None else found.to(device)


def _name_of(network: Callable[..., Any]) -> str:
    """The function's or the class's name."""
    return getattr(network, "__qualname__", type(network).__qualname__).replace(":", ".")[:100]


def _described(found: object) -> str:
    return f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"


def _spec(name: str, patch: int, dim: int, heads: int) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        summary="a callable given from Python",
        architecture=CUSTOM,
        patch_size=patch,
        dim=dim,
        heads=heads,
        image_size=16 * patch,
        blocks=1,
        depth=1,
        feature_block=0,
        final_norm="raw",
        position_resampling="none",
        weights=name,
        source=None,
        licence=UNKNOWN,
        origin="A callable given from Python.",
        citation=UNKNOWN,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        family=CUSTOM,
        labels=f"{UNKNOWN} (backbone)",
    )

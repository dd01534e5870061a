"""The timm model of a registry row, with weights that are accounted for key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.weights.spec import BackboneSpec


def build_network(spec: BackboneSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The timm model a row describes, cut after `spec.depth` blocks, holding the given tensors themselves.

    Args:
        spec: the row.
        state: weights under timm's names. Blocks beyond `spec.depth`, and the learned norm where the row does
            not use it, may be there or not; every other key must fit.

    Raises:
        LeopartError: keys are missing or unexpected, shapes differ, a weight is NaN or infinite, or the
            installed timm does not know the architecture.
    """
    model = empty_network(spec)
    if any(buffer.is_meta for name, buffer in model.named_buffers() if name not in model.state_dict()):
        model = _create(spec)  # rotary tables are computed, not loaded
    known = set(model.state_dict())
    _cut(model, spec)
    needed = model.state_dict()
    _check_state(spec, state, needed, known)
    model.load_state_dict({key: state[key] for key in needed}, assign=True)
    return cast("nn.Module", model)


def empty_network(spec: BackboneSpec) -> Any:
    """The whole timm model without numbers: the weights are given, so there is nothing to fill in."""
    with torch.device("meta"):
        return _create(spec)


def _create(spec: BackboneSpec) -> Any:
    import timm

    if spec.convolutional:
        # dim / 32 channels make 2048 after the fourth stage; stride 16 is what dilates that stage.
        sizes = {
            "channels": tuple(spec.dim // 32 * factor for factor in (1, 2, 4, 8)),
            "output_stride": spec.patch_size,
        }
    else:
        sizes = {
            "dynamic_img_size": True,
            "img_size": spec.image_size,
            "patch_size": spec.patch_size,
            "embed_dim": spec.dim,
            "depth": spec.blocks,
            "num_heads": spec.heads,
        }
    try:
        return timm.create_model(spec.architecture, pretrained=False, num_classes=0, **sizes)
    except RuntimeError as error:
        if timm.is_model(spec.architecture):
            raise
        message = (
            f"{spec.name} needs {spec.architecture}, which timm {timm.__version__} does not have; "
            "run `pip install --upgrade timm`"
        )
        raise LeopartError(message) from error


def _cut(model: Any, spec: BackboneSpec) -> None:
    """Leave out what comes after the last kept block and what only a classifier would use."""
    if spec.convolutional:
        return
    model.blocks = model.blocks[: spec.depth]
    for pooling in ("attn_pool", "fc_norm"):
        if getattr(model, pooling, None) is not None:
            setattr(model, pooling, nn.Identity())
    if spec.final_norm == "none":
        model.norm = nn.Identity()


def _check_state(
    spec: BackboneSpec, state: Mapping[str, Tensor], needed: Mapping[str, Tensor], known: set[str]
) -> None:
    """Every key accounted for, every shape right, every number finite."""
    present = [key for key in needed if key in state]
    problems = {
        "missing": [key for key in needed if key not in state],
        "unexpected": [key for key in state if key not in known],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(needed[key].shape)}"
            for key in present
            if state[key].shape != needed[key].shape
        ],
        "not finite": [key for key in present if not bool(torch.isfinite(state[key]).all())],
    }
    found = [f"{kind}: {_some(keys)}" for kind, keys in problems.items() if keys]
    if found:
        message = (
            f"these weights are not a {spec.name} ({spec.architecture}, {spec.depth} blocks): "
            f"{'; '.join(found)}; check that the file belongs to this backbone"
        )
        raise LeopartError(message)


def _some(keys: list[str], limit: int = 5) -> str:
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more

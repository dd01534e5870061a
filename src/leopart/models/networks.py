"""The timm model of a registry row, with weights that are accounted for key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.registry import BackboneSpec


def build_network(spec: BackboneSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The timm model a row describes, cut after `spec.depth` blocks, holding the given tensors themselves.

    Args:
        spec: the row.
        state: weights under timm's names. Blocks beyond `spec.depth`, and the learned norm where the row does
            not use it, may be there or not; every other key must fit.

    Raises:
        LeopartError: keys are missing or unexpected, shapes differ, or a weight is NaN or infinite.
    """
    import timm

    with torch.device("meta"):  # the weights are given: nothing to allocate or initialise
        model: Any = timm.create_model(
            spec.architecture,
            pretrained=False,
            num_classes=0,
            dynamic_img_size=True,
            img_size=spec.image_size,
            patch_size=spec.patch_size,
            embed_dim=spec.dim,
            depth=spec.blocks,
            num_heads=spec.heads,
        )
    known = set(model.state_dict())
    model.blocks = model.blocks[: spec.depth]
    if spec.final_norm == "none":
        model.norm = nn.Identity()
    needed = model.state_dict()
    _check_state(spec, state, needed, known)
    model.load_state_dict({key: state[key] for key in needed}, assign=True)
    return cast("nn.Module", model)


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

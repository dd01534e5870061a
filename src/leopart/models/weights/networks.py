"""The timm model of a registry row, with weights that are accounted for key by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from leopart.errors import LeopartError
from leopart.models.weights.spec import BackboneSpec

_MODULES = ("vision_transformer", "deit", "eva")
"""Modules of timm with transformers whose tokens are patches; ResNets have one of their own."""
_CLASSES = ("VisionTransformer", "VisionTransformerDistilled", "Eva")
_BLOCKS = ("Block", "EvaBlock")
_ATTENTION = ("Attention", "EvaAttention")


def build_network(spec: BackboneSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """The timm model a row describes, cut after `spec.depth` blocks, holding the given tensors themselves.

    Args:
        spec: the row.
        state: weights under timm's names. Blocks beyond `spec.depth`, and the learned norm where the row does
            not use it, may be there or not; every other key must fit.

    Raises:
        LeopartError: keys are missing or unexpected, types or shapes differ, a weight is NaN or infinite, the
            row contradicts its architecture, or the installed timm does not know that.
    """
    model = empty_network(spec)
    known = set(model.state_dict())
    _cut(model, spec)
    _check_row(spec, model)
    needed = model.state_dict()
    # Before anything is made in memory: a card can promise a network of any size.
    _check_state(spec, state, needed, known)
    if any(buffer.is_meta for name, buffer in model.named_buffers() if name not in needed):
        model = _create(spec)  # rotary tables are computed, not loaded
        _cut(model, spec)
    model.load_state_dict({key: state[key] for key in needed}, assign=True)
    return cast("nn.Module", model)


def empty_network(spec: BackboneSpec) -> Any:
    """The whole timm model without numbers: the weights are given, so there is nothing to fill in."""
    import timm  # noqa: F401 - what timm imports computes with numbers: not inside the context below

    with torch.device("meta"):
        return _create(spec)


def is_plain_transformer(model: Any) -> bool:
    """Whether a model of timm is a vision transformer of the form that `Backbone` runs."""
    if type(model).__name__ not in _CLASSES or type(model.patch_embed).__name__ != "PatchEmbed":
        return False
    block = model.blocks[0]
    return type(block).__name__ in _BLOCKS and type(block.attn).__name__ in _ATTENTION


def _create(spec: BackboneSpec) -> Any:
    """The model by its plain name: a prefix such as `hf-hub:` would make timm read other files."""
    import timm

    if not timm.models.is_model_in_modules(
        spec.architecture, ("resnet",) if spec.convolutional else _MODULES
    ):
        message = (
            f"{spec.name} needs {spec.architecture!r}, which is no vision transformer or ResNet of timm "
            f"{timm.__version__}; run `pip install --upgrade timm`, or check the card of the weights"
        )
        raise LeopartError(message)
    sizes = timm_sizes(spec)
    try:
        return timm.create_model(spec.architecture, pretrained=False, num_classes=0, **sizes)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        message = (
            f"timm {timm.__version__} cannot build {spec.architecture} as {spec.name} describes it "
            f"({sizes}: {error}); check the card of the weights"
        )
        raise LeopartError(message) from error


def timm_sizes(spec: BackboneSpec) -> dict[str, Any]:
    """Arguments of timm's model besides its name."""
    if spec.convolutional:
        # dim / 32 channels make 2048 after the fourth stage; stride 16 is what dilates that stage.
        channels = tuple(spec.dim // 32 * factor for factor in (1, 2, 4, 8))
        return {"channels": channels, "output_stride": spec.patch_size}
    return {
        "dynamic_img_size": True,
        "img_size": spec.image_size,
        "patch_size": spec.patch_size,
        "embed_dim": spec.dim,
        "depth": spec.blocks,
        "num_heads": spec.heads,
    }


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


def _check_row(spec: BackboneSpec, model: Any) -> None:
    """Refuse a row that contradicts its architecture, before a forward pass stumbles over it."""
    norm, rule = getattr(model, "norm", None), spec.position_resampling
    has_table = getattr(model, "pos_embed", None) is not None
    rotates = getattr(model, "rope", None) is not None
    problems = {
        "its network has no patch tokens": not spec.convolutional and not is_plain_transformer(model),
        f"its features have {model.num_features} channels, not {spec.dim}": model.num_features != spec.dim,
        f"final_norm {spec.final_norm!r} does not go with it": (
            (spec.final_norm == "raw") != spec.convolutional
            or (spec.final_norm == "learned" and getattr(norm, "bias", None) is None)
        ),
        f"position_resampling {rule!r} does not go with it": (
            has_table == (rule == "none") or (rotates and rule in ("bicubic", "dino"))
        ),
    }
    if found := [problem for problem, is_there in problems.items() if is_there]:
        message = (
            f"{spec.name} does not describe {spec.architecture}: {'; '.join(found)}; "
            "check the card of the weights"
        )
        raise LeopartError(message)


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
        "of another type": [
            f"{key} {state[key].dtype}"
            for key in present
            if needed[key].is_floating_point() and not state[key].is_floating_point()
        ],
        "not finite": [key for key in present if not _is_finite(state[key])],
    }
    found = [f"{kind}: {_some(keys)}" for kind, keys in problems.items() if keys]
    if found:
        message = (
            f"these weights are not a {spec.name} ({spec.architecture}, {spec.depth} blocks): "
            f"{'; '.join(found)}; check that the file belongs to this backbone"
        )
        raise LeopartError(message)


def _is_finite(value: Tensor) -> bool:
    """Also of the number formats of eight bits, which torch cannot ask."""
    wide = value.float() if value.is_floating_point() and value.itemsize < 2 else value
    return bool(torch.isfinite(wide).all())


def _some(keys: list[str], limit: int = 5) -> str:
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more

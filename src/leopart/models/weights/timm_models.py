"""Any vision transformer of timm that has patch tokens, by timm's name for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from leopart.errors import LeopartError
from leopart.models.weights.conversion import hash_of_state
from leopart.models.weights.hub import quick_hub
from leopart.models.weights.networks import is_plain_transformer
from leopart.models.weights.spec import BackboneSpec

#: What may stand behind a `?`, and whether weights are downloaded then.
_WANTED = {"pretrained=true": True, "pretrained=false": False}


def timm_weights(name: str) -> tuple[BackboneSpec, dict[str, Tensor], str]:
    """A row made from what timm knows of a model, its weights, and a hash of them.

    timm downloads the weights and keeps them in the hub's cache; its offline switch (`HF_HUB_OFFLINE`) holds.

    Args:
        name: as timm has it, e.g. `vit_base_patch16_siglip_224` or `vit_small_patch14_dinov2.lvd142m`; with
            `?pretrained=false` behind it the weights are random, always the same, and nothing is downloaded.

    Raises:
        LeopartError: timm has no such model, it has no patch tokens in the form that is understood here, or
            its weights cannot be downloaded.
    """
    import timm

    name, asked, wanted = name.partition("?")
    if asked and wanted not in _WANTED:
        raise LeopartError(f"timm:{name}?{wanted}: after the ? comes {' or '.join(_WANTED)}")
    architecture = name.split(".", maxsplit=1)[0]
    if not timm.is_model(name):
        near = timm.list_models(f"*{architecture}*")[:3]
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names them all"
        message = f"timm {timm.__version__} has no model called {name!r}: {hint}"
        raise LeopartError(message)
    if asked and not _WANTED[wanted]:
        return _random(name)
    try:
        with quick_hub():
            model: Any = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = (
            f"timm could not get the weights of {name} ({reason}): run "
            f"`python -c \"import timm; timm.create_model('{name}', pretrained=True)\"` with network, or "
            "copy the folder of the Hugging Face cache (HF_HOME) from a machine where that was done"
        )
        raise LeopartError(message) from error
    spec = timm_spec(name, model)
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}
    return spec, state, hash_of_state(state)


def _random(name: str) -> tuple[BackboneSpec, dict[str, Tensor], str]:
    """The model with weights as timm draws them, from a seed of its own."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = timm.create_model(name, pretrained=False, num_classes=0)
    spec = replace(
        timm_spec(name, model),
        name=f"timm:{name}?pretrained=false",
        licence="none needed",
        origin=f"Random weights for timm's {name}.",
        labels="none",
    )
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}
    return spec, state, hash_of_state(state)


def timm_spec(name: str, model: Any) -> BackboneSpec:
    """The row of a model that timm made.

    Raises:
        LeopartError: it has no patch tokens in the form that is understood here.
    """
    if not is_plain_transformer(model):
        message = (
            f"timm's {name} is a {type(model).__name__} that gives no patch tokens in the form "
            "understood here; take a plain vision transformer, e.g. timm:vit_small_patch16_224.dino"
        )
        raise LeopartError(message)
    config, embed, blocks = model.pretrained_cfg, model.patch_embed, model.blocks
    cited = config.get("paper_ids") or config.get("origin_url") or f"timm, {name}"
    return BackboneSpec(
        name=f"timm:{name}",
        summary=f"{name} of timm",
        architecture=name.split(".", maxsplit=1)[0],
        patch_size=int(embed.patch_size[0]),
        dim=int(model.embed_dim),
        heads=int(blocks[0].attn.num_heads),
        image_size=int(embed.img_size[0]),
        blocks=len(blocks),
        depth=len(blocks),
        feature_block=len(blocks) - 1,
        final_norm="learned" if hasattr(model.norm, "weight") else "none",
        position_resampling="none" if model.pos_embed is None else "timm",
        weights=name,
        source=None,
        licence=str(config.get("license") or "unknown"),
        origin=f"Published through timm as {name}.",
        citation=str(cited),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        labels="unknown (backbone)",
    )

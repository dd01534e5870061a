"""Small random networks under timm's names, rows for them, and the key layouts their makers publish.

The layouts are written out here the other way round than `leopart.models.weights.families` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import timm
import torch
from torch import Tensor

from leopart.models.weights.registry import BACKBONES, BackboneSpec

State = dict[str, Tensor]

SIDE = {16: 48, 14: 42, 8: 24}


def small(name: str) -> BackboneSpec:
    """A registry row with the same architecture but 3 x 3 positions, 2 blocks and 8 channels a head."""
    row = BACKBONES[name]
    if row.convolutional:
        return replace(row, dim=64)
    heads = row.heads // 2 if row.heads <= 12 else 4
    return replace(
        row, dim=8 * 6, heads=heads, image_size=SIDE[row.patch_size], blocks=2, depth=2, feature_block=1
    )


def source_model(spec: BackboneSpec, seed: int = 0) -> torch.nn.Module:
    """The model as timm makes it, in that size and with every number random: features must agree with its."""
    if spec.convolutional:
        channels = [spec.dim // 32 * factor for factor in (1, 2, 4, 8)]
        model = timm.create_model(spec.architecture, num_classes=0, channels=channels, output_stride=16)
    else:
        model = timm.create_model(
            spec.architecture,
            num_classes=0,
            img_size=spec.image_size,
            patch_size=spec.patch_size,
            embed_dim=spec.dim,
            depth=spec.blocks,
            num_heads=spec.heads,
            dynamic_img_size=True,
        )
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        scale = 0.05 if spec.convolutional else 0.2
        drawn = scale * torch.randn(value.shape, generator=generator)
        value.copy_(
            drawn.abs() + 0.5 if name.endswith("var") else drawn + float("norm" in name and value.ndim == 1)
        )
        if spec.convolutional and value.ndim == 1 and name.endswith("weight"):
            value.add_(1)
    return model.eval()


def renamed(state: Mapping[str, Tensor], *pairs: tuple[str, str]) -> State:
    for old, new in pairs:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    return dict(state)


def prefixed(state: Mapping[str, Tensor], prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def junk(*keys: str) -> State:
    return {key: torch.ones(2) for key in keys}


def dino_full(state: State) -> dict[str, object]:
    head = junk("head.mlp.0.weight", "head.last_layer.weight_g")
    return {
        "student": prefixed({**prefixed(state, "backbone."), **head}, "module."),
        "teacher": {**prefixed(state, "backbone."), **head},
        "epoch": 100,
        "optimizer": {"state": {}, "param_groups": []},
    }


def mocov3(state: State) -> dict[str, object]:
    head = junk("head.0.weight", "head.1.running_mean")
    encoder = {**state, **head}
    weights = {
        **prefixed(encoder, "module.base_encoder."),
        **prefixed({key: value + 1 for key, value in encoder.items()}, "module.momentum_encoder."),
        **junk("module.predictor.0.weight"),
    }
    return {"epoch": 300, "arch": "vit_small", "state_dict": weights, "optimizer": {}, "scaler": {}}


def mocov3_bare(state: State) -> dict[str, object]:
    """Saved without the wrapper of distributed training."""
    checkpoint = mocov3(state)
    weights = checkpoint["state_dict"]
    assert isinstance(weights, dict)
    return {**checkpoint, "state_dict": {key.removeprefix("module."): v for key, v in weights.items()}}


def mae_with_decoder(state: State) -> dict[str, object]:
    decoder = junk("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.norm1.weight")
    return {"model": {**state, **decoder}}


def split(state: State, names: tuple[str, ...], stem: str = r"attn\.qkv") -> State:
    """The fused projection as three."""
    parts: State = {}
    for key, value in state.items():
        if not re.search(stem, key):
            parts[key] = value
            continue
        for name, part in zip(names, value.chunk(3), strict=True):
            parts[re.sub(stem, name, key)] = part
    return parts


def dinov2_original(state: State) -> State:
    """Meta's: the CLS token's position lies in the table, registers or not."""
    state = {**state, **junk("mask_token")}
    if "reg_token" in state:
        position = torch.linspace(-1, 1, state["cls_token"].shape[-1])[None, None]
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([position, state["pos_embed"]], 1)
        state["cls_token"] = state["cls_token"] - position
    return state


def dinov2_transformers(state: State) -> State:
    names = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
    return renamed(
        split(dinov2_original(state), names),
        (r"attn\.proj", "attention.output.dense"),
        (r"blocks\.", "encoder.layer."),
        (r"ls([12])\.gamma", r"layer_scale\1.lambda1"),
        (r"^norm\.", "layernorm."),
        (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
        (r"^pos_embed", "embeddings.position_embeddings"),
        (r"^(cls_token|register_tokens|mask_token)", r"embeddings.\1"),
    )


def dinov2_chunks(state: State) -> dict[str, object]:
    weights = renamed(dinov2_original(state), (r"blocks\.(\d+)\.", r"blocks.0.\1."))
    heads = junk("dino_head.mlp.0.weight", "ibot_head.mlp.0.weight")
    return {"teacher": {**prefixed(weights, "backbone."), **heads}}


def neco_student(state: State) -> State:
    """Flat, in Meta's names, without the token for masked patches."""
    return {key: value for key, value in dinov2_original(state).items() if key != "mask_token"}


def franca_teacher(state: State) -> dict[str, object]:
    """DINOv2's training layout; the gated layers are `w12` and `w3`, and a head of their own is in some."""
    checkpoint = dinov2_chunks(renamed(state, (r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3")))
    weights = checkpoint["teacher"]
    assert isinstance(weights, dict)
    return {"teacher": {**weights, **junk("backbone.rasa_head.pos_pred.weight")}}


def dinov3_original(state: State) -> State:
    """Meta's: one bias for queries, keys and values, of which a mask takes the keys'."""
    weights = renamed(state, (r"gamma_([12])", r"ls\1.gamma"), (r"reg_token", "storage_tokens"))
    for key in [key for key in weights if key.endswith("q_bias")]:
        query, value = weights.pop(key), weights.pop(key.replace("q_bias", "v_bias"))
        weights[key.replace("q_bias", "qkv.bias")] = torch.cat([query, torch.full_like(query, 9.0), value])
        mask = torch.cat([torch.ones_like(query), torch.zeros_like(query), torch.ones_like(value)])
        weights[key.replace("q_bias", "qkv.bias_mask")] = mask
    return {**weights, **junk("mask_token", "rope_embed.periods")}


def dinov3_transformers(state: State) -> State:
    return renamed(
        {**split(state, ("attn.q_proj", "attn.k_proj", "attn.v_proj")), **junk("mask_token")},
        (r"attn\.([qv])_bias", r"attn.\1_proj.bias"),
        (r"attn\.proj", "attn.o_proj"),
        (r"attn\.", "attention."),
        (r"mlp\.fc1", "mlp.up_proj"),
        (r"mlp\.fc2", "mlp.down_proj"),
        (r"gamma_([12])", r"layer_scale\1.lambda1"),
        (r"blocks\.", "layer."),
        (r"^patch_embed\.proj", "embeddings.patch_embeddings"),
        (r"^reg_token", "register_tokens"),
        (r"^(cls_token|register_tokens|mask_token)", r"embeddings.\1"),
    )


def leopart_flat(state: State) -> State:
    head = junk(*(f"projection_head.{index}.{kind}" for index in (0, 2, 4) for kind in ("weight", "bias")))
    return prefixed({**state, **head, **junk("prototypes.weight")}, "model.")


def leopart_lightning(state: State) -> dict[str, object]:
    student = leopart_flat(state)
    teacher = {key.replace("model.", "teacher.", 1): value + 1 for key, value in student.items()}
    return {
        "epoch": 49,
        "global_step": 1,
        "pytorch-lightning_version": "1.4.9",
        "state_dict": {**teacher, **student},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-4},
    }


def mocov2(state: State) -> dict[str, object]:
    encoder = {**state, **junk("fc.0.weight", "fc.2.bias")}
    weights = {
        **prefixed(encoder, "module.encoder_q."),
        **prefixed(encoder, "module.encoder_k."),
        **junk("module.queue", "module.queue_ptr"),
    }
    return {"epoch": 800, "arch": "resnet50", "state_dict": weights, "optimizer": {}}


def swav(state: State) -> State:
    return prefixed({**state, **junk("projection_head.0.weight", "prototypes.weight")}, "module.")


def densecl_training(state: State) -> dict[str, object]:
    copies = junk(
        "encoder_q.0.conv1.weight", "encoder_k.0.conv1.weight", "queue", "queue2_ptr", "neck.mlp.0.bias"
    )
    return {"meta": {"epoch": 200}, "state_dict": {**prefixed(state, "backbone."), **copies}}


def maskcontrast(state: State) -> dict[str, object]:
    others = junk("module.model_q.decoder.0.weight", "module.model_q.head.weight", "module.queue")
    weights = {
        **prefixed(state, "module.model_q.backbone."),
        **prefixed(state, "module.model_k.backbone."),
        **others,
    }
    return {"optimizer": {}, "model": weights, "epoch": 60}


def without_counts(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def without_zero_biases(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith(("q_bias", "v_bias"))}


def itself(state: State) -> State:
    return dict(state)


LAYOUTS: dict[str, tuple[str, Callable[[State], dict[str, object]]]] = {
    "DINO, full": ("dino_vits16", dino_full),
    "DINO, backbone": ("dino_vits8", itself),
    "MoCo-v3": ("mocov3_vits16", mocov3),
    "MoCo-v3, without module.": ("mocov3_vits16", mocov3_bare),
    "MAE, encoder": ("mae_vitb16", lambda state: {"model": state}),
    "MAE, with decoder": ("mae_vitl16", mae_with_decoder),
    "supervised timm": (
        "supervised_vits16",
        lambda state: {**state, **junk("head.weight", "head.bias", "pre_logits.fc.weight")},
    ),
    "DINOv2": ("dinov2_vits14", dinov2_original),
    "DINOv2, transformers": ("dinov2_vits14", dinov2_transformers),
    "DINOv2, timm": ("dinov2_vitb14", itself),
    "DINOv2, training": ("dinov2_vits14", dinov2_chunks),
    "DINOv2, training, distributed": (
        "dinov2_vits14",
        lambda state: prefixed(dinov2_original(state), "module.backbone."),
    ),
    "NeCo": ("neco_dinov2_vits14", neco_student),
    "NeCo, registers": ("neco_dinov2r_vitb14", neco_student),
    "NeCo, registers removed": ("neco_dinov2r_xr_vits14", neco_student),
    "Franca": ("franca_vitb14", franca_teacher),
    "DINOv2, registers": ("dinov2_vits14_reg", dinov2_original),
    "DINOv2, registers, transformers": ("dinov2_vitb14_reg", dinov2_transformers),
    "DINOv2, registers, timm": ("dinov2_vits14_reg", itself),
    "DINOv3": ("dinov3_vits16", dinov3_original),
    "DINOv3, transformers": ("dinov3_vitb16", dinov3_transformers),
    "DINOv3, timm": ("dinov3_vits16", itself),
    "Leopart, flat": ("leopart_vits16", leopart_flat),
    "Leopart, Lightning": ("leopart_vitb8", leopart_lightning),
    "ResNet, torchvision": (
        "supervised_resnet50",
        lambda state: {**state, **junk("fc.weight", "fc.bias")},
    ),
    "MoCo-v2": ("mocov2_resnet50", mocov2),
    "SwAV": ("swav_resnet50", swav),
    "DenseCL, extracted": ("densecl_resnet50", lambda state: {"state_dict": without_counts(state)}),
    "DenseCL, training": ("densecl_resnet50", densecl_training),
    "MaskContrast": ("maskcontrast_resnet50", maskcontrast),
}
"""Row, and how its makers lay out a state dict of timm's names."""

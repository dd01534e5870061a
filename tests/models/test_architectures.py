from __future__ import annotations

import math
from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from networks_small import small, source_model
from torch import Tensor
from torchvision.models import resnet50

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, build_backbone
from leopart.models.weights.networks import empty_network
from leopart.models.weights.registry import BACKBONES
from tolerances import assert_same

State = dict[str, Tensor]

TERMS = 768 + 2 * (4 * 48 + 192 + 197)
"""Additions of a forward of a small network: a patch's values, then per block its products and tokens."""


def layer_norm(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def resampled_as_dino_does(table: Tensor, rows: int, columns: int) -> Tensor:
    """Position table [1, 1 + n * n, D] at another size: 0.1 is added so that rounding loses no row."""
    side = math.isqrt(table.shape[1] - 1)
    if (rows, columns) == (side, side):
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=((rows + 0.1) / side, (columns + 0.1) / side), mode="bicubic")
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)], 1)


def transcribed_dino(state: State, images: Tensor, patch: int, heads: int) -> tuple[Tensor, Tensor]:
    """The formula of DINO's ViT, block by block: patch tokens [B, N, D] and CLS attention [B, heads, N]."""
    rows, columns = (side // patch for side in images.shape[2:])
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x.flatten(2).mT], 1)
    x = x + resampled_as_dino_does(state["pos_embed"], rows, columns)
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    attention = torch.empty(0)
    for index in range(blocks):
        block = f"blocks.{index}"
        qkv = linear(layer_norm(x, state, f"{block}.norm1", 1e-6), state, f"{block}.attn.qkv")
        query, key, value = (heads_of(part, heads) for part in qkv.chunk(3, dim=-1))
        attention = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        x = x + linear((attention @ value).transpose(1, 2).flatten(2), state, f"{block}.attn.proj")
        hidden = linear(layer_norm(x, state, f"{block}.norm2", 1e-6), state, f"{block}.mlp.fc1")
        x = x + linear(F.gelu(hidden), state, f"{block}.mlp.fc2")
    return layer_norm(x, state, "norm", 1e-6)[:, 1:], attention[:, :, 0, 1:]


@pytest.mark.parametrize("name", ["dino_vits16", "dino_vits8"])
@pytest.mark.parametrize("grid", [(3, 3), (4, 7), (14, 14)])
def test_the_timm_path_is_the_formula_of_dinos_vit(name: str, grid: tuple[int, int]):
    spec = small(name)
    state = {key: 0.5 * value for key, value in source_model(spec).state_dict().items()}
    sides = [count * spec.patch_size for count in grid]
    images = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    tokens, attention = transcribed_dino(state, images, spec.patch_size, spec.heads)

    features = build_backbone(spec, state).encode(images)

    assert_same(features.tokens.flatten(1, 2), tokens, TERMS)
    assert_same(features.attention.flatten(2), attention, TERMS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dino_vits16", "dino_vits8"])
def test_a_whole_vit_small_is_the_formula_too(name: str):
    spec = BACKBONES[name]
    state = {key: 0.3 * value for key, value in source_model(spec).state_dict().items()}
    images = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    tokens, attention = transcribed_dino(state, images, spec.patch_size, spec.heads)

    features = build_backbone(spec, state).encode(images)

    assert_same(features.tokens.flatten(1, 2), tokens, 768 + 12 * (4 * 384 + 1536 + 61))
    assert_same(features.attention.flatten(2), attention, 768 + 12 * (4 * 384 + 1536 + 61))


def rotated(x: Tensor, rows: int, columns: int, prefix: int) -> Tensor:
    """DINOv3's positions: pairs (k, k + half) of each patch turn by angles of its place in [-1, 1]."""
    quarter = x.shape[-1] // 4
    periods = 100.0 ** (torch.arange(quarter) / quarter)
    result = x.clone()
    for row in range(rows):
        for column in range(columns):
            place = (2 * (row + 0.5) / rows - 1, 2 * (column + 0.5) / columns - 1)
            angle = torch.cat([2 * math.pi * part / periods for part in place])
            token = prefix + row * columns + column
            first, second = x[..., token, : 2 * quarter], x[..., token, 2 * quarter :]
            result[..., token, : 2 * quarter] = first * angle.cos() - second * angle.sin()
            result[..., token, 2 * quarter :] = second * angle.cos() + first * angle.sin()
    return result


def transcribed_dinov3(state: State, images: Tensor, patch: int, heads: int) -> tuple[Tensor, Tensor]:
    """The formula of DINOv3's ViT: patch tokens [B, N, D] and CLS attention [B, heads, N]."""
    rows, columns = (side // patch for side in images.shape[2:])
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    prefix = torch.cat([state["cls_token"], state["reg_token"]], 1)
    x = torch.cat([prefix.expand(len(x), -1, -1), x.flatten(2).mT], 1)
    blocks, count = 2, prefix.shape[1]
    attention = torch.empty(0)
    for index in range(blocks):
        block = f"blocks.{index}"
        bias = state[f"{block}.attn.q_bias"], state[f"{block}.attn.v_bias"]
        qkv = linear(layer_norm(x, state, f"{block}.norm1", 1e-5), state, f"{block}.attn.qkv")
        query, key, value = qkv.chunk(3, dim=-1)
        query, key, value = (heads_of(part, heads) for part in (query + bias[0], key, value + bias[1]))
        query, key = (rotated(part, rows, columns, count) for part in (query, key))
        attention = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        x = x + state[f"{block}.gamma_1"] * linear(
            (attention @ value).transpose(1, 2).flatten(2), state, f"{block}.attn.proj"
        )
        hidden = linear(layer_norm(x, state, f"{block}.norm2", 1e-5), state, f"{block}.mlp.fc1")
        x = x + state[f"{block}.gamma_2"] * linear(F.gelu(hidden), state, f"{block}.mlp.fc2")
    return layer_norm(x, state, "norm", 1e-5)[:, count:], attention[:, :, 0, count:]


@pytest.mark.parametrize("grid", [(3, 3), (2, 5)])
def test_the_rotary_path_is_the_formula_of_dinov3s_vit(grid: tuple[int, int]):
    spec = small("dinov3_vits16")
    state = dict(source_model(spec).state_dict())
    images = torch.randn(2, 3, grid[0] * 16, grid[1] * 16, generator=torch.Generator().manual_seed(0))
    tokens, attention = transcribed_dinov3(state, images, 16, spec.heads)
    backbone = build_backbone(spec, state)

    features = backbone.encode(images)

    assert features.attention.shape == (2, spec.heads, *grid)
    assert_same(features.tokens.flatten(1, 2), tokens, TERMS)
    assert_same(features.attention.flatten(2), attention, TERMS)
    torch.testing.assert_close(backbone.encode(images, block=0).attention, features.attention)


def torchvisions_dilated(state: State) -> torch.nn.Module:
    model = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    return torch.nn.Sequential(*list(model.eval().children())[:-2])


def test_a_resnet_is_torchvisions_with_its_last_stage_dilated():
    spec = BACKBONES["supervised_resnet50"]
    state = dict(source_model(spec).state_dict())
    images = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = torchvisions_dilated(state)(images).permute(0, 2, 3, 1)

    features = build_backbone(spec, state).encode(images)

    assert features.tokens.shape == (1, 6, 4, 2048)
    assert_same(features.tokens, expected, terms=50 * 2048)
    lengths = expected.norm(dim=-1)
    torch.testing.assert_close(features.attention[:, 0], lengths / lengths.sum())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_row_gives_the_sizes_that_timm_knows_of_the_architecture(name: str):
    spec = BACKBONES[name]
    size = {} if spec.convolutional else {"img_size": spec.image_size}
    if name.startswith("franca"):  # the gated layers of a ViT-g, with the published sizes of a ViT-B
        size |= {"embed_dim": 768, "depth": 12, "num_heads": 12}
    with torch.device("meta"):
        known = timm.create_model(spec.architecture, num_classes=0, **size)

    ours = empty_network(spec).state_dict()

    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in known.state_dict().items()
    }


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("dino_vits16", 21.665664),
        ("dino_vitb16", 85.8),
        ("mae_vitl16", 303.3),
        ("dinov2_vits14", 22.1),
        ("dinov3_vits16", 21.6),
    ],
)
def test_networks_have_as_many_parameters_as_published(name: str, millions: float):
    """DINO's ViT, and the model cards of DINOv2 and DINOv3."""
    count = sum(parameter.numel() for parameter in empty_network(BACKBONES[name]).parameters())

    assert count / 1e6 == pytest.approx(millions, abs=5e-7 if name == "dino_vits16" else 0.1)


def test_strides_of_the_last_stage_became_dilations():
    """The authors' resnet.py: the first 3 x 3 keeps dilation 1, all others have 2."""
    stage = build_backbone(
        small("swav_resnet50"), source_model(small("swav_resnet50")).state_dict()
    ).model.layer4

    convolutions = [module for module in stage.modules() if isinstance(module, torch.nn.Conv2d)]
    assert {module.stride for module in convolutions} == {(1, 1)}
    wide = [module for module in convolutions if module.kernel_size == (3, 3)]
    assert [(module.dilation, module.padding) for module in wide] == [
        ((1, 1),) * 2,
        ((2, 2),) * 2,
        ((2, 2),) * 2,
    ]


@pytest.fixture
def resnet() -> Backbone:
    spec = small("mocov2_resnet50")
    return build_backbone(spec, source_model(spec).state_dict())


def test_a_photo_of_448_pixels_has_28_by_28_vectors_of_a_resnet(resnet: Backbone):
    features = resnet(torch.zeros(1, 3, 448, 224, dtype=torch.uint8))

    assert features.tokens.shape == (1, 28, 14, 64)
    assert features.attention.shape == (1, 1, 28, 14)
    assert resnet.heads == 1
    torch.testing.assert_close(features.attention.sum(), torch.tensor(1.0))


def test_a_resnet_has_features_after_its_last_stage_alone(resnet: Backbone):
    images = torch.zeros(1, 3, 32, 32)

    assert torch.equal(resnet(images, block=3).tokens, resnet(images).tokens)
    with pytest.raises(LeopartError, match="after its last stage only, block 3"):
        resnet(images, block=2)
    with pytest.raises(LeopartError, match=r"multiples of 16; the nearest size is 32x32"):
        resnet(torch.zeros(1, 3, 36, 32))


def test_distillation_tokens_are_dropped_with_the_cls_token():
    spec = replace(small("supervised_vits16"), architecture="deit_small_distilled_patch16_224")
    state = {key: value for key, value in source_model(spec).state_dict().items() if "head" not in key}
    backbone = build_backbone(spec, state)
    images = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))

    features = backbone.encode(images)

    assert backbone.model.num_prefix_tokens == 2
    assert features.tokens.shape == (1, 2, 4, 48)
    with torch.inference_mode():
        expected = backbone.model.forward_intermediates(
            images, indices=1, norm=True, intermediates_only=True
        )[0]
    torch.testing.assert_close(features.tokens, expected.permute(0, 2, 3, 1))


def test_a_network_without_cls_token_has_lengths_in_place_of_attention():
    spec = replace(small("supervised_vits16"), architecture="vit_base_patch16_siglip_224")
    model = source_model(spec)
    backbone = build_backbone(spec, model.state_dict())
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        raw = model.forward_intermediates(images, indices=1, intermediates_only=True)[0]
        normed = model.forward_features(images).reshape(2, 3, 3, 48)
    lengths = raw.norm(dim=1)

    features = backbone.encode(images)

    assert backbone.heads == 1
    torch.testing.assert_close(features.tokens, normed)
    torch.testing.assert_close(features.attention[:, 0], lengths / lengths.sum((1, 2), keepdim=True))
    torch.testing.assert_close(backbone.encode(images, block=0).attention, features.attention)


def test_eva_02_gives_the_tokens_of_timm_at_another_size():
    """Absolute and rotary positions together, split projections, norms inside the attention."""
    model = timm.create_model(
        "eva02_tiny_patch14_224", img_size=42, embed_dim=48, depth=2, num_heads=3, num_classes=0
    ).eval()
    spec = replace(
        small("dinov2_vits14"),
        architecture="eva02_tiny_patch14_224",
        heads=3,
        final_norm="none",
        position_resampling="timm",
    )
    backbone = build_backbone(spec, model.state_dict())
    images = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        raw = model.forward_intermediates(images, indices=1, intermediates_only=True)[0].permute(0, 2, 3, 1)

    features = backbone.encode(images)

    torch.testing.assert_close(features.tokens, F.layer_norm(raw, (48,), eps=1e-6))
    assert backbone.encode(torch.zeros(1, 3, 28, 56)).attention.shape == (1, 3, 2, 4)
    backbone.model.blocks[-1].attn.fused_attn = False  # timm then makes the whole matrix, for its dropout
    caught: list[Tensor] = []
    backbone.model.blocks[-1].attn.attn_drop.register_forward_pre_hook(
        lambda _m, inputs: caught.append(inputs[0])
    )
    attention = backbone.encode(images).attention.flatten(2)
    torch.testing.assert_close(attention, caught[0][:, :, 0, 1:])


@pytest.mark.parametrize(
    "name", ["dino_vits16", "dinov2_vits14_reg", "dinov3_vits16", "mae_vitb16", "swav_resnet50"]
)
def test_any_backbone_takes_bytes_that_are_not_square_and_is_frozen(name: str):
    spec = small(name)
    backbone = build_backbone(spec, source_model(spec).state_dict())
    size = (2 * spec.patch_size, 5 * spec.patch_size)
    images = torch.randint(
        0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    features = backbone(images)

    assert features.tokens.shape == (2, 2, 5, spec.dim)
    assert features.attention.shape == (2, backbone.heads, 2, 5)
    assert features.tokens.dtype == features.attention.dtype == torch.float32
    assert bool((features.attention.sum((2, 3)) <= 1 + 1e-5).all())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("way", ["autocast", "cast"])
@pytest.mark.parametrize("name", ["dinov2_vits14_reg", "dinov3_vits16", "swav_resnet50"])
def test_bfloat16_stays_near_and_comes_back_as_float32(name: str, way: str):
    spec = small(name)
    backbone = build_backbone(spec, source_model(spec).state_dict())
    side = 3 * spec.patch_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    exact = backbone(images)
    if way == "cast":
        backbone.to(torch.bfloat16)

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        features = backbone(images)

    assert features.tokens.dtype == features.attention.dtype == torch.float32
    assert float(F.cosine_similarity(features.tokens, exact.tokens, dim=-1).min()) > 0.98
    assert float((features.attention - exact.attention).abs().max()) < 0.05


def test_the_gated_layers_of_franca_are_as_wide_as_published():
    """Two thirds of 4 x 768 for the values, and as many for the gates."""
    ours = empty_network(BACKBONES["franca_vitb14"]).state_dict()
    assert ours["blocks.0.mlp.fc1.weight"].shape == (4096, 768)
    assert ours["blocks.0.mlp.fc2.weight"].shape == (768, 2048)

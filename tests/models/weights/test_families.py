from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from networks_small import LAYOUTS, leopart_flat, small, source_model, without_zero_biases
from safetensors.torch import save_file
from torch import Tensor

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, build_backbone, load_backbone
from leopart.models.weights.cards import verify
from leopart.models.weights.conversion import convert_foreign, read_foreign
from leopart.models.weights.families import FAMILIES, MASK, PRETRAINING, RECOMPUTED, TEACHER, TRAINING, Ledger
from leopart.models.weights.registry import BACKBONES, BackboneSpec
from tolerances import assert_same

NATIVE = {16: 48, 14: 42, 8: 24}
"""Side at which no position table has to be resampled."""


def tokens_of_source(model: torch.nn.Module, spec: BackboneSpec, pixels: Tensor) -> Tensor:
    """What timm's own forward gives for the patches, [B, h, w, D]."""
    with torch.inference_mode():
        features = model.forward_features(pixels)
    if spec.convolutional:
        return features.permute(0, 2, 3, 1)
    side = NATIVE[spec.patch_size] // spec.patch_size
    return features[:, model.num_prefix_tokens :].unflatten(1, (side, side))


def pixels_for(spec: BackboneSpec) -> Tensor:
    side = 64 if spec.convolutional else NATIVE[spec.patch_size]
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout_loads_whole_and_gives_the_tokens_of_its_source(layout: str, tmp_path: Path):
    name, lay_out = LAYOUTS[layout]
    spec = small(name)
    model = source_model(spec)
    checkpoint = lay_out(model.state_dict())
    file = tmp_path / "checkpoint.pth"
    torch.save(checkpoint, file)

    read = read_foreign(file, spec)
    backbone = build_backbone(spec, read.state)

    assert read.state.keys() == model.state_dict().keys()
    torch.testing.assert_close(
        backbone.encode(pixels_for(spec)).tokens,
        tokens_of_source(model, spec, pixels_for(spec)),
        atol=2e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_key_is_loaded_or_dropped_for_a_reason(layout: str):
    name, lay_out = LAYOUTS[layout]
    spec = small(name)
    checkpoint = lay_out(source_model(spec).state_dict())
    inner = next(
        (checkpoint[key] for key in ("teacher", "state_dict", "model") if key in checkpoint), checkpoint
    )

    book = FAMILIES[spec.family](checkpoint)

    assert all(book.dropped.values())
    outer = {key for key in checkpoint if checkpoint[key] is not inner} if inner is not checkpoint else set()
    assert book.dropped.keys() <= set(inner) | outer
    assert outer <= book.dropped.keys()
    # Three parts of a projection become one, a bias two, and only missing counts come from nowhere.
    fused = sum(key.endswith(("query.weight", "query.bias", "q_proj.weight")) for key in inner)
    counts = sum(key.endswith("num_batches_tracked") for key in book.state)
    given = sum(key.endswith("num_batches_tracked") for key in inner if key not in book.dropped)
    halves = sum(key.endswith("attn.qkv.bias") for key in inner) if spec.family == "dinov3" else 0
    kept = len(set(inner) - book.dropped.keys())
    assert len(book.state) == kept - 2 * fused + halves + counts - given


@pytest.mark.parametrize(
    ("layout", "key", "reason"),
    [
        ("DINO, full", "head.mlp.0.weight", PRETRAINING),
        ("DINO, full", "student", TRAINING),
        ("MoCo-v3", "module.momentum_encoder.cls_token", TEACHER),
        ("MoCo-v3", "module.predictor.0.weight", PRETRAINING),
        ("MoCo-v3, without module.", "base_encoder.head.0.weight", PRETRAINING),
        ("MAE, with decoder", "decoder_pos_embed", PRETRAINING),
        ("DINOv2, transformers", "embeddings.mask_token", MASK),
        ("DINOv3", "rope_embed.periods", RECOMPUTED),
        ("DINOv3", "blocks.0.attn.qkv.bias_mask", "mask of a bias"),
        ("Leopart, Lightning", "teacher.cls_token", TEACHER),
        ("Leopart, flat", "model.prototypes.weight", PRETRAINING),
        ("MoCo-v2", "module.queue", TRAINING),
        ("MaskContrast", "module.model_q.decoder.0.weight", "decoder"),
    ],
)
def test_what_is_left_out_and_why_is_written_down(layout: str, key: str, reason: str):
    name, lay_out = LAYOUTS[layout]

    book = FAMILIES[BACKBONES[name].family](lay_out(source_model(small(name)).state_dict()))

    assert book.dropped[key] == reason


def test_the_student_is_leoparts_result_not_the_teacher(tmp_path: Path):
    name, lay_out = LAYOUTS["Leopart, Lightning"]
    state = source_model(small(name)).state_dict()
    torch.save(lay_out(state), tmp_path / "last.ckpt")

    read = read_foreign(tmp_path / "last.ckpt", small(name))

    assert torch.equal(read.state["cls_token"], state["cls_token"])
    assert set(leopart_flat(state)) - {f"model.{key}" for key in read.state} == {
        key for key in read.dropped if key.startswith("model.")
    }


def test_dinov3_without_biases_is_dinov3_with_biases_of_zero(tmp_path: Path):
    spec = small("dinov3_vits16")
    state = source_model(spec).state_dict()
    save_file(without_zero_biases(state), tmp_path / "model.safetensors")

    read = read_foreign(tmp_path / "model.safetensors", spec)

    biases = [value for key, value in read.state.items() if key.endswith(("q_bias", "v_bias"))]
    assert len(biases) == 4
    assert not any(bool(bias.any()) for bias in biases)


@pytest.mark.parametrize(
    ("layout", "lost", "missing"),
    [
        ("DINOv3, timm", r"blocks\.0\.attn\.q_bias", r"missing: blocks\.0\.attn\.q_bias;"),
        (
            "DINOv3, timm",
            r"blocks\.1\.attn\.[qv]_bias",
            r"missing: blocks\.1\.attn\.q_bias, blocks\.1\.attn\.v_bias;",
        ),
        (
            "DINOv3",
            r"blocks\.1\.attn\.qkv\.bias(_mask)?",
            r"missing: blocks\.1\.attn\.q_bias, blocks\.1\.attn\.v_bias;",
        ),
        (
            "DINOv3",
            r"blocks\.\d\.attn\.qkv\.bias",
            r"missing: blocks\.0\.attn\.q_bias.*unexpected: blocks\.0\.attn\.qkv\.bias_mask",
        ),
        (
            "DINOv3",
            r"blocks\.0\.attn\.qkv\.bias_mask",
            r"blocks\.0\.attn\.qkv\.bias holds a bias of the keys",
        ),
    ],
)
def test_dinov3_with_some_biases_lost_is_refused(layout: str, lost: str, missing: str, tmp_path: Path):
    spec = small("dinov3_vits16")
    state = LAYOUTS[layout][1](source_model(spec).state_dict())
    kept = {key: value for key, value in state.items() if not re.fullmatch(lost, key)}
    assert len(kept) < len(state)
    torch.save(kept, tmp_path / "file.pth")

    with pytest.raises(LeopartError, match=missing):
        read_foreign(tmp_path / "file.pth", spec)


def test_the_mask_of_dinov3_takes_what_it_says():
    state = LAYOUTS["DINOv3"][1](source_model(small("dinov3_vits16")).state_dict())
    bias, mask = state["blocks.0.attn.qkv.bias"], state["blocks.0.attn.qkv.bias_mask"]
    mask[1], bias[len(bias) // 2] = 0, float("nan")

    query = FAMILIES["dinov3"](state).state["blocks.0.attn.q_bias"]

    assert query[1] == 0 != bias[1]
    assert torch.equal(query[2:], bias[2 : len(query)])


def test_a_mask_that_leaves_the_bias_of_the_keys_is_refused():
    state = LAYOUTS["DINOv3"][1](source_model(small("dinov3_vits16")).state_dict())
    state["blocks.1.attn.qkv.bias_mask"].fill_(1)

    with pytest.raises(LeopartError, match=r"^blocks\.1\.attn\.qkv\.bias holds a bias of the keys"):
        FAMILIES["dinov3"](state)


def test_two_keys_that_become_one_are_refused_not_lost():
    pair = {"backbone.cls_token": torch.zeros(1), "cls_token": torch.ones(1)}
    with pytest.raises(
        LeopartError, match=r"'backbone\.cls_token' and 'cls_token' .* both stand for 'cls_token'"
    ):
        Ledger(pair).unprefix("module.", "backbone.")

    pair = {"embeddings.cls_token": torch.zeros(1), "cls_token": torch.ones(1)}
    with pytest.raises(
        LeopartError, match=r"'embeddings\.cls_token' and 'cls_token' .* stand for 'cls_token'"
    ):
        Ledger(pair).rename((r"embeddings\.cls_token", "cls_token"))

    with pytest.raises(LeopartError, match=r"0 and '0' .* both stand for '0'"):
        Ledger({0: torch.zeros(1), "0": torch.ones(1)})


def test_a_prefix_is_taken_from_the_keys_that_have_it_alone():
    book = Ledger({"backbone.cls_token": torch.zeros(1), "norm.backbone.weight": torch.zeros(1)})

    book.unprefix("backbone.")

    assert set(book.state) == {"cls_token", "norm.backbone.weight"}


@pytest.mark.parametrize("checkpoint", [{"teacher": {0: torch.zeros(1)}, 1: 2}, {0: torch.zeros(1), 1: 2}])
def test_keys_that_are_numbers_are_named_as_any_other(checkpoint: dict[object, object], tmp_path: Path):
    torch.save(checkpoint, tmp_path / "file.pth")

    with pytest.raises(LeopartError, match=r"file\.pth: .*unexpected: 0;"):
        read_foreign(tmp_path / "file.pth", small("dino_vits16"))

    assert FAMILIES["dino"](checkpoint).dropped == {"1": TRAINING}


def test_half_precision_files_become_single_precision(tmp_path: Path):
    spec = small("dino_vits16")
    state = {key: value.bfloat16() for key, value in source_model(spec).state_dict().items()}
    torch.save(state, tmp_path / "half.pth")

    read = read_foreign(tmp_path / "half.pth", spec)

    assert {value.dtype for value in read.state.values()} == {torch.float32}
    assert torch.equal(read.state["cls_token"], state["cls_token"].float())


def test_a_converted_file_is_the_checkpoint_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = small("mocov3_vits16")
    monkeypatch.setitem(BACKBONES, spec.name, spec)
    file, out = tmp_path / "vit-s.pth.tar", tmp_path / "mine.safetensors"
    torch.save(LAYOUTS["MoCo-v3"][1](source_model(spec).state_dict()), file)

    card = convert_foreign(file, out, spec)
    converted, in_place, named = (
        load_backbone(out),
        load_backbone(file, arch=spec.name),
        load_backbone(f"{spec.name}:{file}"),
    )

    assert verify(out) == card
    assert (card.spec.name, card.spec.licence) == ("mine", "unknown")
    assert card.dropped[PRETRAINING] == 3
    pixels = pixels_for(spec)
    for backbone in (in_place, named, load_backbone(named.source)):
        assert all(map(torch.equal, backbone.parameters(), converted.parameters()))
        assert_same(backbone.encode(pixels).tokens, converted.encode(pixels).tokens, terms=1000)
    assert named.fingerprint == in_place.fingerprint
    assert named.source == f"{spec.name}:{file.resolve()}"


def test_twelve_heads_and_the_papers_six_are_two_backbones_of_one_file():
    twelve, six = (
        build_backbone(small(name), source_model(small("mocov3_vits16")).state_dict())
        for name in ("mocov3_vits16", "mocov3_vits16_paper")
    )
    pixels = pixels_for(twelve.spec)

    assert (BACKBONES["mocov3_vits16"].heads, BACKBONES["mocov3_vits16_paper"].heads) == (12, 6)
    assert BACKBONES["mocov3_vits16_paper"].weights == "mocov3_vits16"
    assert (twelve.heads, six.heads) == (6, 3)
    assert float((twelve.encode(pixels).tokens - six.encode(pixels).tokens).abs().max()) > 0.01


def test_the_papers_reading_of_supervised_weights_differs_in_the_normalisation_alone():
    own, paper = BACKBONES["supervised_vits16"], BACKBONES["supervised_vits16_paper"]

    assert (own.mean, own.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (paper.mean, paper.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert own.weights == paper.weights


def test_random_weights_follow_the_seed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(BACKBONES, "random_vits16", small("random_vits16"))
    first, same, other = (
        load_backbone(name) for name in ("random_vits16", "random_vits16:0", "random_vits16:7")
    )

    def weights(backbone: Backbone) -> Tensor:
        return backbone.model.blocks[1].attn.qkv.weight

    assert torch.equal(weights(first), weights(same))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert not torch.equal(weights(first), weights(other))
    assert 0.0195 < float(weights(other).std()) < 0.0205
    assert (first.source, other.source) == ("random_vits16:0", "random_vits16:7")
    with pytest.raises(LeopartError, match="whole number, as in random_vits16:7"):
        load_backbone("random_vits16:many")

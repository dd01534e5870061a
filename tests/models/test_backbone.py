from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from leopart.errors import LeopartError
from leopart.files import sha256
from leopart.models.backbone import Backbone, build_backbone, load_backbone
from leopart.models.weights.cards import WeightsCard, write_card
from leopart.models.weights.registry import BACKBONES, BackboneSpec
from tolerances import assert_same

State = dict[str, Tensor]

TINY = 12 + 2 * (4 * 8 + 32 + 25)
"""Additions of a forward: a patch's values, then per block five products and the sum over the tokens."""
IMGFOCUS = 588 + 10 * (4 * 384 + 1536 + 65)


def last_input(backbone: Backbone, photos: Tensor, layer: torch.nn.Module) -> Tensor:
    """What a layer is given during a forward."""
    caught = []
    handle = layer.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
    backbone(photos)
    handle.remove()
    return caught[0]


def test_shapes_follow_the_photo_not_a_square(tiny: Backbone, photos: Tensor):
    features = tiny(photos)

    assert features.tokens.shape == (4, 4, 6, 8)
    assert features.attention.shape == (4, 2, 4, 6)
    assert features.tokens.dtype == features.attention.dtype == torch.float32


def test_attention_is_the_cls_row_of_the_whole_matrix(tiny: Backbone, photos: Tensor):
    last = tiny.model.blocks[-1]
    x = last_input(tiny, photos, last.attn).double()
    projected = x @ last.attn.qkv.weight.double().T + last.attn.qkv.bias.double()
    query, key, _ = projected.chunk(3, dim=-1)
    expected = []
    for head in range(2):
        q, k = query[..., 4 * head : 4 * head + 4], key[..., 4 * head : 4 * head + 4]
        matrix = torch.softmax(q @ k.mT / 4**0.5, dim=-1)
        expected.append(matrix[:, 0, 1:].reshape(4, 4, 6))

    attention = tiny(photos).attention

    torch.testing.assert_close(attention, torch.stack(expected, 1).float())
    assert bool((attention.sum((2, 3)) < 1).all())


def test_attention_honours_query_and_key_norms(tiny: Backbone, photos: Tensor):
    last = tiny.model.blocks[-1].attn
    last.q_norm, last.k_norm = torch.nn.LayerNorm(4), torch.nn.LayerNorm(4)
    torch.nn.init.constant_(last.q_norm.weight, 1.7)
    torch.nn.init.constant_(last.k_norm.bias, 0.3)
    last.fused_attn = False  # timm then makes the whole matrix, and hands it to its dropout
    expected = last_input(tiny, photos, last.attn_drop)[:, :, 0, 1:]

    torch.testing.assert_close(tiny(photos).attention.flatten(2), expected)


@pytest.mark.parametrize("block", [0, 1])
def test_tokens_of_a_block_are_timms(tiny_spec: BackboneSpec, tiny_state: State, photos: Tensor, block: int):
    backbone = build_backbone(replace(tiny_spec, position_resampling="timm", final_norm="none"), tiny_state)
    (expected,) = backbone.model.forward_intermediates(
        backbone.normalise(photos), indices=[block], output_fmt="NLC", intermediates_only=True
    )
    expected = F.layer_norm(expected, (8,), eps=1e-6).reshape(4, 4, 6, 8)

    assert_same(backbone(photos, block=block).tokens, expected, TINY)


def test_attention_is_the_last_blocks_whichever_tokens_are_asked_for(tiny: Backbone, photos: Tensor):
    torch.testing.assert_close(tiny(photos, block=0).attention, tiny(photos).attention)


def test_a_cut_network_ends_where_it_was_cut(tiny_spec: BackboneSpec, tiny_state: State, photos: Tensor):
    whole = build_backbone(tiny_spec, tiny_state)
    cut = build_backbone(replace(tiny_spec, depth=1, feature_block=0, final_norm="none"), tiny_state)

    assert len(cut.model.blocks) == 1
    assert not [name for name in cut.state_dict() if "blocks.1" in name or name.startswith("model.norm")]
    assert torch.equal(cut(photos).tokens, whole(photos, block=0).tokens)


@pytest.mark.parametrize("block", [0, 1])
def test_one_pass_gives_both(tiny: Backbone, photos: Tensor, block: int):
    """No layer runs twice, and none runs whose result nobody reads."""
    calls: Counter[str] = Counter()
    for name, layer in tiny.model.named_modules():
        # timm's Mlp passes through its one dropout twice, and the CLS row through norms that do nothing here.
        if not isinstance(layer, torch.nn.Identity | torch.nn.Dropout):
            layer.register_forward_hook(lambda _m, _i, _o, name=name: calls.update([name]))

    tiny(photos, block=block)

    assert not [name for name, count in calls.items() if count > 1]
    assert ("blocks.1.mlp" in calls) == (block == 1)
    assert calls["blocks.1.attn.qkv"] == 1


def test_the_whole_attention_matrix_is_never_made(tiny: Backbone, photos: Tensor):
    """The largest tensor any operation makes stays below heads x N x N."""
    images = photos.repeat(1, 1, 8, 8)
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.dtype.is_floating_point:
                sizes.append(result.numel())
            return result

    with Watch(), torch.inference_mode():
        tiny(images)

    tokens = 1 + 32 * 48
    assert max(sizes) < 4 * tokens * tokens


def test_a_photo_is_the_same_alone_and_in_a_batch(tiny: Backbone, photos: Tensor):
    together, alone = tiny(photos), tiny(photos[2:3])

    assert_same(together.tokens[2:3], alone.tokens, TINY)
    assert_same(together.attention[2:3], alone.attention, TINY)


def test_bytes_and_floats_are_the_same_photo(tiny: Backbone, photos: Tensor):
    assert_same(tiny(photos).tokens, tiny(photos.float() / 255).tokens, TINY)


def test_normalisation_takes_mean_and_deviation_out(tiny: Backbone):
    grey = torch.tensor(tiny.spec.mean)[None, :, None, None].expand(1, 3, 4, 4)

    largest = max(mean / std for mean, std in zip(tiny.spec.mean, tiny.spec.std, strict=True))

    assert_same(tiny.normalise(grey), torch.zeros(1, 3, 4, 4), terms=1, scale=largest)
    bright = grey + torch.tensor(tiny.spec.std)[None, :, None, None]
    assert_same(tiny.normalise(bright), torch.ones(1, 3, 4, 4), terms=1, scale=1 + largest)


def test_registers_are_dropped_with_the_cls_token(tiny_spec: BackboneSpec, tiny_state: State, photos: Tensor):
    spec = replace(tiny_spec, architecture="vit_small_patch14_reg4_dinov2", final_norm="none")
    state = {key: value for key, value in tiny_state.items() if key != "pos_embed"}
    state |= {"reg_token": torch.randn(1, 4, 8), "pos_embed": tiny_state["pos_embed"][:, 1:]}
    backbone = build_backbone(spec, state)

    features = backbone(photos)

    assert features.tokens.shape == (4, 4, 6, 8)
    assert features.attention.shape == (4, 2, 4, 6)
    ours = backbone._embed(backbone.normalise(photos[:, :, :6, :6]), (3, 3))[0]
    theirs = backbone.model._pos_embed(backbone.model.patch_embed(backbone.normalise(photos[:, :, :6, :6])))
    assert_same(ours, theirs, TINY)


@pytest.mark.parametrize("way", ["autocast", "cast"])
def test_bfloat16_stays_near_and_comes_back_as_float32(tiny: Backbone, photos: Tensor, way: str):
    exact = tiny(photos)
    if way == "cast":
        tiny.to(torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        features = tiny(photos)

    assert features.tokens.dtype == features.attention.dtype == torch.float32
    cosine = F.cosine_similarity(features.tokens, exact.tokens, dim=-1)
    assert float(cosine.min()) > 0.98
    assert float((features.attention - exact.attention).abs().max()) < 0.05


def test_it_is_frozen_and_in_evaluation_mode(tiny: Backbone):
    assert not tiny.training
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (torch.zeros(1, 3, 9, 12, dtype=torch.uint8), "multiples of 2; the nearest size is 8x12"),
        (torch.zeros(1, 3, 1, 12, dtype=torch.uint8), "the nearest size is 2x12"),
        (torch.zeros(3, 8, 12, dtype=torch.uint8), "must be RGB"),
        (torch.zeros(1, 1, 8, 12, dtype=torch.uint8), "must be RGB"),
        (torch.zeros(1, 3, 8, 12, dtype=torch.int64), "uint8 in 0..255 or float"),
        (torch.full((1, 3, 8, 12), 200.0), r"must be in \[0, 1\], not 200 to 200"),
        (torch.full((1, 3, 8, 12), -0.5), r"must be in \[0, 1\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(tiny: Backbone, images: Tensor, complaint: str):
    with pytest.raises(LeopartError, match=complaint):
        tiny(images)


@pytest.mark.parametrize("block", [-1, 2])
def test_a_block_that_is_not_there_is_refused(tiny: Backbone, photos: Tensor, block: int):
    with pytest.raises(LeopartError, match="has blocks 0 to 1"):
        tiny(photos, block=block)


def lose(state: State) -> None:
    del state["blocks.1.mlp.fc1.weight"]


def gain(state: State) -> None:
    state["head.weight"] = torch.zeros(3)


def widen(state: State) -> None:
    state["norm.bias"] = torch.zeros(9)


def poison(state: State) -> None:
    state["cls_token"][0, 0, 3] = float("nan")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lose, "missing: blocks.1.mlp.fc1.weight"),
        (gain, "unexpected: head.weight"),
        (widen, r"of another shape: norm.bias \[9\] instead of \[8\]"),
        (poison, "not finite: cls_token"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tiny_spec: BackboneSpec, tiny_state: State, change: Callable[[State], None], complaint: str
):
    change(tiny_state)

    with pytest.raises(LeopartError, match=complaint):
        build_backbone(tiny_spec, tiny_state)


def test_many_missing_keys_are_counted(tiny_spec: BackboneSpec):
    with pytest.raises(LeopartError, match=r"and \d+ more"):
        build_backbone(tiny_spec, {})


@pytest.fixture
def file(tmp_path: Path, tiny_spec: BackboneSpec, tiny_state: State) -> Path:
    """A backbone of the user's own, as training writes it."""
    path = tmp_path / "mine.safetensors"
    save_file(tiny_state, path)
    spec = replace(tiny_spec, name="mine", weights="mine", source=None)
    write_card(path, WeightsCard(spec, sha256(path), keys=len(tiny_state)))
    return path


def test_a_file_is_loaded_by_its_card(file: Path, tiny: Backbone, photos: Tensor):
    backbone = load_backbone(file)

    assert (backbone.name, backbone.patch_size, backbone.dim, backbone.heads) == ("mine", 2, 8, 2)
    assert torch.equal(backbone(photos).tokens, tiny(photos).tokens)
    assert load_backbone(str(file)).fingerprint == backbone.fingerprint


def test_a_file_can_be_read_as_another_row(
    file: Path, tiny_spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch
):
    short = replace(tiny_spec, name="short", depth=1, feature_block=0)
    monkeypatch.setitem(BACKBONES, "short", short)

    assert len(load_backbone(file, arch="short").model.blocks) == 1


def test_the_fingerprint_changes_with_what_changes_numbers(tiny_spec: BackboneSpec, tiny_state: State):
    base = build_backbone(tiny_spec, tiny_state, "a" * 64).fingerprint
    other = [
        build_backbone(tiny_spec, tiny_state, "b" * 64),
        build_backbone(replace(tiny_spec, position_resampling="dino"), tiny_state, "a" * 64),
        build_backbone(replace(tiny_spec, mean=(0.5, 0.5, 0.5)), tiny_state, "a" * 64),
        build_backbone(replace(tiny_spec, feature_block=0), tiny_state, "a" * 64),
    ]
    same = replace(tiny_spec, name="renamed", summary="said otherwise", licence="Apache-2.0")

    assert len({base, *(backbone.fingerprint for backbone in other)}) == 5
    assert build_backbone(same, tiny_state, "a" * 64).fingerprint == base


def test_the_fingerprint_is_the_same_in_another_process(file: Path):
    code = (
        f"from leopart.models.backbone import load_backbone; print(load_backbone({str(file)!r}).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == load_backbone(file).fingerprint


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def lose_card(file: Path) -> None:
    file.with_suffix(".json").unlink()


def lose_weights(file: Path) -> None:
    file.unlink()


def garble_card(file: Path) -> None:
    file.with_suffix(".json").write_text("{")


def empty_card(file: Path) -> None:
    file.with_suffix(".json").write_text("{}")


def impossible_card(file: Path) -> None:
    card = json.loads(file.with_suffix(".json").read_text())
    card["spec"]["feature_block"] = 7
    file.with_suffix(".json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (cut_short, "was cut short or altered"),
        (lose_card, "there is no file .*mine.json"),
        (lose_weights, "there is no file .*mine.safetensors"),
        (garble_card, r"mine\.json is not JSON: line 1, column 2"),
        (empty_card, r"mine\.json cannot be used: spec: Field required"),
        (impossible_card, "feature_block < depth"),
    ],
)
def test_damaged_files_are_refused(file: Path, damage: Callable[[Path], None], complaint: str):
    damage(file)

    with pytest.raises(LeopartError, match=complaint):
        load_backbone(file)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("imgfocus_vit14", "did you mean imgfocus_vits14"),
        ("inception", "leopart weights list"),
        ("checkpoint.pth", "does not say which network it holds.*dino_vits16:"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(name: str, complaint: str):
    with pytest.raises(LeopartError, match=complaint):
        load_backbone(name)


def test_a_row_that_contradicts_itself_is_refused(tiny_spec: BackboneSpec):
    with pytest.raises(LeopartError, match="feature_block < depth"):
        replace(tiny_spec, feature_block=2)
    with pytest.raises(LeopartError, match="multiple of patch_size"):
        replace(tiny_spec, image_size=7)


@pytest.mark.network
def test_the_default_backbone_is_the_first_ten_blocks(imgfocus: Backbone):
    images = torch.rand(1, 3, 112, 168, generator=torch.Generator().manual_seed(0))
    full = load_backbone("imgfocus_vits14_full")

    features = imgfocus(images)

    assert len(imgfocus.model.blocks) == 10
    assert features.tokens.shape == (1, 8, 12, 384)
    assert features.attention.shape == (1, 6, 8, 12)
    assert torch.equal(features.tokens, full(images, block=9).tokens)
    assert imgfocus.fingerprint != full.fingerprint


@pytest.mark.network
def test_a_photo_has_the_same_features_alone_and_in_a_batch(imgfocus: Backbone):
    images = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))

    together, alone = imgfocus(images), imgfocus(images[1:2])

    assert_same(together.tokens[1:2], alone.tokens, IMGFOCUS)
    assert_same(together.attention[1:2], alone.attention, IMGFOCUS)


def test_golden(golden_folder: Path, adapter: ModuleType):
    case = np.load(golden_folder / "vit.npz")
    state = {key[3:]: case[key].astype(np.float32) for key in case if key.startswith("sd/")}
    for size, seed in zip(case["sizes"], case["image_seeds"], strict=True):
        shape = (int(case["batch"]), 3, int(size), int(size))
        images = np.random.default_rng(int(seed)).standard_normal(shape).astype(np.float32)
        tokens, attention = adapter.vit(state, images, int(case["heads"]), int(case["patch_size"]))
        chosen = tokens[:, case[f"token_index_{size}"]]
        np.testing.assert_allclose(chosen, case[f"tokens_{size}"], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(attention, case[f"attn_{size}"], atol=1e-5, rtol=1e-4)

"""Exported backbones, run by other programs, give what Leopart gives."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from leopart.errors import LeopartError
from leopart.export import checks, drafts, export_backbone
from leopart.models.backbone import Backbone, load_backbone
from tolerances import assert_same

SIZES = [(1, 4, 4), (2, 4, 4), (1, 1, 1), (3, 3, 7), (2, 11, 2)]
"""Photos, and rows and columns of patches."""
TERMS = 4000
"""Additions of a forward of the longest variant, a ResNet-50: 48 products of some 80 values each."""


def images_of(batch: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(batch * height).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def sizes_of(backbone: Backbone) -> list[tuple[int, int, int]]:
    patch = backbone.patch_size
    return [(batch, patch * rows, patch * columns) for batch, rows, columns in SIZES]


def features_of(backbone: Backbone, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        features = backbone(torch.from_numpy(images).permute(0, 3, 1, 2))
    return features.tokens.numpy(), features.attention.numpy()


def test_onnx_equals_torch_at_any_batch_height_and_width(variant: Backbone, tmp_path: Path) -> None:
    export_backbone(variant, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for size in sizes_of(variant):
        found = session.run(["tokens", "attention"], {"images": images_of(*size)})
        for ours, theirs in zip(features_of(variant, images_of(*size)), found, strict=True):
            assert theirs.dtype == np.float32
            assert ours.size == 1 or ours.std() > 1e-5  # numbers, not a constant that any graph gives
            assert_same(theirs, ours, TERMS)


def test_onnx_leaves_out_what_is_beyond_a_multiple_of_the_patch(variant: Backbone, tmp_path: Path) -> None:
    export_backbone(variant, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    patch = variant.patch_size
    height, width = 3 * patch, 4 * patch
    images = images_of(1, height + 2, width + patch - 1)
    found = session.run(["tokens", "attention"], {"images": images})
    for ours, theirs in zip(features_of(variant, images[:, :height, :width]), found, strict=True):
        assert_same(theirs, ours, TERMS)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_the_card_says_what_attention_is_and_whether_positions_are_resampled(
    form: str, variant: Backbone, tmp_path: Path
) -> None:
    export_backbone(variant, form, tmp_path)
    card = (tmp_path / "README.md").read_text("utf-8")
    cls = getattr(variant.model, "cls_token", None) is not None
    resampled = variant.spec.position_resampling != "none"
    assert ("from the CLS token to each patch" in card) == cls
    assert ("each vector's length divided by the sum of lengths" in card) != cls
    assert ("resampling of positions" in card) == (form == "onnx" and resampled)
    assert ("| positions | no table to resample |" in card) != resampled


@pytest.mark.parametrize("form", ["timm", "safetensors", "onnx"])
def test_a_cast_backbone_is_exported_in_float32_and_stays_cast(
    form: str, random_network: Callable[..., Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = random_network().to(torch.bfloat16)
    apply, changed = nn.Module._apply, []

    def watched(self: nn.Module, *rest: Any, **options: Any) -> nn.Module:
        changed.append(self)
        return apply(self, *rest, **options)

    monkeypatch.setattr(nn.Module, "_apply", watched)
    export_backbone(backbone, form, tmp_path)

    assert not any(module is backbone for module in changed)
    assert {value.dtype for value in backbone.model.parameters()} == {torch.bfloat16}


def test_onnx_says_what_it_is_and_which_sizes_are_free(tiny_backbone: Backbone, tmp_path: Path) -> None:
    export_backbone(tiny_backbone, "onnx", tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    (images,) = model.graph.input
    assert [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim] == [
        "batch",
        "height",
        "width",
        3,
    ]
    words = {entry.key: entry.value for entry in model.metadata_props}
    assert words["patch"] == "8"
    assert (words["licence"], words["origin"], words["backbone"]) == ("MIT", "Made up.", "tiny_random")


def test_timm_loads_the_export_with_nothing_but_its_config(variant: Backbone, tmp_path: Path) -> None:
    export_backbone(variant, "timm", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    model = timm.create_model(
        config["architecture"], checkpoint_path=str(tmp_path / "model.safetensors"), **config["model_args"]
    ).eval()
    images = images_of(2, variant.spec.image_size, variant.spec.image_size)
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(config["pretrained_cfg"][key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        tokens = model.forward_features((scaled - mean) / std)
    convolutional = variant.spec.convolutional
    tokens = tokens.permute(0, 2, 3, 1) if convolutional else tokens[:, model.num_prefix_tokens :]
    expected = features_of(variant, images)[0].reshape(tokens.shape)
    assert_same(tokens, expected, TERMS)


def test_leopart_loads_its_own_export(variant: Backbone, tmp_path: Path) -> None:
    export_backbone(variant, "safetensors", tmp_path)
    again = load_backbone(tmp_path / "tiny_random.safetensors")
    for size in sizes_of(variant):
        for ours, theirs in zip(
            features_of(variant, images_of(*size)), features_of(again, images_of(*size)), strict=True
        ):
            assert_same(ours, theirs, TERMS)


@pytest.mark.parametrize("form", ["timm", "safetensors", "onnx"])
def test_the_example_in_the_card_runs(
    form: str, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_backbone(tiny_backbone, form, tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text("utf-8"), re.M | re.S)
    namespace: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), namespace)
    tokens = namespace["tokens"] if form != "safetensors" else namespace["features"].tokens
    assert tokens.shape in ((1, 16, 24), (1, 4, 4, 24))


@pytest.mark.parametrize("form", ["timm", "safetensors", "onnx"])
def test_the_card_names_origin_licence_citation_checks_and_command(
    form: str, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    exported = export_backbone(tiny_backbone, form, tmp_path, command="leopart export me")
    card = (tmp_path / "README.md").read_text("utf-8")
    spec = tiny_backbone.spec
    for words in (spec.origin, spec.citation, "license: mit", spec.architecture, "leopart export me"):
        assert words in card
    for check in exported.checks:
        assert f"- {check}\n" in card
    assert exported.files[-1] == tmp_path / "README.md"
    assert {file.name for file in exported.files} == {file.name for file in tmp_path.iterdir()}


class TestRefused:
    def test_another_format(self, tiny_backbone: Backbone, tmp_path: Path) -> None:
        with pytest.raises(LeopartError, match="no format 'tensorrt': choose timm, safetensors, onnx"):
            export_backbone(tiny_backbone, "tensorrt", tmp_path)

    def test_without_onnxruntime(
        self, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(LeopartError, match=r"pip install 'leopart\[export\]'"):
            export_backbone(tiny_backbone, "onnx", tmp_path)

    def test_a_graph_that_gives_other_numbers_is_not_written(
        self, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def other(graph, backbone, images, **options):
            tokens, attention = write(graph, backbone, images, **options)
            return graph.add("Add", tokens, 0.01), attention

        write = drafts.write_backbone
        monkeypatch.setattr(drafts, "write_backbone", other)
        with pytest.raises(LeopartError, match=r"nothing was written.*differs from Leopart by up to 0\.01"):
            export_backbone(tiny_backbone, "onnx", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_nan_is_a_difference(self) -> None:
        with pytest.raises(LeopartError, match="by up to nan"):
            checks.require_close(np.array([np.nan], dtype=np.float32), torch.zeros(1), 1.0)

    def test_another_shape_is_a_difference(self) -> None:
        with pytest.raises(LeopartError, match=r"\[2\] values instead of \[1\]"):
            checks.require_close(np.zeros(2, dtype=np.float32), torch.zeros(1), 1.0)

    def test_a_network_with_another_activation(
        self, random_network: Callable[..., Backbone], tmp_path: Path
    ) -> None:
        backbone = random_network()
        backbone.model.blocks[0].mlp.act = nn.SiLU()
        with pytest.raises(LeopartError, match="not the activation SiLU: use --format timm"):
            export_backbone(backbone, "onnx", tmp_path)

    def test_a_network_of_another_kind(self, random_network: Callable[..., Backbone], tmp_path: Path) -> None:
        backbone = random_network()
        backbone.model = timm.create_model("resnet18", num_classes=0)
        with pytest.raises(LeopartError, match="not a ResNet"):
            export_backbone(backbone, "onnx", tmp_path)
        with pytest.raises(LeopartError, match="does not take these weights: use --format safetensors"):
            export_backbone(backbone, "timm", tmp_path)

    def test_a_full_disk_leaves_no_half_file(
        self, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(LeopartError, match="No space left on device; free some space"):
            export_backbone(tiny_backbone, "onnx", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_more_than_two_gigabytes(
        self, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("leopart.export.graph._LARGEST", 1000)
        with pytest.raises(LeopartError, match="do not fit into one ONNX file"):
            export_backbone(tiny_backbone, "onnx", tmp_path)


def test_a_norm_without_parameters_is_what_timm_gets(tiny_backbone: Backbone) -> None:
    state = drafts.timm_state(tiny_backbone)
    values = torch.randn(5, tiny_backbone.dim, generator=torch.Generator().manual_seed(0))
    ours = F.layer_norm(values, (tiny_backbone.dim,), eps=1e-6)
    theirs = F.layer_norm(values, (tiny_backbone.dim,), state["norm.weight"], state["norm.bias"], 1e-6)
    assert_same(ours, theirs, tiny_backbone.dim)


@pytest.mark.network
@pytest.mark.slow
def test_the_default_backbone_exports_within_a_thousandth(tmp_path: Path) -> None:
    backbone = load_backbone("imgfocus_vits14")
    export_backbone(backbone, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for size in ((1, 224, 224), (1, 140, 266)):
        tokens, attention = session.run(None, {"images": images_of(*size)})
        expected, row = features_of(backbone, images_of(*size))
        np.testing.assert_allclose(tokens, expected, atol=1e-3)
        np.testing.assert_allclose(attention, row, atol=1e-5)

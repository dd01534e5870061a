from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from tiny_onnx import BLOCKS, DIM, SIDE, TOKENS

from leopart.data.images import load_photo, resize
from leopart.data.samples import sample_photos
from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, load_backbone
from leopart.models.weights.onnx_graph import backbone_state
from leopart.models.weights.registry import backbone_spec
from tolerances import assert_same


def run_onnx(model: onnx.ModelProto, pixels: np.ndarray, output: str) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run([output], {"input_image": pixels})[0]


def output_of_final_norm(model: onnx.ModelProto) -> str:
    (node,) = [node for node in model.graph.node if "backbone.layernorm.bias" in node.input]
    return node.output[0]


def test_a_converted_graph_gives_the_tokens_the_graph_gives(tiny: Backbone, tiny_model: onnx.ModelProto):
    pixels = np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)

    expected = run_onnx(tiny_model, pixels, output_of_final_norm(tiny_model))

    tokens = tiny.encode(torch.from_numpy(pixels)).tokens.flatten(1, 2)
    assert_same(tokens, expected[:, 1:], terms=200)


def test_every_key_of_timm_is_there_with_its_shape(tiny_state: dict[str, torch.Tensor]):
    names = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"]
    for linear in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        names += [f"{linear}.weight", f"{linear}.bias"]
    expected = {f"blocks.{block}.{name}" for block in range(BLOCKS) for name in names}
    expected |= {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    expected |= {"norm.weight", "norm.bias"}

    assert set(tiny_state) == expected
    assert tiny_state["blocks.1.attn.qkv.weight"].shape == (3 * DIM, DIM)
    assert tiny_state["blocks.1.mlp.fc1.weight"].shape == (4 * DIM, DIM)
    assert tiny_state["pos_embed"].shape == (1, 10, DIM)
    assert TOKENS == 5


def find(model: onnx.ModelProto, kind: str, number: int = 0) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == kind][number]


def drop_constant(model: onnx.ModelProto) -> None:
    (found,) = [c for c in model.graph.initializer if c.name == "backbone.encoder.layer.1.norm2.weight"]
    model.graph.initializer.remove(found)


def add_nameless_branch(model: onnx.ModelProto) -> None:
    """A constant that is multiplied into the first block, as a gate would be."""
    values = np.ones(DIM, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "onnx::Mul_7"))
    first = find(model, "Softmax")
    model.graph.node.append(helper.make_node("Mul", [first.input[0], "onnx::Mul_7"], ["gated"]))
    first.input[0] = "gated"


def add_named_constant(model: onnx.ModelProto) -> None:
    values = np.ones(DIM, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "backbone.embeddings.register_tokens"))


def rename_layer(model: onnx.ModelProto) -> None:
    for constant in model.graph.initializer:
        constant.name = constant.name.replace("layer.1.", "layer.4.")


def replace_product(model: onnx.ModelProto) -> None:
    find(model, "MatMul").op_type = "Gemm"


def share_weight(model: onnx.ModelProto) -> None:
    find(model, "MatMul", 1).input[1] = find(model, "MatMul", 0).input[1]


def lose_position_table(model: onnx.ModelProto) -> None:
    find(model, "Resize").op_type = "Upsample"


@pytest.mark.parametrize(
    ("breakage", "complaint"),
    [
        (drop_constant, "no constant backbone.encoder.layer.1.norm2.weight"),
        (add_nameless_branch, "without a place: onnx::Mul_7"),
        (add_named_constant, "without a place: backbone.embeddings.register_tokens"),
        (rename_layer, r"numbered \[0, 4\]"),
        (replace_product, "is not made by a MatMul"),
        (share_weight, "exactly one constant of its own"),
        (lose_position_table, "no position table upstream"),
    ],
)
def test_an_unexpected_graph_is_refused_by_name(
    tiny_model: onnx.ModelProto, breakage: Callable[[onnx.ModelProto], None], complaint: str
):
    breakage(tiny_model)

    with pytest.raises(LeopartError, match=complaint):
        backbone_state(tiny_model)


@pytest.mark.network
def test_all_twelve_blocks_reproduce_the_published_graph(imgfocus: Backbone, imgfocus_onnx: onnx.ModelProto):
    """Measured on 2 x86 cores: largest difference 2e-5 between tokens whose values reach 10."""
    full = load_backbone("imgfocus_vits14_full")
    output = output_of_final_norm(imgfocus_onnx)
    del imgfocus_onnx.graph.output[:]  # onnxruntime then leaves the decoder out
    imgfocus_onnx.graph.output.append(helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    photo = torch.from_numpy(resize(load_photo(sample_photos()[0].path), 224, 224)).permute(2, 0, 1)
    noise = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(5))
    images = torch.stack([photo / 255, noise])

    expected = run_onnx(imgfocus_onnx, full.normalise(images).numpy(), output)

    tokens = full(images).tokens.flatten(1, 2)
    np.testing.assert_allclose(tokens, expected[:, 1:], atol=2e-4)
    assert float(np.abs(expected).max()) > 1
    assert backbone_spec("imgfocus_vits14_full").depth == 12

"""A two-block DINOv2 in miniature as an ONNX graph that runs, with constants as anonymous as an exporter's.

Written from the structure of the real export, so that conversion is tested without a download. Numbers in
the names are scrambled on purpose: nothing may depend on them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM, HEADS, GRID, PATCH, BLOCKS = 8, 2, 3, 2, 2
SIDE = 2 * PATCH  # runs on 2 x 2 patches, so the table of 3 x 3 is resampled
TOKENS = 1 + (SIDE // PATCH) ** 2


class TinyGraph:
    """Collects nodes and constants; `model()` closes the graph."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def constant(self, name: str, *shape: int, around: float = 0.0) -> str:
        values = (around + 0.5 * self.rng.standard_normal(shape)).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def anonymous(self, kind: str, *shape: int) -> str:
        return self.constant(f"onnx::{kind}_{self.rng.integers(10**9)}", *shape)

    def shape(self, *values: int) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def scalar(self, value: float) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.float32(value)))

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        self.count += 1
        output = f"value_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{self.count}", **attributes))
        return output

    def linear(self, name: str, x: str, inside: int, outside: int) -> str:
        product = self.node("MatMul", x, self.anonymous("MatMul", inside, outside))
        return self.node("Add", self.constant(f"{name}.bias", outside), product)

    def norm(self, name: str, x: str) -> str:
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, self.scalar(2)), axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.scalar(1e-6)))
        scaled = self.node(
            "Mul", self.node("Div", centred, deviation), self.constant(f"{name}.weight", DIM, around=1)
        )
        return self.node("Add", scaled, self.constant(f"{name}.bias", DIM))

    def embeddings(self) -> str:
        name = "backbone.embeddings"
        weight = self.constant(f"{name}.patch_embeddings.projection.weight", DIM, 3, PATCH, PATCH)
        bias = self.constant(f"{name}.patch_embeddings.projection.bias", DIM)
        patches = self.node("Conv", "input_image", weight, bias, strides=[PATCH, PATCH])
        patches = self.node(
            "Transpose", self.node("Reshape", patches, self.shape(1, DIM, -1)), perm=[0, 2, 1]
        )
        cls = self.node("Expand", self.constant(f"{name}.cls_token", 1, 1, DIM), self.shape(1, 1, DIM))
        joined = self.node("Concat", cls, patches, axis=1)
        table = self.anonymous("Reshape", 1, GRID * GRID, DIM)
        table = self.node("Reshape", table, self.shape(1, GRID, GRID, DIM))
        table = self.node("Cast", self.node("Transpose", table, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
        size = self.shape(1, DIM, SIDE // PATCH, SIDE // PATCH)
        half = {"coordinate_transformation_mode": "half_pixel", "mode": "cubic", "cubic_coeff_a": -0.75}
        table = self.node("Transpose", self.node("Resize", table, "", "", size, **half), perm=[0, 2, 3, 1])
        table = self.node("Reshape", table, self.shape(1, TOKENS - 1, DIM))
        positions = self.node("Concat", self.anonymous("Concat", 1, 1, DIM), table, axis=1)
        return self.node("Add", joined, positions)

    def heads(self, x: str, *order: int) -> str:
        split = self.node("Reshape", x, self.shape(1, TOKENS, HEADS, DIM // HEADS))
        return self.node("Transpose", split, perm=list(order))

    def attention(self, name: str, x: str) -> str:
        part = f"{name}.attention.attention"
        # The real export computes key and value before query; order of appearance says nothing.
        key = self.heads(self.linear(f"{part}.key", x, DIM, DIM), 0, 2, 3, 1)
        value = self.heads(self.linear(f"{part}.value", x, DIM, DIM), 0, 2, 1, 3)
        query = self.heads(self.linear(f"{part}.query", x, DIM, DIM), 0, 2, 1, 3)
        logits = self.node("Mul", self.node("MatMul", query, key), self.scalar((DIM // HEADS) ** -0.5))
        mixed = self.node("MatMul", self.node("Softmax", logits, axis=-1), value)
        merged = self.node(
            "Reshape", self.node("Transpose", mixed, perm=[0, 2, 1, 3]), self.shape(1, TOKENS, DIM)
        )
        return self.linear(f"{name}.attention.output.dense", merged, DIM, DIM)

    def mlp(self, name: str, x: str) -> str:
        hidden = self.linear(f"{name}.mlp.fc1", x, DIM, 4 * DIM)
        error = self.node("Erf", self.node("Mul", hidden, self.scalar(0.5**0.5)))
        hidden = self.node("Mul", hidden, self.node("Add", error, self.scalar(1)))
        return self.linear(f"{name}.mlp.fc2", self.node("Mul", hidden, self.scalar(0.5)), 4 * DIM, DIM)

    def block(self, index: int, x: str) -> str:
        name = f"backbone.encoder.layer.{index}"
        for branch, (norm, scale) in {
            self.attention: ("norm1", "layer_scale1"),
            self.mlp: ("norm2", "layer_scale2"),
        }.items():
            y = branch(name, self.norm(f"{name}.{norm}", x))
            x = self.node("Add", self.node("Mul", y, self.constant(f"{name}.{scale}.lambda1", DIM)), x)
        return x

    def model(self) -> onnx.ModelProto:
        x = self.embeddings()
        for index in range(BLOCKS):
            x = self.block(index, x)
        out = self.norm("backbone.layernorm", x)
        # A decoder that is no business of ours.
        head = self.node("MatMul", out, self.anonymous("MatMul", DIM, 1))
        image = helper.make_tensor_value_info("input_image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        outputs = [
            helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, TOKENS, DIM]),
            helper.make_tensor_value_info(head, TensorProto.FLOAT, [1, TOKENS, 1]),
        ]
        graph = helper.make_graph(self.nodes, "tiny", [image], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)

"""Read the backbone out of an ONNX model exported from Hugging Face's DINOv2, into timm's key layout.

Exporters fold and transpose linear weights into anonymous constants (`onnx::MatMul_1966`). Their numbers
change with the exporter's version, so nothing here knows one: a weight is the constant that is multiplied
into what a *named* bias is added to, and the position table the one that is added to the joined tokens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leopart.errors import LeopartError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[np.float32]

_LAYER = re.compile(r"^backbone\.encoder\.layer\.(\d+)\.")
_LINEAR = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_SCALED = {"ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}


def backbone_state(model: onnx.ModelProto) -> dict[str, Array]:
    """Weights of the graph's backbone under timm's names, sorted by name.

    Per block `blocks.i.{norm1,attn.qkv,attn.proj,ls1.gamma,norm2,mlp.fc1,mlp.fc2,ls2.gamma}`, and
    `cls_token`, `pos_embed` [1, 1 + g * g, D], `patch_embed.proj`, `norm`. Query, key and value are stacked
    in this order.

    Raises:
        LeopartError: the graph is not built as expected, or holds a backbone constant that found no place.
    """
    graph = _Graph(model)
    state = _embeddings(graph)
    for block in range(graph.count_blocks()):
        state |= _block(graph, block)
    state |= {f"norm.{part}": graph.take(f"backbone.layernorm.{part}") for part in ("weight", "bias")}
    graph.refuse_leftovers("backbone.layernorm.bias")
    return {name: np.ascontiguousarray(state[name]) for name in sorted(state)}


def _block(graph: _Graph, block: int) -> dict[str, Array]:
    ours, theirs = f"blocks.{block}", f"backbone.encoder.layer.{block}"
    state = {}
    for part in ("weight", "bias"):
        for norm in ("norm1", "norm2"):
            state[f"{ours}.{norm}.{part}"] = graph.take(f"{theirs}.{norm}.{part}")
    for name, source in _SCALED.items():
        state[f"{ours}.{name}"] = graph.take(f"{theirs}.{source}")
    for name, source in _LINEAR.items():
        state[f"{ours}.{name}.weight"], state[f"{ours}.{name}.bias"] = graph.linear(f"{theirs}.{source}.bias")
    heads = [graph.linear(f"{theirs}.attention.attention.{part}.bias") for part in ("query", "key", "value")]
    state[f"{ours}.attn.qkv.weight"] = np.concatenate([weight for weight, _ in heads])
    state[f"{ours}.attn.qkv.bias"] = np.concatenate([bias for _, bias in heads])
    return state


def _embeddings(graph: _Graph) -> dict[str, Array]:
    source = "backbone.embeddings"
    joined = graph.consumer("Concat", graph.consumer("Expand", f"{source}.cls_token").output[0]).output[0]
    positions = graph.producer(graph.other_input(graph.consumer("Add", joined), joined), "Concat")
    table = [graph.take(graph.upstream_constant(name)) for name in positions.input]
    return {
        "cls_token": graph.take(f"{source}.cls_token"),
        "pos_embed": np.concatenate(table, axis=1),
        "patch_embed.proj.weight": graph.take(f"{source}.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": graph.take(f"{source}.patch_embeddings.projection.bias"),
    }


class _Graph:
    """An ONNX graph that can be walked both ways and remembers which constants were taken."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._constants = {constant.name: constant for constant in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._consumers: dict[str, list[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._taken: set[str] = set()

    def count_blocks(self) -> int:
        """Number of encoder layers; they must be numbered from 0 without a gap."""
        found = {int(match[1]) for name in self._constants if (match := _LAYER.match(name))}
        if not found or found != set(range(len(found))):
            raise _unexpected(f"encoder layers numbered {sorted(found)} instead of 0, 1, 2, ...")
        return len(found)

    def take(self, name: str) -> Array:
        """The constant `name` as float32."""
        from onnx import numpy_helper

        if name not in self._constants:
            raise _unexpected(f"no constant {name}")
        self._taken.add(name)
        return np.asarray(numpy_helper.to_array(self._constants[name]), dtype=np.float32)

    def linear(self, bias: str) -> tuple[Array, Array]:
        """Weight [out, in] and bias [out] of the linear layer whose bias is named."""
        product = self.producer(self.other_input(self.consumer("Add", bias), bias), "MatMul")
        factors = [name for name in product.input if name in self._constants]
        if len(factors) != 1 or factors[0] in self._taken:
            raise _unexpected(f"{bias} is not added to a product with exactly one constant of its own")
        weight, offset = self.take(factors[0]).T, self.take(bias)
        if weight.shape[0] != offset.shape[0]:
            raise _unexpected(f"{bias} has {offset.shape[0]} values for {weight.shape[0]} outputs")
        return weight, offset

    def consumer(self, kind: str, name: str) -> Any:
        """The only node of type `kind` that reads `name`."""
        found = [node for node in self._consumers.get(name, []) if node.op_type == kind]
        if len(found) != 1:
            raise _unexpected(f"{len(found)} {kind} nodes read {name}, not one")
        return found[0]

    def producer(self, name: str, kind: str) -> Any:
        """The node that makes `name`, which must be of type `kind`."""
        node = self._producers.get(name)
        if node is None or node.op_type != kind:
            raise _unexpected(f"{name} is not made by a {kind} node")
        return node

    def other_input(self, node: Any, name: str) -> str:
        """The other operand of a node with two."""
        others = [other for other in node.input if other != name]
        if len(others) != 1:
            raise _unexpected(f"node {node.name} does not join {name} with one other value")
        return str(others[0])

    def upstream_constant(self, name: str) -> str:
        """The constant from which `name` is made by reshaping, transposing and resizing (first inputs)."""
        while name not in self._constants:
            node = self._producers.get(name)
            if node is None or node.op_type not in {"Reshape", "Transpose", "Cast", "Resize"}:
                raise _unexpected(f"no position table upstream of {name}")
            name = node.input[0]
        return name

    def refuse_leftovers(self, last_bias: str) -> None:
        """Every float constant from which the backbone's output is computed must have been taken."""
        waiting, seen = [name for node in self._consumers[last_bias] for name in node.output], set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                node = self._producers.get(name)
                waiting.extend(node.input if node is not None else [])
        needed = {name for name in self._constants if name in seen or name.startswith("backbone.")}
        left = sorted(name for name in needed - self._taken if self._floats(name))
        if left:
            raise _unexpected(f"backbone constants without a place: {', '.join(left)}")

    def _floats(self, name: str) -> bool:
        return int(self._constants[name].data_type) in {1, 10, 11, 16}  # FLOAT, FLOAT16, DOUBLE, BFLOAT16


def _unexpected(what: str) -> LeopartError:
    return LeopartError(
        f"the ONNX model is not the DINOv2 export this conversion knows: {what}; "
        "use the published file, or report the model that should be supported"
    )

"""An ONNX graph, written node by node.

The graph is written by hand, not traced from torch, because torch's exporter fails where we need it:
docs/decisions.md says at what. Any torch gives the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leopart.errors import LeopartError

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""The first with LayerNormalization; onnxruntime reads it since 1.12."""
_IR_VERSION = 8  # of the same year, so that runtimes of that year read the file
_LARGEST = 2**31 - 1

Operand = str | float | Sequence[int] | NDArray[Any] | Tensor
"""The name of a value, or a constant: a number (float32), whole numbers (int64), an array or a tensor."""
Shape = Sequence[int | str]
"""Sizes of a value; a name stands for a size that the caller chooses."""


class Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: type[np.generic], shape: Shape) -> str:
        """Declare an input of the graph; its name."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: type[np.generic], shape: Shape) -> None:
        """Make `value`, cast to `dtype`, an output of the graph called `name`."""
        from onnx import helper

        self._nodes.append(
            helper.make_node("Cast", [value], [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        )
        self._outputs.append(_value_info(name, dtype, shape))

    def add(self, kind: str, *operands: Operand, **attributes: Any) -> str:
        """A node with one output; the name of that.

        Args:
            kind: of the ONNX operator, e.g. `MatMul`.
            operands: its inputs in order; an empty name leaves one out.
            attributes: of the operator; None leaves one out.
        """
        return self.several(kind, 1, *operands, **attributes)[0]

    def several(self, kind: str, outputs: int, *operands: Operand, **attributes: Any) -> list[str]:
        """A node with several outputs; their names."""
        from onnx import helper

        names = [f"{kind}_{len(self._nodes)}" + (f"_{index}" if index else "") for index in range(outputs)]
        inputs = [
            operand if isinstance(operand, str) else self.constant(_array(operand)) for operand in operands
        ]
        given = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(helper.make_node(kind, inputs, names, name=names[0], **given))
        return names

    def cast(self, value: str, dtype: type[np.generic] = np.float32) -> str:
        """`value` as another type."""
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, value: NDArray[Any]) -> str:
        """The name of an array that keeps its type, double precision too; equal small ones share one."""
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        if value.size <= 4:
            name = f"{value.dtype}_{list(value.shape)}_{value.ravel().tolist()}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def linear(self, value: str, weight: Tensor, bias: Tensor | None) -> str:
        """`value` [..., in] times `weight` [out, in] transposed, plus `bias` [out]."""
        product = self.add("MatMul", value, weight.detach().T)
        return product if bias is None else self.add("Add", product, bias)

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, checked against the operators' own rules.

        Args:
            metadata: words that travel inside the file; onnxruntime gives them back as
                `session.get_modelmeta().custom_metadata_map`.

        Raises:
            LeopartError: weights of more than 2 GB, which one ONNX file cannot hold.
        """
        import onnx
        from onnx import helper

        size = sum(len(constant.raw_data) for constant in self._constants.values())
        if size > 0.99 * _LARGEST:
            message = (
                f"{size / 1e9:.1f} GB of weights do not fit into one ONNX file (2 GB): use --format timm"
            )
            raise LeopartError(message)
        graph = helper.make_graph(
            self._nodes, "leopart", self._inputs, self._outputs, list(self._constants.values())
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="leopart", ir_version=_IR_VERSION)
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model


def unknown(what: str) -> LeopartError:
    """The error for a network that cannot be written as a graph yet."""
    return LeopartError(
        f"ONNX export knows plain vision transformers, DINOv3's and ResNets, not {what}: "
        "use --format timm or safetensors"
    )


def _array(value: float | Sequence[int] | NDArray[Any] | Tensor) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        array = value.astype(np.float32) if value.dtype.kind == "f" else value
    else:
        array = np.asarray(value, dtype=np.float32 if isinstance(value, float) else np.int64)
    return np.require(array, requirements="C")  # keeps a scalar a scalar, which ascontiguousarray does not


def _value_info(name: str, dtype: type[np.generic], shape: Shape) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))

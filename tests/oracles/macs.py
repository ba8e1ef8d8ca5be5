"""How many multiply-accumulates a network's contractions take, counted from shapes that onnx infers.

Counted are Conv, ConvTranspose, MatMul, Gemm, LSTM, GRU, RNN and Einsum of the main graph; biases, activations and
everything else are not multiply-accumulates here. The padding of a convolution is counted as if it were data, which is
what a dense kernel does and what papers count: ResNet-50 at 224x224 has 4,089,184,256, MobileNet V2 300,774,272.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from execution import Executed

__all__ = ["COUNTED", "MacCount", "count_macs", "inferred_shapes"]

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MacCount:
    """MACs of each counted node, under its name (its first output's where it has none), and their sums."""

    per_node: Mapping[str, int]
    per_op_type: Mapping[str, int]

    @property
    def total(self) -> int:
        """The sum over all nodes."""
        return sum(self.per_node.values())


def inferred_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of all values of the main graph, weights included, that onnx infers in full."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor_type = value.type.tensor_type
        dims = tensor_type.shape.dim
        if tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes.setdefault(value.name, tuple(dim.dim_value for dim in dims))
    return shapes


def _conv(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
    """Every output element sums over one filter: W is (M, C/group, k…), ONNX Conv-11."""
    return prod(outputs[0]) * prod(inputs[1][1:])


def _conv_transpose(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
    """Every input element is multiplied with one filter: W is (C, M/group, k…), ONNX ConvTranspose-11."""
    return prod(inputs[0]) * prod(inputs[1][1:])


def _matmul(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
    """Every output element sums over the last dimension of A; dimensions broadcast as numpy.matmul's do."""
    return prod(outputs[0]) * inputs[0][-1]


def _gemm(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
    rows, columns = inputs[0]
    return prod(outputs[0]) * (rows if attributes.get("transA", 0) else columns)


def _recurrent(gates: int) -> Callable[[list[Shape], list[Shape], Attributes], int]:
    """Every gate of every step multiplies input and hidden state: W is (dirs, gates·h, i), R is (dirs, gates·h, h)."""

    def count(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
        steps_and_batch = inputs[0][0] * inputs[0][1]
        directions, rows, features = inputs[1]
        if rows % gates:
            raise ValueError(f"W has {rows} rows, no multiple of {gates} gates")
        return steps_and_batch * directions * rows * (features + rows // gates)

    return count


def _einsum(inputs: list[Shape], outputs: list[Shape], attributes: Attributes) -> int:
    """The loop nest over all labels, once per operand after the first; a single operand multiplies nothing."""
    sizes: dict[str, int] = {}
    terms = attributes["equation"].decode().replace(" ", "").split("->")[0].split(",")
    for term, shape in zip(terms, inputs, strict=True):
        head, ellipsis, tail = term.partition("...")
        hidden = len(shape) - len(head) - len(tail)
        # Dimensions under an ellipsis align from the right, as in numpy broadcasting.
        labels = [*head, *(f"...{i}" for i in range(hidden, 0, -1) if ellipsis), *tail]
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(sizes.get(label, 1), size)
    return prod(sizes.values()) * (len(inputs) - 1)


COUNTED: Mapping[str, Callable[[list[Shape], list[Shape], Attributes], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "Einsum": _einsum,
}
"""The count for each op type, from the shapes of its inputs and outputs and its attributes."""


def count_macs(path: Path, executed: Mapping[str, Executed] | None = None) -> MacCount:
    """The MACs of a model file; `executed` shapes stand in where onnx infers none.

    Raises KeyError, naming the value, where a shape that is needed is in neither.
    """
    model = onnx.load(path, load_external_data=False)
    shapes = inferred_shapes(model)
    for name, value in (executed or {}).items():
        if value.elements is None:
            shapes.setdefault(name, value.shape)
    per_node: dict[str, int] = {}
    per_op_type: Counter[str] = Counter()
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in COUNTED:
            continue
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        operands = node.input if node.op_type == "Einsum" else node.input[:2]  # a bias takes no part
        inputs = [shapes[name] for name in operands]
        outputs = [shapes[name] for name in node.output[:1] if name]
        macs = COUNTED[node.op_type](inputs, outputs, attributes)
        name = node.name or node.output[0]
        if name in per_node:
            raise ValueError(f"{path}: two nodes are called '{name}'")
        per_node[name] = macs
        per_op_type[node.op_type] += macs
    return MacCount(per_node, dict(per_op_type))

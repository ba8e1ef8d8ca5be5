"""Tiny ONNX models, built in a few words each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = [
    "BOOL",
    "F32",
    "I64",
    "NEWEST",
    "Dims",
    "body",
    "branch",
    "floats",
    "model",
    "small_network",
    "value",
    "weight",
]

NEWEST = onnx.defs.onnx_opset_version()
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

Dims = Sequence[int | str | None]


def value(name: str, dims: Dims | None, type: int = F32) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, type, dims)


def weight(name: str, array: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[str],
    weights: Sequence[TensorProto] = (),
    opset: int = 17,
    **more: object,
) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, [ValueInfoProto(name=name) for name in outputs], weights)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **more)


def _squeeze(opset: int) -> tuple[NodeProto, list[TensorProto]]:
    if opset < 13:
        return helper.make_node("Squeeze", ["p"], ["q"], axes=[2, 3]), []
    return helper.make_node("Squeeze", ["p", "axes"], ["q"]), [weight("axes", np.array([2, 3]))]


def _clip(opset: int) -> tuple[NodeProto, list[TensorProto]]:
    if opset < 11:
        return helper.make_node("Clip", ["b"], ["r"], min=0.0, max=6.0), []
    bounds = [weight("lo", np.float32(0)), weight("hi", np.float32(6))]
    return helper.make_node("Clip", ["b", "lo", "hi"], ["r"]), bounds


def _slice(opset: int) -> tuple[NodeProto, list[TensorProto]]:
    if opset < 10:
        return helper.make_node("Slice", ["q"], ["s"], axes=[1], starts=[2], ends=[6]), []
    constants = [weight("starts", np.array([2])), weight("ends", np.array([6])), weight("on", np.array([1]))]
    return helper.make_node("Slice", ["q", "starts", "ends", "on"], ["s"]), constants


def small_network(opset: int) -> ModelProto:
    """Conv, BatchNormalization, Clip, pooling, Squeeze, Slice, Dropout and Softmax as the opset spells them."""
    (squeeze, axes), (clip, bounds), (cut, ranges) = _squeeze(opset), _clip(opset), _slice(opset)
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        make("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["b"]),
        clip,
        make("GlobalAveragePool", ["r"], ["p"]),
        squeeze,
        cut,
        make("Dropout", ["s"], ["d", "mask"]),
        make("Softmax", ["d"], ["y"]),
    ]
    norm = [weight(name, floats(8)) for name in ("scale", "bias", "mean", "var")]
    weights = [weight("w", floats(8, 3, 3, 3)), *norm, *axes, *bounds, *ranges]
    return model(nodes, [value("x", [1, 3, 10, 10])], ["y", "mask"], weights, opset)


def body(name: str, nodes: Sequence[NodeProto], inputs: Sequence[ValueInfoProto], *outputs: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, inputs, [ValueInfoProto(name=output) for output in outputs])


def branch(op: str, operands: list[str], result: str) -> onnx.GraphProto:
    return body(f"{op.lower()}_branch", [helper.make_node(op, operands, [result])], [], result)

"""Convolutions that a runtime runs with channels last: each gets a transpose before and one behind it, which then move.

Conversions move along with the transposes of quantised graphs. Source of the behaviour: onnxruntime
``core/optimizer/nhwc_transformer.cc`` and ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from ..ir import Graph, Op, TensorType
from .quantized import DEQUANTIZE, drop_requantization, quantize_around_transposes
from .transposed_operators import Turned, inverted
from .transposes import push_transposes, put_transposed, transpose

__all__ = ["run_channels_last", "settle_transposes"]

_CONVOLUTION = "onnx.QLinearConv"
_CHANNELS_LAST = "com.microsoft.QLinearConv"


def run_channels_last(graph: Graph) -> int:
    """Run every quantised convolution with its channels last; return how many there are."""
    convolutions = [op for op in graph.body if op.name == _CONVOLUTION and len(op.results) == 1]
    for op in convolutions:
        _wrap(graph, op)
    if convolutions:
        _settle_and_repair(graph)
    return len(convolutions)


def settle_transposes(graph: Graph) -> int:
    """Move the transposes of a quantised graph, conversions along with them; return how many conversions were added."""
    if not any(op.name in DEQUANTIZE for op in graph.body):
        return 0
    return _settle_and_repair(graph)


def _settle_and_repair(graph: Graph) -> int:
    push_transposes(graph)
    drop_requantization(graph)
    return quantize_around_transposes(graph)


def _wrap(graph: Graph, op: Op) -> None:
    x, type_ = op.operand(0), op.result.type
    if x is None or not isinstance(x.type, TensorType) or not isinstance(type_, TensorType):
        return
    if not x.type.static or not type_.static or x.type.rank != type_.rank:
        return
    to_last = (0, *range(2, len(type_.dims)), 1)
    turned = transpose(graph, x, to_last, op)
    new = Turned(_CHANNELS_LAST, {**op.attributes, "channels_last": 1}, inverted(to_last))
    put_transposed(graph, op, new, [turned, *op.operands[1:]])

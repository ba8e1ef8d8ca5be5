"""Which values a runtime with a channel-blocked layout (NCHWc) keeps in that layout.

onnxruntime's CPU provider reorders activations so that a block of channels fills a vector register. Where both ends
of an edge are blocked, more fuses (a residual addition becomes part of the convolution); where a convolution cannot
be blocked it stays plain. Sources: onnxruntime ``core/optimizer/nchwc_transformer.cc`` and its optimised graphs of 60
networks.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Op, TensorType, Value

__all__ = ["blocked_values"]

_POOLS = frozenset({"onnx.MaxPool", "onnx.AveragePool"})
_SAME_LAYOUT = frozenset(
    f"onnx.{name}"
    for name in (
        "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "BatchNormalization",
        "GlobalAveragePool", "GlobalMaxPool",
    )
)  # fmt: skip
_SUMS = frozenset({"onnx.Add", "onnx.Sum", "onnx.Mul"})


def blocked_values(graph: Graph, block: int) -> frozenset[Value]:
    """Return the values held in blocks of ``block`` channels."""
    blocked: set[Value] = set()
    for op in graph.body:
        if op.results and _stays_blocked(op, blocked, block):
            blocked.add(op.results[0])
    return frozenset(blocked)


def _stays_blocked(op: Op, blocked: set[Value], block: int) -> bool:
    operands = list(op.inputs)
    if op.name == "onnx.Conv":
        return _blockable(op, block)
    if op.name in _POOLS:
        return _rank(operands[0]) == 4 and _channels(operands[0]) % block == 0
    if op.name in _SAME_LAYOUT:
        return operands[0] in blocked
    if op.name in _SUMS:
        moving = [value for value in operands if not value.is_constant]
        return len({value.type for value in moving}) == 1 and all(value in blocked for value in moving)
    if op.name == "onnx.Resize":
        return operands[0] in blocked and op.attributes.get("mode", "nearest") == "nearest"
    if op.name == "onnx.Concat":
        whole = all(value in blocked and _channels(value) % block == 0 for value in operands)
        return op.attributes.get("axis") == 1 and whole
    return False


def _blockable(conv: Op, block: int) -> bool:
    """Two spatial dimensions, constant weights and bias, and channel counts that fill the blocks of each group."""
    x, weight = conv.operand(0), conv.operand(1)
    if x is None or weight is None or _rank(weight) != 4 or not all(v.is_constant for v in list(conv.inputs)[1:]):
        return False
    if not isinstance(weight.type, TensorType) or not weight.type.static:
        return False
    groups = conv.attributes.get("group", 1)
    out_channels, in_per_group = weight.type.dims[:2]
    if not isinstance(groups, int) or groups < 1:
        return False
    if groups == 1:
        return in_per_group < block or in_per_group % block == 0
    depthwise = in_per_group == 1 and groups == out_channels
    full: Callable[[int], bool] = lambda channels: channels % block == 0  # noqa: E731
    return full(out_channels) and (depthwise or (full(in_per_group) and full(out_channels // groups)))


def _rank(value: Value) -> int | None:
    return value.type.rank if isinstance(value.type, TensorType) else None


def _channels(value: Value) -> int:
    """Extent of dimension 1; 1, which fills no block, where it is not known."""
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    extent = shape[1] if shape is not None and len(shape) > 1 else 1
    return extent if isinstance(extent, int) else 1

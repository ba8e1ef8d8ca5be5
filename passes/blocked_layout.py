"""Which values a runtime with a channel-blocked layout (NCHWc) keeps in that layout.

onnxruntime's CPU provider reorders activations so that a block of channels fills a vector register. Where both ends
of an edge are blocked, more fuses (a residual addition becomes part of the convolution); where a convolution cannot
be blocked it stays plain. Sources: onnxruntime ``core/optimizer/nchwc_transformer.cc`` and its optimised graphs of 60
networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..ir import Graph, Op, TensorType, Value
from .patterns import PatternError
from .rewrites import option

__all__ = ["blocked_values", "read_block", "reordered_bytes"]

SameKernel = Callable[[Op, Op], bool]

_ALIGNMENT = 4
"""Channels that are reordered come in multiples of this, or the convolution that reads them so stays plain."""

_POOLS = frozenset({"onnx.MaxPool", "onnx.AveragePool"})
_SAME_LAYOUT = frozenset(
    f"onnx.{name}"
    for name in (
        "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "BatchNormalization",
        "GlobalAveragePool", "GlobalMaxPool",
    )
)  # fmt: skip
_SUMS = frozenset({"onnx.Add", "onnx.Sum", "onnx.Mul"})


def read_block(options: Any) -> Callable[[int | None], int]:
    """Return how many channels a block has by the bytes of a device's vector registers, as a rule's options say.

    Raises:
        PatternError: they do not say.
    """
    usual, others = option(options, "blocked_layout", "block"), options.get("of_vectors", {})
    by_vector = {str(size): block for size, block in others.items()} if isinstance(others, Mapping) else {"": others}
    if not all(type(block) is int and block > 0 for block in (usual, *by_vector.values())):
        raise PatternError("blocked_layout has whole numbers: block, and of_vectors (bytes of a vector: channels)")
    return lambda vector_bytes: by_vector.get(str(vector_bytes), usual)


def blocked_values(graph: Graph, block: int) -> frozenset[Value]:
    """Return the values held in blocks of ``block`` channels."""
    blocked: set[Value] = set()
    for op in graph.body:
        if op.results and _stays_blocked(op, blocked, block):
            blocked.add(op.results[0])
    return frozenset(blocked)


def reordered_bytes(graph: Graph, blocked: frozenset[Value], block: int, same_kernel: SameKernel) -> dict[Op, int]:
    """Return the bytes that operations must reorder between the plain and the blocked layout, in and out.

    A blocked value that something reads plainly is reordered once, by the operation that makes it; a plain one that
    something reads in blocks by the first that does. ``same_kernel`` says of two operations that nothing is stored
    between them.
    """
    found: dict[Op, int] = {}
    for op in graph.ops:
        for value in op.results:
            users = [user for user, _ in graph.uses(value) if not same_kernel(op, user)]
            if value.is_constant or not users:
                continue
            in_blocks = [user for user in users if _reads_blocks(user, blocked, block)]
            if value in blocked:
                payer = op if len(in_blocks) < len(users) else None
            else:
                payer = in_blocks[0] if in_blocks else None
            if payer is not None:
                found[payer] = found.get(payer, 0) + (value.bytes or 0)
    return found


def _reads_blocks(op: Op, blocked: frozenset[Value], block: int) -> bool:
    """Whether an operation wants its activations in blocks; a convolution of few channels reads the plain layout."""
    if not op.results or op.results[0] not in blocked:
        return False
    weight = op.operand(1) if op.name == "onnx.Conv" else None
    if weight is None:
        return True
    return _channels(weight) >= block or op.attributes.get("group", 1) != 1


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
    """Two spatial dimensions, constant weights and bias, and channels that can be padded to whole blocks."""
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
        return in_per_group < block or in_per_group % _ALIGNMENT == 0
    if in_per_group == 1 and groups == out_channels:
        return out_channels % _ALIGNMENT == 0
    full: Callable[[int], bool] = lambda channels: channels % block == 0  # noqa: E731
    return full(out_channels) and full(in_per_group) and full(out_channels // groups)


def _rank(value: Value) -> int | None:
    return value.type.rank if isinstance(value.type, TensorType) else None


def _channels(value: Value) -> int:
    """Extent of dimension 1; 1, which fills no block, where it is not known."""
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    extent = shape[1] if shape is not None and len(shape) > 1 else 1
    return extent if isinstance(extent, int) else 1

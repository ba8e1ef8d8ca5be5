"""Convolutions that a runtime runs with channels last: transposes around them, and how far those move.

Each such convolution gets a transpose before and one behind it. A transpose is then moved behind its reader where that
costs less: it goes from the operands that are transposed alike, has to be put on the others, and on the results unless
they lead to another transpose that it will meet. The cost is the number of dimensions. Source of the behaviour:
onnxruntime ``core/optimizer/nhwc_transformer.cc`` and ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir import CONSTANT, INPUT, OUTPUT, Dense, DType, Graph, Kind, Op, TensorType, Type, Value, kind_of
from ..ir.ops.reading import axes_operand
from .quantized import DEQUANTIZE, QUANTIZE, drop_requantization, quantize_around_transposes
from .transposes import TRANSPOSE, Permutation, permutation

__all__ = ["run_channels_last", "settle_transposes"]

_CONVOLUTION = "onnx.QLinearConv"
_CHANNELS_LAST = "com.microsoft.QLinearConv"
_POOLS = frozenset({"com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool"})
_PAIRS = frozenset({"com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"})
_CONCAT = "com.microsoft.QLinearConcat"
_ALONG_AN_AXIS = frozenset({"onnx.Concat", "onnx.Split", _CONCAT})


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
    _settle(graph)
    drop_requantization(graph)
    return quantize_around_transposes(graph)


def _wrap(graph: Graph, op: Op) -> None:
    x, type_ = op.operand(0), op.result.type
    if x is None or not isinstance(x.type, TensorType) or not isinstance(type_, TensorType):
        return
    if not x.type.static or not type_.static or x.type.rank != type_.rank:
        return
    to_last = (0, *range(2, len(type_.dims)), 1)
    turned = _transpose(graph, x, to_last, op)
    attributes: dict[str, Any] = {**op.attributes, "channels_last": 1}
    _put_transposed(graph, op, _CHANNELS_LAST, [turned, *op.operands[1:]], _inverted(to_last), attributes)


def _settle(graph: Graph) -> None:
    """Move transposes until none can be moved at a gain."""
    leading = _leading_to_transposes(graph)
    for op in graph.body:
        while op in graph and (moved := _moved(graph, op, leading)) is not None:
            op = moved
    for op in reversed(graph.body):
        if (op.name == TRANSPOSE or op.name in DEQUANTIZE) and not graph.users(op):
            graph.erase(op)


def _leading_to_transposes(graph: Graph) -> set[str]:
    """Names of the values behind which a transpose stands, with nothing between that could not be moved across."""
    leading: set[str] = set()
    for op in reversed(graph.body):
        if op.name == TRANSPOSE:
            leading.add(op.operands[0].name if op.operands[0] else "")
        elif any(value.name in leading for value in op.results):
            leading.update(value.name for index in _movable(op) if (value := op.operand(index)) is not None)
    return leading


def _moved(graph: Graph, op: Op, leading: Collection[str]) -> Op | None:
    """Move the first transpose that pays behind ``op``; the operation in its place, ``None`` where none does."""
    if op.name == TRANSPOSE:
        _merge(graph, op)
        return None
    indices = _movable(op)
    for index in indices:
        value = op.operand(index)
        perm = permutation(value.op) if value is not None and value.op.name == TRANSPOSE else ()
        if not perm or perm == tuple(range(len(perm))):
            continue
        handler = _handled(op, perm)
        if handler is not None and (handler.always or _cost(graph, op, indices, perm, leading) < 0):
            return _push(graph, op, indices, perm, handler)
    return None


def _merge(graph: Graph, op: Op) -> None:
    """``T(T(x))`` becomes one transpose or none."""
    source = op.operand(0)
    if source is None or source.op.name != TRANSPOSE or source.op.operand(0) is None:
        return
    inner, outer = permutation(source.op), permutation(op)
    if not outer or len(inner) != len(outer):
        return
    combined = tuple(inner[axis] for axis in outer)
    if combined == tuple(range(len(combined))):
        graph.replace(op, [source.op.operands[0]])  # type: ignore[list-item]  # checked above
    else:
        name, type_ = op.result.name, op.result.type
        one = graph.add(TRANSPOSE, source.op.operands, [(name, type_)], {"perm": combined}, loc=op.loc, before=op)
        graph.replace(op, [one.result])
        graph.rename(one.result, name)
    if not graph.users(source.op):
        graph.erase(source.op)


# -- what a transpose can be moved across -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handler:
    """What becomes of an operation that a transpose moves across; ``always``: whatever that costs.

    ``axes`` are constant axes that it is given as operand 1.
    """

    operator: str
    attributes: Mapping[str, Any]
    always: bool = False
    axes: tuple[int, ...] | None = None


def _movable(op: Op) -> tuple[int, ...]:
    """Operands whose transposes can be moved behind the operation."""
    if op.regions or not op.results or op.name in (INPUT, OUTPUT, CONSTANT):
        return ()
    if op.name in _PAIRS:
        return (0, 3)
    if op.name == _CONCAT:
        return tuple(range(2, len(op.operands), 3))
    if op.name == "onnx.Concat":
        return tuple(range(len(op.operands)))
    if op.name in QUANTIZE | DEQUANTIZE | _POOLS | {"onnx.MaxPool", "onnx.Split", "onnx.Clip", TRANSPOSE}:
        return (0,)
    if _reduces(op):
        return (0,)
    if kind_of(op) is not Kind.ELEMENTWISE or len(op.results) != 1:
        return ()
    return (0,) if op.name.startswith("com.microsoft.QLinear") else tuple(range(len(op.operands)))


def _handled(op: Op, perm: Permutation) -> _Handler | None:
    last_to_first = (0, len(perm) - 1, *range(1, len(perm) - 1))
    if op.name == "onnx.MaxPool":
        eight_bits = isinstance(op.results[0].type, TensorType) and op.results[0].type.dtype.bits == 8
        fits = eight_bits and perm == last_to_first and len(op.results) == 1
        return _Handler("com.microsoft.NhwcMaxPool", op.attributes, always=True) if fits else None
    if op.name in _POOLS:
        first = not op.attributes.get("channels_last", 0)
        if perm != (last_to_first if first else _inverted(last_to_first)):
            return None
        return _Handler(op.name, {**op.attributes, "channels_last": int(first)})
    if op.name in _ALONG_AN_AXIS or (op.name in QUANTIZE | DEQUANTIZE and not _per_tensor(op)):
        axis = op.attributes.get("axis", 0 if op.name == "onnx.Split" else 1)
        if not isinstance(axis, int) or op.attributes.get("block_size"):
            return None
        return _Handler(op.name, {**op.attributes, "axis": perm[axis % len(perm)]})
    if _reduces(op):
        axes = axes_operand(op, "axes", 1)
        if not axes:
            return None
        moved = tuple(perm[axis % len(perm)] for axis in axes)
        if "axes" in op.attributes:
            return _Handler(op.name, {**op.attributes, "axes": moved})
        return _Handler(op.name, op.attributes, axes=moved)
    return _Handler(op.name, op.attributes)


def _reduces(op: Op) -> bool:
    """A reduction that keeps its dimensions."""
    return op.base_name.startswith("Reduce") and op.attributes.get("keepdims", 1) == 1


def _per_tensor(op: Op) -> bool:
    scale = op.operand(1)
    return scale is not None and isinstance(scale.type, TensorType) and scale.type.elements == 1


def _cost(graph: Graph, op: Op, indices: Collection[int], perm: Permutation, leading: Collection[str]) -> int:
    cost = sum(_operand_cost(graph, value, perm) for index in indices if (value := op.operand(index)) is not None)
    if cost < 0 and not any(value.name in leading for value in op.results):
        cost += max(_extents(value) for value in op.results)
    return cost


def _operand_cost(graph: Graph, value: Value, perm: Permutation) -> int:
    if value.is_constant or _dequantized_constant(value) or not _extents(value):
        return 0
    if value.op.name != TRANSPOSE:
        return _extents(value)
    return -_extents(value) if permutation(value.op) == perm and _goes(graph, value) else 0


def _goes(graph: Graph, value: Value) -> bool:
    """Whether every reader could take the transpose behind it."""
    return all(index in _movable(user) for user, index in graph.uses(value))


def _extents(value: Value) -> int:
    """Dimensions of more than one element."""
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return sum(1 for extent in shape or () if extent != 1)


# -- moving -----------------------------------------------------------------------------------------------------------


def _push(graph: Graph, op: Op, indices: Collection[int], perm: Permutation, handler: _Handler) -> Op | None:
    operands = list(op.operands)
    if any(not isinstance(v.type, TensorType) or not v.type.static or v.type.rank != len(perm) for v in op.results):
        return None
    for index in indices:
        value = operands[index]
        if value is not None:
            untransposed = _untransposed(graph, value, perm, op)
            if untransposed is None:
                return None
            operands[index] = untransposed
    if handler.axes is not None:
        dense = Dense.of(DType.I64, (len(handler.axes),), handler.axes)
        wanted = (f"{op.results[0].name}.axes", dense.type)
        operands[1] = graph.add(CONSTANT, [], [wanted], {"value": dense}, loc=op.loc, before=op).result
    return _put_transposed(graph, op, handler.operator, operands, perm, handler.attributes)


def _untransposed(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value | None:
    """``value`` as it is before a transpose by ``perm``."""
    if value.op.name == TRANSPOSE and permutation(value.op) == perm:
        return value.op.operand(0)
    if not isinstance(value.type, TensorType) or not value.type.static:
        return None
    if value.type.elements == 1:
        return value
    if value.is_constant:
        return _turned_constant(graph, value, perm, before)
    if _dequantized_constant(value) and len(graph.uses(value)) == 1:
        integers = value.op.operands[0]
        assert integers is not None
        operands = [_turned_constant(graph, integers, perm, before), *value.op.operands[1:]]
        result = (f"{value.name}.turned", _turned_type(value.type, perm))
        return graph.add(value.op.name, operands, [result], value.op.attributes, loc=value.op.loc, before=before).result
    if value.type.rank != len(perm):
        return None
    return _transpose(graph, value, _inverted(perm), before)


def _dequantized_constant(value: Value) -> bool:
    source = value.op.operand(0)
    return value.op.name in DEQUANTIZE and source is not None and source.is_constant and _per_tensor(value.op)


def _turned_constant(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value:
    """What a constant is before a transpose by ``perm``: the runtime turns it when it loads the model."""
    assert isinstance(value.type, TensorType)
    result = (f"{value.name}.turned", _turned_type(value.type, perm))
    return graph.add(CONSTANT, [], [result], loc=value.op.loc, before=before).result


def _turned_type(type_: TensorType, perm: Permutation) -> TensorType:
    padded = (1,) * (len(perm) - len(type_.dims)) + type_.dims
    return TensorType(type_.dtype, tuple(padded[perm.index(axis)] for axis in range(len(perm))))


def _put_transposed(
    graph: Graph, op: Op, operator: str, operands: list[Value | None], perm: Permutation, attributes: Mapping[str, Any]
) -> Op:
    """Put ``operator`` on untransposed operands in the place of ``op``, and a transpose by ``perm`` on each result."""
    names = [value.name for value in op.results]
    back = _inverted(perm)
    plain = [(f"{value.name}.untransposed", _turned(value.type, back)) for value in op.results]
    made = graph.add(operator, operands, plain, attributes, loc=op.loc, before=op)
    graph.replace(op, [_transpose(graph, value, perm, op) for value in made.results])
    for value, name in zip(made.results, names, strict=True):
        (turned,) = graph.users(value.op) if len(names) == 1 else [user for user, _ in graph.uses(value)]
        graph.rename(turned.result, name)
    return made


def _transpose(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value:
    """``value`` transposed: by a transpose that exists already, else by a new one."""
    for user in graph.users(value.op):
        if user.name == TRANSPOSE and user.operand(0) is value and permutation(user) == perm:
            return user.result
    result = (f"{value.name}.turned", _turned(value.type, perm))
    return graph.add(TRANSPOSE, [value], [result], {"perm": perm}, loc=before.loc, before=before).result


def _turned(type_: Type, perm: Permutation) -> Type:
    assert isinstance(type_, TensorType)
    return TensorType(type_.dtype, tuple(type_.dims[axis] for axis in perm))


def _inverted(perm: Permutation) -> Permutation:
    return tuple(perm.index(axis) for axis in range(len(perm)))

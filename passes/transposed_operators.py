"""What becomes of an operation when a transpose moves from its operands behind it.

Most compute the same on untransposed operands, some along other axes, and some add or drop dimensions, so that another
permutation is left for their results. Source of the behaviour: onnxruntime ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..ir import CONSTANT, INPUT, OUTPUT, Attribute, Kind, Op, TensorType, Value, kind_of
from ..ir.ops.reading import axes_operand
from .quantized import DEQUANTIZE, QUANTIZE
from .simplify import RESHAPE

__all__ = ["TRANSPOSE", "Permutation", "Turned", "inverted", "movable", "permutation", "turned"]

TRANSPOSE = "onnx.Transpose"
Permutation = tuple[int, ...]

_POOLS = frozenset({"com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool"})
_PAIRS = frozenset({"com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"})
_CONCATENATIONS = frozenset({"onnx.Concat", "com.microsoft.QLinearConcat"})
_ALONG_AN_AXIS: Mapping[str, int] = {
    "onnx.Concat": 1,
    "com.microsoft.QLinearConcat": 1,
    "onnx.Split": 0,
    "onnx.Softmax": -1,
    "onnx.LogSoftmax": -1,
    "onnx.Hardmax": -1,
    "onnx.Gather": 0,
    "onnx.ArgMax": 0,
    "onnx.ArgMin": 0,
}
"""Operators that work along the axis that an attribute gives, and which it is where the attribute is left out."""

_PER_DIMENSION = frozenset({"onnx.Pad", "onnx.Tile"})
"""Operators whose operand 1 has one integer for each dimension, or two."""

_FIRST_OPERAND = frozenset(
    {
        "onnx.MaxPool",
        "onnx.Split",
        "onnx.Clip",
        "onnx.CastLike",
        "onnx.Squeeze",
        "onnx.Unsqueeze",
        "onnx.Slice",
        RESHAPE,
    }
)


@dataclass(frozen=True, slots=True)
class Turned:
    """The operation on untransposed operands.

    ``results`` is the permutation that makes its results those that were; ``always`` says that the move pays whatever
    is added, ``free`` that what it leaves on the results costs nothing. ``integers`` are new constants by operand.
    """

    operator: str
    attributes: Mapping[str, Attribute]
    results: Permutation
    integers: Mapping[int, Sequence[int]] = field(default_factory=dict)
    always: bool = False
    free: bool = False


def permutation(op: Op) -> Permutation:
    """A transpose's permutation, reversal where it is not written; empty where it is none of its operand's axes."""
    source, perm = op.operand(0), op.attributes.get("perm")
    rank = source.type.rank if source is not None and isinstance(source.type, TensorType) else None
    if rank is None:
        return ()
    if not isinstance(perm, tuple):
        return tuple(reversed(range(rank)))
    axes = tuple(axis for axis in perm if isinstance(axis, int))
    return axes if sorted(axes) == list(range(rank)) else ()


def inverted(perm: Permutation) -> Permutation:
    """The permutation that undoes ``perm``."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def movable(op: Op) -> tuple[int, ...]:
    """Operands whose transposes can be moved behind the operation."""
    if op.regions or not op.results or op.name in (INPUT, OUTPUT, CONSTANT):
        return ()
    if op.name in _PAIRS:
        return (0, 3)
    if op.name == "com.microsoft.QLinearConcat":
        return tuple(range(2, len(op.operands), 3))
    if op.name == "onnx.Concat":
        return tuple(range(len(op.operands)))
    if op.name in QUANTIZE | DEQUANTIZE | _POOLS | _PER_DIMENSION | _FIRST_OPERAND | _ALONG_AN_AXIS.keys():
        return (0,)
    if op.name == TRANSPOSE or _reduces(op):
        return (0,)
    if kind_of(op) is not Kind.ELEMENTWISE or len(op.results) != 1:
        return ()
    if op.name.startswith("com.microsoft.QLinear"):
        return (0,)
    return tuple(range(len(op.operands))) if op.dialect == "onnx" else ()


def turned(op: Op, perm: Permutation) -> Turned | None:
    """The operation that a transpose by ``perm`` moves behind; ``None`` where it cannot."""
    if op.name == "onnx.MaxPool" or op.name in _POOLS:
        return _turned_pool(op, perm)
    if op.name == RESHAPE:
        return _turned_reshape(op, perm)
    if op.name in _PER_DIMENSION:
        return _turned_per_dimension(op, perm)
    if op.name in _ALONG_AN_AXIS or (op.name in QUANTIZE | DEQUANTIZE and not _per_tensor(op)):
        return _turned_along_axis(op, perm)
    if op.name == "onnx.Unsqueeze":
        return _turned_unsqueeze(op, perm)
    if op.name in ("onnx.Squeeze", "onnx.Slice") or _reduces(op):
        return _turned_over_axes(op, perm)
    return Turned(op.name, op.attributes, perm)


def _reduces(op: Op) -> bool:
    return op.base_name.startswith("Reduce")


def _per_tensor(op: Op) -> bool:
    scale = op.operand(1)
    return scale is not None and isinstance(scale.type, TensorType) and scale.type.elements == 1


def _turned_pool(op: Op, perm: Permutation) -> Turned | None:
    """Pools that run with their channels first or last, and no others."""
    last_to_first = (0, len(perm) - 1, *range(1, len(perm) - 1))
    if op.name == "onnx.MaxPool":
        eight_bits = isinstance(op.results[0].type, TensorType) and op.results[0].type.dtype.bits == 8
        fits = eight_bits and perm == last_to_first and len(op.results) == 1
        return Turned("com.microsoft.NhwcMaxPool", op.attributes, perm, always=True) if fits else None
    first = not op.attributes.get("channels_last", 0)
    if perm != (last_to_first if first else inverted(last_to_first)):
        return None
    return Turned(op.name, {**op.attributes, "channels_last": int(first)}, perm)


def _turned_along_axis(op: Op, perm: Permutation) -> Turned | None:
    axis = op.attributes.get("axis", _ALONG_AN_AXIS.get(op.name, 1))
    if not isinstance(axis, int) or op.attributes.get("block_size"):
        return None
    axis %= len(perm)
    attributes = {**op.attributes, "axis": perm[axis]}
    if op.name == "onnx.Gather":
        index = op.operand(1)
        scalar = index is not None and isinstance(index.type, TensorType) and index.type.shape == ()
        return Turned(op.name, attributes, _without(perm, {axis})) if scalar else None
    if op.base_name.startswith("Arg") and op.attributes.get("keepdims", 1) == 0:
        return Turned(op.name, attributes, _without(perm, {axis}))
    return Turned(op.name, attributes, perm)


def _turned_over_axes(op: Op, perm: Permutation) -> Turned | None:
    """Reductions, squeezes and slices, whose axes are an attribute or an operand."""
    index = 3 if op.name == "onnx.Slice" else 1
    axes = axes_operand(op, "axes", index)
    if op.name == "onnx.Slice" and not axes:
        axes = tuple(range(_length(op.operand(1)))) if axes is not None else None
    if not axes:
        return None
    named = [axis % len(perm) for axis in axes]
    moved = tuple(perm[axis] for axis in named)
    drops = op.name == "onnx.Squeeze" or (_reduces(op) and op.attributes.get("keepdims", 1) == 0)
    results = _without(perm, set(named)) if drops else perm
    if "axes" in op.attributes:
        return Turned(op.name, {**op.attributes, "axes": moved}, results)
    return Turned(op.name, op.attributes, results, {index: moved})


def _length(value: Value | None) -> int:
    shape = value.type.shape if value is not None and isinstance(value.type, TensorType) else None
    return shape[0] if shape is not None and len(shape) == 1 and isinstance(shape[0], int) else 0


def _turned_unsqueeze(op: Op, perm: Permutation) -> Turned | None:
    axes = axes_operand(op, "axes", 1)
    if not axes:
        return None
    rank = len(perm) + len(axes)
    added = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in added]
    old = {place: kept[axis] for place, axis in zip(kept, perm, strict=True)}
    return Turned(op.name, op.attributes, tuple(old.get(axis, axis) for axis in range(rank)))


def _turned_per_dimension(op: Op, perm: Permutation) -> Turned | None:
    dense = value.constant if (value := op.operand(1)) is not None else None
    if dense is None or len(dense.values) % len(perm) or op.operand(3) is not None:
        return None
    numbers = [number for number in dense.values if isinstance(number, int)]
    runs = [numbers[start : start + len(perm)] for start in range(0, len(numbers), len(perm))]
    back = inverted(perm)
    return Turned(op.name, op.attributes, perm, {1: [run[axis] for run in runs for axis in back]})


def _turned_reshape(op: Op, perm: Permutation) -> Turned | None:
    """A reshape that takes every dimension apart for itself, or adds dimensions of one element."""
    source, result = op.operand(0), op.result
    if source is None or not isinstance(source.type, TensorType) or not isinstance(result.type, TensorType):
        return None
    if not source.type.known or not result.type.known:
        return None
    groups = _taken_apart(source.type.dims, result.type.dims)
    if groups is None:
        return None
    placed = [axis for origin in inverted(perm) for axis in groups[origin]]
    shape = [result.type.dims[axis] for axis in placed]
    return Turned(op.name, {}, inverted(tuple(placed)), {1: shape}, free=True)


def _taken_apart(before: Sequence[int], after: Sequence[int]) -> list[list[int]] | None:
    """For each dimension those that it becomes; ``None`` where some become one."""
    groups: list[list[int]] = []
    axis = 0
    for extent in before:
        group: list[int] = []
        elements = 1
        while axis < len(after) and (not group or elements != extent):
            group.append(axis)
            elements *= after[axis]
            axis += 1
        if not group or elements != extent:
            return None
        groups.append(group)
    if not groups:
        return None
    groups[-1].extend(range(axis, len(after)))
    return groups


def _without(perm: Permutation, dropped: Collection[int]) -> Permutation:
    """What is left of a permutation when its result loses the axes ``dropped``."""
    gone = {perm[axis] for axis in dropped}
    kept = [axis for axis in range(len(perm)) if axis not in gone]
    return tuple(kept.index(perm[axis]) for axis in range(len(perm)) if axis not in dropped)

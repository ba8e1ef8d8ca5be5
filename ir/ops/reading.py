"""Readers that the operators' entries share: attributes with ONNX's defaults, operand shapes, small constants.

An operation that does not fit its operator (an attribute of another type, a missing operand) raises ``ValueError``; the
registry turns that into :class:`~graphs.ir.primitives.Unknown` with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..attributes import Dense
from ..expression import UNKNOWN_DIM, Expression, Symbol, is_unknown
from ..graph import Op, Value
from ..inequalities import largest, smallest
from ..registry import Lowering
from ..types import Dim, DType, Shape, TensorType, Type

__all__ = [
    "FOLD_ELEMENTS",
    "UNKNOWN_DIM",
    "Array",
    "agree",
    "array_of",
    "axes_operand",
    "broadcast",
    "common_dim",
    "compute_dtype",
    "constant_dims",
    "constant_integers",
    "constant_number",
    "data_dim",
    "dim_product",
    "dims",
    "elements",
    "integer",
    "integers",
    "is_constant",
    "largest",
    "normal_axes",
    "normal_axis",
    "number",
    "numpy_dtype",
    "ranked",
    "ratio",
    "reduced_run",
    "result_dims",
    "same_type",
    "size",
    "smallest",
    "tensor",
    "text",
    "typed",
    "view",
    "with_shape",
]

Array = NDArray[Any]

FOLD_ELEMENTS = 65536
"""Elements above which an evaluation refuses: folding is for shape arithmetic, not for data."""

_FLOAT32_LIKE = frozenset({DType.F16, DType.BF16})

_NUMPY = {
    DType.F64: "float64",
    DType.F32: "float32",
    DType.F16: "float16",
    DType.I64: "int64",
    DType.I32: "int32",
    DType.I16: "int16",
    DType.I8: "int8",
    DType.UI64: "uint64",
    DType.UI32: "uint32",
    DType.UI16: "uint16",
    DType.UI8: "uint8",
    DType.BOOL: "bool",
}


# -- attributes -------------------------------------------------------------------------------------------------------


def integer(op: Op, name: str, default: int) -> int:
    """Return an integer attribute."""
    value = op.attributes.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"attribute {name!r} of {op.name} is no integer")
    return int(value)


def number(op: Op, name: str, default: float) -> float:
    """Return a float attribute."""
    value = op.attributes.get(name, default)
    if not isinstance(value, (int, float)):
        raise ValueError(f"attribute {name!r} of {op.name} is no number")
    return float(value)


def text(op: Op, name: str, default: str) -> str:
    """Return a string attribute."""
    value = op.attributes.get(name, default)
    if not isinstance(value, str):
        raise ValueError(f"attribute {name!r} of {op.name} is no string")
    return value


def integers(op: Op, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """Return an attribute that is a list of integers."""
    value = op.attributes.get(name)
    if value is None:
        return tuple(default)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise ValueError(f"attribute {name!r} of {op.name} is no list of integers")
    return tuple(item for item in value if isinstance(item, int))


# -- operand and result types -----------------------------------------------------------------------------------------


def tensor(op: Op, index: int) -> TensorType:
    """Return the type of an operand that must be a tensor."""
    value = op.operand(index)
    if value is None or not isinstance(value.type, TensorType):
        raise ValueError(f"operand {index} of {op.name} is missing or no tensor")
    return value.type


def typed(op: Op, index: int) -> TensorType | None:
    """Return the type of an operand, ``None`` if it is absent or not known to be a tensor."""
    value = op.operand(index)
    return value.type if value is not None and isinstance(value.type, TensorType) else None


def ranked(op: Op, index: int) -> tuple[DType, Shape] | None:
    """Return element type and shape of an operand, ``None`` where it is absent or its rank is not known."""
    type_ = typed(op, index)
    return None if type_ is None or type_.shape is None else (type_.dtype, type_.shape)


def dims(op: Op, index: int) -> tuple[int, ...]:
    """Return the shape of an operand, of numbers and expressions."""
    return tensor(op, index).dims


def result_dims(op: Op, index: int = 0) -> tuple[int, ...]:
    """Return the shape of a result, of numbers and expressions."""
    type_ = op.results[index].type
    if not isinstance(type_, TensorType):
        raise ValueError(f"result {index} of {op.name} is no tensor")
    return type_.dims


def elements(op: Op, index: int = 0) -> int:
    """Return the number of elements of a result."""
    return prod(result_dims(op, index))


def size(op: Op, index: int) -> int:
    """Return the number of elements of an operand."""
    return prod(dims(op, index))


def compute_dtype(op: Op) -> DType:
    """Return the type that an operation computes in: its first floating-point operand's, else its first operand's."""
    types = [value.type.dtype for value in (*op.inputs, *op.results) if isinstance(value.type, TensorType)]
    return next((dtype for dtype in types if dtype.is_float), types[0] if types else DType.UNKNOWN)


def is_constant(op: Op, *indices: int) -> bool:
    """Whether one of these operands is a weight."""
    values = (op.operand(index) for index in indices)
    return any(value is not None and value.is_constant for value in values)


# -- constants --------------------------------------------------------------------------------------------------------


def constant_dims(value: Value | None) -> tuple[Dim, ...] | None:
    """Return the elements of a constant operand that holds extents, which may be expressions."""
    dense = value.constant if value is not None else None
    if dense is None or not dense.type.dtype.is_integer:
        return None
    if any(isinstance(item, Expression) and not item.integral for item in dense.values):
        return None
    return tuple(item if isinstance(item, Expression) else int(item) for item in dense.values)


def constant_integers(value: Value | None) -> tuple[int, ...] | None:
    """Return the elements of a constant operand of integers; ``None`` if it is absent or not known."""
    extents = constant_dims(value)
    if extents is None or not all(isinstance(item, int) for item in extents):
        return None
    return tuple(item for item in extents if isinstance(item, int))


def constant_number(value: Value | None) -> float | None:
    """Return the only element of a constant operand, where it is a number."""
    dense = value.constant if value is not None else None
    if dense is None or len(dense.values) != 1 or isinstance(dense.values[0], str | Expression):
        return None
    return float(dense.values[0])


def axes_operand(op: Op, name: str, index: int, default: Sequence[int] | None = ()) -> tuple[int, ...] | None:
    """Return integers that older opsets give as attribute ``name`` and newer ones as operand ``index``.

    ``None`` where the operand is there but its value is not known.
    """
    if name in op.attributes:
        scalar = op.attributes[name]
        return (scalar,) if isinstance(scalar, int) else integers(op, name, ())
    if op.operand(index) is not None:
        return constant_integers(op.operand(index))
    return None if default is None else tuple(default)


def array_of(dense: Dense) -> Array | None:
    """Return a constant as a numpy array, ``None`` if numpy has no such element type."""
    name = _NUMPY.get(dense.type.dtype)
    if name is None:
        return None
    return np.array(dense.values, dtype=name).reshape(dense.type.dims)


def numpy_dtype(dtype: DType) -> str | None:
    """Return numpy's name of an element type, ``None`` if it has none."""
    return _NUMPY.get(dtype)


# -- shape algebra ----------------------------------------------------------------------------------------------------


def normal_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    Raises:
        ValueError: there is no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is outside a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def normal_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return axes counted from the front, sorted, each once."""
    return tuple(sorted({normal_axis(axis, rank) for axis in axes}))


def reduced_run(shape: Sequence[int], axes: Sequence[int]) -> int:
    """Return how many of the elements that a reduction over ``axes`` makes one result of lie side by side."""
    run = 1
    for axis, extent in reversed(list(enumerate(shape))):
        if axis not in axes and extent != 1:
            break
        run = run * extent
    return run


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that these broadcast to (ONNX multidirectional broadcasting).

    Raises:
        ValueError: they do not.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_broadcast_dim(column) for column in zip(*padded, strict=True))


def _broadcast_dim(column: tuple[Dim, ...]) -> Dim:
    numbers = {dim for dim in column if isinstance(dim, int) and dim != 1}
    if len(numbers) > 1:
        raise ValueError(f"extents {sorted(numbers)} do not broadcast")
    if numbers:
        return numbers.pop()
    # Extents that broadcast are equal or 1, so the result is the largest, whatever they are.
    opened = {dim: None for dim in column if isinstance(dim, Expression)}
    return largest(*opened) if opened else 1


def agree(what: str, left: Dim, other: str, right: Dim, times: int = 1) -> None:
    """Check that one extent is ``times`` another, where both are known.

    Raises:
        ValueError: it is not.
    """
    if isinstance(left, int) and isinstance(right, int) and left != right * times:
        raise ValueError(f"{what}: {left}, {other}: {right * times}")


def common_dim(extents: Sequence[Dim]) -> Dim:
    """Return the one extent that all of these must be: a number, else the simplest expression.

    Raises:
        ValueError: they are different numbers.
    """
    numbers = {dim for dim in extents if isinstance(dim, int)}
    if len(numbers) > 1:
        raise ValueError(f"extents {sorted(numbers)} differ")
    opened = [dim for dim in extents if isinstance(dim, Expression) and dim.known]
    return numbers.pop() if numbers else min(opened, key=lambda dim: dim.nodes, default=UNKNOWN_DIM)


def dim_product(extents: Sequence[Dim]) -> Dim:
    """Return the product of extents."""
    return prod(extents)


def ratio(above: Sequence[Dim], below: Sequence[Dim]) -> Dim:
    """Return prod(above) / prod(below), which leaves nothing in a valid model.

    Raises:
        ValueError: it does.
    """
    top, bottom = prod(above), prod(below)
    if isinstance(bottom, int) and bottom == 0:
        return 0 if top == 0 else UNKNOWN_DIM
    if isinstance(top, int) and isinstance(bottom, int) and top % bottom:
        raise ValueError(f"{top} elements do not divide by {bottom}")
    return top // bottom


def data_dim(op: Op, axis: int, most: Dim) -> Dim:
    """Return a dimension that depends on data: a symbol called after the operation's result, with its upper bound.

    ``most`` is the largest extent it can have, :data:`UNKNOWN_DIM` where nothing follows. What is always 0 is a number.
    """
    if isinstance(most, int) and most == 0:
        return 0
    return Symbol(f"{op.results[0].name}.{axis}", 0, None if is_unknown(most) else most)


# -- result types and lowerings that many operators share --------------------------------------------------------------


def with_shape(op: Op, shape: Shape | None, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Return one result of this shape, of operand 0's element type unless told."""
    type_ = typed(op, 0)
    if dtype is None:
        return None if type_ is None else (TensorType(type_.dtype, shape),)
    return (TensorType(dtype, shape),)


def same_type(op: Op) -> tuple[Type, ...] | None:
    """Results of operand 0's type."""
    type_ = typed(op, 0)
    return None if type_ is None else (type_,) * len(op.results)


def view(op: Op) -> Lowering:
    """An operation that moves nothing: no primitives, no bytes."""
    return Lowering((), dict.fromkeys(range(len(op.operands)), 0), dict.fromkeys(range(len(op.results)), 0))

"""Shape arithmetic folded away: operations on small constants, and on extents, become constants themselves.

Values are numbers, and expressions where dimensions are open. What follows from such constants alone but is too large
to keep, such as a causal mask, becomes a constant without values, whatever its size: so a graph has the same operations
whether its dimensions were bound before or are bound afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any

from ..ir import (
    CONSTANT,
    FLOAT_FOLD_LIMIT,
    FOLD_LIMIT,
    Attribute,
    Dense,
    DType,
    Expression,
    Graph,
    Kind,
    Op,
    OpDef,
    TensorType,
    Value,
    definition,
)
from ..ir.registry import MALFORMED
from .weights import folded_attributes, follows_from_shapes

if TYPE_CHECKING:
    from numpy import ndarray

    Array = ndarray[Any, Any]

__all__ = ["fold"]

_NUMPY_TYPES = {
    DType.I64: "int64",
    DType.I32: "int32",
    DType.I16: "int16",
    DType.I8: "int8",
    DType.UI8: "uint8",
    DType.BOOL: "bool",
    DType.F32: "float32",
    DType.F64: "float64",
}
_FROM_TYPES = frozenset({"Shape", "Size", "SHAPE"})
_DTYPES = {name: dtype for dtype, name in _NUMPY_TYPES.items()}


_EXTENTS = frozenset({DType.I64, DType.BOOL})
"""Element types of which nothing that is folded is a weight."""


def fold(graph: Graph, op: Op) -> list[Op] | None:
    """Replace an operation, whose results have types, by constants; ``None`` where it computes more than shapes.

    Returns:
        The constants that it read, which nothing may read any longer.
    """
    entry = definition(op.name)
    if entry is None or entry.evaluate is None or not op.results or op.regions:
        return None
    made = _values(entry, op)
    if made is None:
        if entry.kind is Kind.OPAQUE or not _follows(op):
            return None
        made = [{} for _ in op.results]
    read = [value.op for value in op.inputs if value.op.name == CONSTANT]
    names = [value.name for value in op.results]
    constants = [_constant(graph, op, value, kept) for value, kept in zip(op.results, made, strict=True)]
    graph.replace(op, constants)
    for constant, name in zip(constants, names, strict=True):
        graph.rename(constant, name)
    return read


def _constant(graph: Graph, op: Op, result: Value, kept: dict[str, Attribute]) -> Value:
    dense = kept.get("value")
    type = dense.type if isinstance(dense, Dense) else result.type
    return graph.add(
        CONSTANT, [], [(result.name, type)], kept or folded_attributes(op.inputs), loc=op.loc, before=op
    ).result


def _follows(op: Op) -> bool:
    """Whether an operation reads nothing but constants that follow from shapes, and its results' sizes are known."""
    return (
        bool(op.operands)
        and all(follows_from_shapes(value) for value in op.inputs)
        and all(isinstance(value.type, TensorType) and value.type.known for value in op.results)
    )


def _values(entry: OpDef, op: Op) -> list[dict[str, Attribute]] | None:
    """The attributes of a constant for each result, where the results' values are known and small."""
    try:
        arrays = _known_operands(op)
    except (ValueError, OverflowError):
        return None  # a constant that is none of its type, or of more dimensions than an array has
    results = _evaluate(entry, op, arrays) if arrays is not None else None
    if results is None:
        return None
    made: list[dict[str, Attribute]] = []
    for value, array in zip(op.results, results, strict=True):
        dense = _dense(array, value)
        if dense is None:
            return None
        made.append({"value": dense})
        if dense.type.dtype not in _EXTENTS:
            made[-1].update(folded_attributes(op.inputs))
    return made


def _known_operands(op: Op) -> list[Array | None] | None:
    """The operands' values; ``None`` if one is not known. What reads a shape needs only the type."""
    if op.base_name in _FROM_TYPES:
        return [None]
    arrays: list[Array | None] = []
    for value in op.operands:
        dense = value.constant if value is not None else None
        if value is not None and (dense is None or dense.type.dtype not in _NUMPY_TYPES):
            return None
        arrays.append(_array(dense) if dense else None)
    return arrays


def _array(dense: Dense) -> Array:
    import numpy as np

    if not dense.open:
        return np.array(dense.values, dtype=_NUMPY_TYPES[dense.type.dtype]).reshape(dense.type.dims)
    array = np.empty(len(dense.values), dtype=object)
    array[:] = dense.values
    return array.reshape(dense.type.dims)


def _evaluate(entry: OpDef, op: Op, arrays: Sequence[Array | None]) -> list[Array] | None:
    import numpy as np

    assert entry.evaluate is not None
    sizes = [value.type.elements or 0 for value in op.results if isinstance(value.type, TensorType)]
    if any(isinstance(size, Expression) or size > FOLD_LIMIT for size in sizes):
        return None
    try:
        shapes = [array.shape for array in arrays if array is not None]
        if entry.kind is Kind.ELEMENTWISE and prod(np.broadcast_shapes(*shapes)) > FOLD_LIMIT:
            return None
        with np.errstate(all="ignore"):
            outcome = entry.evaluate(op, *arrays)
    except MALFORMED:
        return None  # ill-formed or undecided arithmetic folds to nothing; type inference reports what stays open
    if outcome is None:
        return None
    results = [np.asarray(item) for item in (outcome if isinstance(outcome, tuple) else (outcome,))]
    return results if len(results) == len(op.results) else None


def _dense(array: Array, value: Value) -> Dense | None:
    """The result as a constant, if it is small and of a type that is kept."""
    if array.dtype == object:
        dtype = value.type.dtype if isinstance(value.type, TensorType) else DType.UNKNOWN
        values = [_plain(item, dtype) for item in array.reshape(-1).tolist()]
        if dtype not in _NUMPY_TYPES or any(item is None for item in values):
            return None
        dense = Dense.of(dtype, array.shape, values)
    else:
        known = _DTYPES.get(str(array.dtype))
        if known is None:
            return None
        dense = Dense.of(known, array.shape, array.reshape(-1).tolist())
    limit = FOLD_LIMIT if dense.type.dtype.is_integer else FLOAT_FOLD_LIMIT
    return dense if array.size <= limit else None


def _plain(item: Any, dtype: DType) -> bool | int | float | Expression | None:
    """An element as a constant of this type holds it; ``None`` for one that no such constant has."""
    if isinstance(item, Expression):
        fits = item.known and (item.integral or dtype.is_float) and dtype is not DType.BOOL
        return item if fits else None
    if dtype is DType.BOOL:
        return bool(item)
    if dtype.is_float:
        return float(item)
    whole = int(item) if not isinstance(item, Fraction) and int(item) == item else None
    return whole if whole is not None and -(1 << 63) <= whole < 1 << 64 else None

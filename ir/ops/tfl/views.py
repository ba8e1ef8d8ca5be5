"""Operators of TFLite whose result is their operand's memory under another shape, and what reads only shapes."""

from __future__ import annotations

import numpy as np

from ...graph import Op
from ...registry import Kind, Lowering, define
from ...types import Dim, DType, Symbol, TensorType, Type
from ..layout import copied_part, kept_indices
from ..reading import (
    UNKNOWN_DIM,
    Array,
    constant_dims,
    constant_integers,
    integer,
    integers,
    normal_axes,
    normal_axis,
    ranked,
    view,
    with_shape,
)
from ..views import reshaped

__all__: list[str] = []


def _reshape_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), constant_dims(op.operand(1))
    if wanted is None and op.operand(1) is None:
        wanted = integers(op, "new_shape", ())
    if wanted is None:
        return None
    if x is None:
        return with_shape(op, tuple(UNKNOWN_DIM if dim == -1 else dim for dim in wanted))
    return with_shape(op, reshaped(x[1], wanted, keeps_zero=False))


def _evaluate_reshape(op: Op, x: Array, shape: Array | None = None) -> Array | None:
    wanted = integers(op, "new_shape", ()) if shape is None else tuple(int(dim) for dim in shape.reshape(-1))
    return x.reshape(wanted)


@define("tfl.RESHAPE", kind=Kind.VIEW, infer=_reshape_types, evaluate=_evaluate_reshape)
def reshape(op: Op) -> Lowering:
    """A view."""
    return view(op)


def _squeeze_types(op: Op) -> tuple[Type, ...] | None:
    x, axes = ranked(op, 0), integers(op, "squeeze_dims", ())
    if x is None or (not axes and any(isinstance(dim, Symbol) for dim in x[1])):
        return None
    dropped = normal_axes(axes, len(x[1])) if axes else tuple(i for i, dim in enumerate(x[1]) if dim == 1)
    return with_shape(op, tuple(dim for i, dim in enumerate(x[1]) if i not in dropped))


def _evaluate_squeeze(op: Op, x: Array) -> Array | None:
    return np.squeeze(x, axis=integers(op, "squeeze_dims", ()) or None)


@define("tfl.SQUEEZE", kind=Kind.VIEW, infer=_squeeze_types, evaluate=_evaluate_squeeze)
def squeeze(op: Op) -> Lowering:
    """A view."""
    return view(op)


def _expand_types(op: Op) -> tuple[Type, ...] | None:
    x, axis = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or not axis:
        return None
    at = normal_axis(axis[0], len(x[1]) + 1)
    return with_shape(op, (*x[1][:at], 1, *x[1][at:]))


@define(
    "tfl.EXPAND_DIMS",
    kind=Kind.VIEW,
    infer=_expand_types,
    evaluate=lambda op, x, axis: np.expand_dims(x, int(axis.reshape(-1)[0])),
)
def expand_dims(op: Op) -> Lowering:
    """A view."""
    return view(op)


@define("tfl.BITCAST", kind=Kind.VIEW)
def bitcast(op: Op) -> Lowering:
    """The same bytes under another type: a view."""
    return view(op)


# -- shapes -----------------------------------------------------------------------------------------------------------


def _integer_type(op: Op) -> DType:
    """The type that the file states for numbers made from a shape."""
    type_ = op.results[0].type
    known = isinstance(type_, TensorType) and type_.dtype.is_integer
    return type_.dtype if known and isinstance(type_, TensorType) else DType.I32


def _shape_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else (TensorType(_integer_type(op), (len(x[1]),)),)


def _evaluate_shape(op: Op, x: Array | None = None) -> Array | None:
    type_ = ranked(op, 0)
    if type_ is None or not all(isinstance(dim, int) for dim in type_[1]):
        return None
    return np.array(type_[1], dtype="int64" if _integer_type(op) is DType.I64 else "int32")


@define("tfl.SHAPE", kind=Kind.VIEW, infer=_shape_types, evaluate=_evaluate_shape)
def shape_of(op: Op) -> Lowering:
    """A few numbers that the runtime has at hand; the tensor is not read."""
    return view(op)


@define("tfl.RANK", kind=Kind.VIEW, infer=lambda op: (TensorType(DType.I32, ()),))
def rank(op: Op) -> Lowering:
    """A number that the runtime has at hand; the tensor is not read."""
    return view(op)


# -- strided slices ---------------------------------------------------------------------------------------------------

Index = tuple[Dim, Dim, int] | int | None
"""What a strided slice does to an axis: first, last and step; a single position; ``None`` adds an axis."""


def _masked(op: Op, name: str, position: int) -> bool:
    return bool(integer(op, f"{name}_mask", 0) >> position & 1)


def _specification(op: Op, extents: tuple[Dim, ...]) -> list[Index] | None:
    """What happens to each axis, from begin, end, strides and the masks (tf.strided_slice)."""
    begin, end, strides = (constant_dims(op.operand(index)) for index in (1, 2, 3))
    given = begin or end or strides
    if given is None or strides is None:
        return None
    begin, end = begin or (UNKNOWN_DIM,) * len(given), end or (UNKNOWN_DIM,) * len(given)
    added = sum(_masked(op, "new_axis", i) for i in range(len(given)) if not _masked(op, "ellipsis", i))
    wide = sum(_masked(op, "ellipsis", i) for i in range(len(given)))
    skipped = len(extents) - (len(given) - added - wide)
    found: list[Index] = []
    axis = 0
    for i, step in enumerate(strides):
        if _masked(op, "ellipsis", i):
            found.extend((0, dim, 1) for dim in extents[axis : axis + skipped])
            axis += skipped
        elif _masked(op, "new_axis", i):
            found.append(None)
        else:
            found.append(_index(op, i, begin[i], end[i], step, extents[axis]))
            axis += 1
    return [*found, *((0, dim, 1) for dim in extents[axis:])]


def _index(op: Op, i: int, begin: Dim, end: Dim, step: Dim, extent: Dim) -> Index:
    if _masked(op, "shrink_axis", i):
        return begin if isinstance(begin, int) else 0
    if not isinstance(step, int):
        return (UNKNOWN_DIM, UNKNOWN_DIM, 1)
    forward = step > 0
    if integer(op, "offset", 0):  # where a slice ends is counted from where it begins
        end = begin + end
    first: Dim = (0 if forward else -1) if _masked(op, "begin", i) else begin
    if _masked(op, "end", i):
        return (first, extent if forward else -(2**31), step)
    return (first, end, step)


def _extent(index: tuple[Dim, Dim, int], extent: Dim) -> Dim:
    first, last, step = index
    if isinstance(first, int) and isinstance(last, int) and isinstance(extent, int):
        return len(kept_indices(extent, first, last, step))
    return extent if first == 0 and last == extent and step == 1 and extent != UNKNOWN_DIM else UNKNOWN_DIM


def _strided_slice_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    specification = _specification(op, x[1]) if x else None
    if x is None or specification is None:
        return None
    shape: list[Dim] = []
    axis = 0
    for index in specification:
        if index is None:
            shape.append(1)
            continue
        if isinstance(index, tuple):
            shape.append(_extent(index, x[1][axis]))
        axis += 1
    return with_shape(op, tuple(shape))


def _evaluate_strided_slice(op: Op, x: Array, *_: Array) -> Array | None:
    specification = _specification(op, x.shape)
    if specification is None:
        return None
    axis = 0
    for index in specification:
        if index is None:
            x = np.expand_dims(x, axis)
        elif isinstance(index, int):
            x = np.take(x, index, axis=axis)
            continue
        else:
            first, last, step = index
            if not isinstance(first, int) or not isinstance(last, int):
                return None
            x = np.take(x, kept_indices(x.shape[axis], first, last, step), axis=axis)
        axis += 1
    return x


@define("tfl.STRIDED_SLICE", kind=Kind.LAYOUT, infer=_strided_slice_types, evaluate=_evaluate_strided_slice)
def strided_slice(op: Op) -> Lowering:
    """A copy of what is kept; the rest is not read."""
    return copied_part(op)

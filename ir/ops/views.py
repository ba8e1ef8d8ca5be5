"""Operators whose result is their operand's memory under another shape: no primitives, no bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..attributes import Dense
from ..expression import Expression
from ..graph import Op
from ..primitives import Elementwise
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, TensorType, Type
from .reading import (
    UNKNOWN_DIM,
    Array,
    array_of,
    axes_operand,
    constant_dims,
    constant_number,
    dim_product,
    elements,
    integer,
    normal_axes,
    ranked,
    ratio,
    typed,
    view,
    with_shape,
)

__all__ = ["reshaped"]


# -- Reshape and its kin -----------------------------------------------------------------------------------------------


def _wanted_shape(op: Op) -> tuple[Dim, ...] | None:
    if "shape" in op.attributes:  # Reshape-1
        return axes_operand(op, "shape", 1, None)
    return constant_dims(op.operand(1))


def _reshape_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), _wanted_shape(op)
    if wanted is None:
        return None
    if x is None:
        return with_shape(op, tuple(UNKNOWN_DIM if dim in (0, -1) else dim for dim in wanted))
    return with_shape(op, reshaped(x[1], wanted, keeps_zero=not integer(op, "allowzero", 0)))


def reshaped(shape: Sequence[Dim], wanted: Sequence[Dim], keeps_zero: bool) -> tuple[Dim, ...]:
    """ONNX Reshape-25: 0 copies the operand's extent, -1 takes what is left."""
    if keeps_zero and any(dim == 0 and i >= len(shape) for i, dim in enumerate(wanted)):
        raise ValueError("0 beyond the operand's rank")
    extents = [shape[i] if dim == 0 and keeps_zero else dim for i, dim in enumerate(wanted)]
    if -1 in extents:
        free = extents.index(-1)
        # What is copied from the operand cancels, symbols included.
        copied = [i for i in range(len(extents)) if i != free and i < len(shape) and wanted[i] == 0 and keeps_zero]
        above = [dim for i, dim in enumerate(shape) if i not in copied]
        below = [dim for i, dim in enumerate(extents) if i != free and i not in copied]
        extents[free] = ratio(above, below)
    return tuple(extents)


def _evaluate_reshape(op: Op, x: Array, shape: Array | None = None) -> Array | None:
    wanted = axes_operand(op, "shape", 1, None) if shape is None else tuple(int(dim) for dim in shape)
    if wanted is None:
        return None
    extents = reshaped(x.shape, wanted, keeps_zero=not integer(op, "allowzero", 0))
    return x.reshape([dim if isinstance(dim, int) else -1 for dim in extents])


@define("onnx.Reshape", kind=Kind.VIEW, infer=_reshape_types, evaluate=_evaluate_reshape)
def reshape(op: Op) -> Lowering:
    """A view."""
    return view(op)


def _flatten_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    axis, rank = integer(op, "axis", 1), len(x[1])
    if not -rank <= axis <= rank:
        raise ValueError(f"axis {axis} is outside a tensor of rank {rank}")
    axis = axis + rank if axis < 0 else axis
    return with_shape(op, (dim_product(x[1][:axis]), dim_product(x[1][axis:])))


@define("com.microsoft.ExpandDims", kind=Kind.VIEW)
def expand_dims(op: Op) -> Lowering:
    """A view."""
    return view(op)


@define("onnx.Flatten", kind=Kind.VIEW, infer=_flatten_types)
def flatten(op: Op) -> Lowering:
    """A view."""
    return view(op)


def _squeeze_types(op: Op) -> tuple[Type, ...] | None:
    x, axes = ranked(op, 0), axes_operand(op, "axes", 1)
    if x is None or axes is None:
        return None
    given = bool(axes) or "axes" in op.attributes or op.operand(1) is not None
    if not given and any(isinstance(dim, Expression) for dim in x[1]):
        return None
    dropped = normal_axes(axes, len(x[1])) if given else tuple(i for i, dim in enumerate(x[1]) if dim == 1)
    return with_shape(op, tuple(dim for i, dim in enumerate(x[1]) if i not in dropped))


def _evaluate_squeeze(op: Op, x: Array, axes: Array | None = None) -> Array | None:
    wanted = axes_operand(op, "axes", 1) if axes is None else tuple(int(axis) for axis in axes)
    return None if wanted is None else np.squeeze(x, axis=wanted or None)


@define("onnx.Squeeze", kind=Kind.VIEW, infer=_squeeze_types, evaluate=_evaluate_squeeze)
def squeeze(op: Op) -> Lowering:
    """A view."""
    return view(op)


def _unsqueeze_types(op: Op) -> tuple[Type, ...] | None:
    x, axes = ranked(op, 0), axes_operand(op, "axes", 1, None)
    if x is None or axes is None:
        return None
    rank = len(x[1]) + len(axes)
    added, old = normal_axes(axes, rank), iter(x[1])
    if len(added) < len(axes):
        raise ValueError(f"axes {axes} name one twice")
    return with_shape(op, tuple(1 if i in added else next(old) for i in range(rank)))


def _evaluate_unsqueeze(op: Op, x: Array, axes: Array | None = None) -> Array | None:
    wanted = axes_operand(op, "axes", 1, None) if axes is None else tuple(int(axis) for axis in axes.reshape(-1))
    return None if wanted is None else np.expand_dims(x, wanted)


@define("onnx.Unsqueeze", kind=Kind.VIEW, infer=_unsqueeze_types, evaluate=_evaluate_unsqueeze)
def unsqueeze(op: Op) -> Lowering:
    """A view."""
    return view(op)


# -- what passes its operand on ----------------------------------------------------------------------------------------


@define("onnx.Identity", kind=Kind.VIEW, any_type=True, infer=lambda op: _passed(op), evaluate=lambda op, x: x)
def identity(op: Op) -> Lowering:
    """A view, of a tensor, a sequence or an optional."""
    return view(op)


def _passed(op: Op) -> tuple[Type, ...] | None:
    value = op.operand(0)
    return None if value is None else (value.type,)


def _dropout_types(op: Op) -> tuple[Type, ...] | None:
    x = typed(op, 0)
    return None if x is None else (x, *(TensorType(DType.BOOL, x.shape) for _ in op.results[1:]))


@define("onnx.Dropout", kind=Kind.VIEW, infer=_dropout_types)
def dropout(op: Op) -> Lowering:
    """A view at inference, where the mask is all true and taken to be unused.

    In training a random number, a comparison and a product for each element.
    """
    if constant_number(op.operand(2)):
        return Lowering((Elementwise("dropout", elements(op), DType.F32, 3),))
    return view(op)


@define("onnx.Constant", kind=Kind.VIEW, infer=lambda op: _constant_types(op), evaluate=lambda op: _constant_array(op))
def constant(op: Op) -> Lowering:
    """Nothing: a constant is there before the network runs."""
    return view(op)


def _constant_types(op: Op) -> tuple[Type, ...] | None:
    for name, value in op.attributes.items():
        if isinstance(value, Dense):
            return (value.type,)
        dtype = {"value_int": DType.I64, "value_ints": DType.I64, "value_float": DType.F32, "value_floats": DType.F32}
        if name in dtype:
            return (TensorType(dtype[name], (len(value),) if isinstance(value, tuple) else ()),)
        if name.startswith("value_string"):
            return (TensorType(DType.STRING, (len(value),) if isinstance(value, tuple) else ()),)
    return None


def _constant_array(op: Op) -> Array | None:
    for name, value in op.attributes.items():
        if isinstance(value, Dense):
            return array_of(value)
        if name.startswith(("value_int", "value_float")):
            return np.array(value, dtype="int64" if name.startswith("value_int") else "float32")
    return None


# -- Shape and Size: from types, not from elements ---------------------------------------------------------------------


def _shape_bounds(op: Op, rank: int) -> tuple[int, int]:
    def bound(axis: int) -> int:
        return max(0, min(rank, axis + rank if axis < 0 else axis))

    return bound(integer(op, "start", 0)), bound(integer(op, "end", rank))


def _shape_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    first, last = _shape_bounds(op, len(x[1]))
    return (TensorType(DType.I64, (max(0, last - first),)),)


def _evaluate_shape(op: Op, x: Array | None = None) -> Array | None:
    type_ = ranked(op, 0)
    if type_ is None:
        return None
    first, last = _shape_bounds(op, len(type_[1]))
    extents = type_[1][first:last]
    array = np.empty(len(extents), dtype="int64" if all(isinstance(dim, int) for dim in extents) else object)
    array[:] = extents
    return array


@define("onnx.Shape", kind=Kind.VIEW, infer=_shape_types, evaluate=_evaluate_shape)
def shape_of(op: Op) -> Lowering:
    """A few numbers that the runtime has at hand; the tensor is not read."""
    return view(op)


def _evaluate_size(op: Op, x: Array | None = None) -> Array | None:
    type_ = typed(op, 0)
    count = None if type_ is None else type_.elements
    return None if count is None else np.array(count, dtype="int64" if isinstance(count, int) else object)


@define("onnx.Size", kind=Kind.VIEW, infer=lambda op: (TensorType(DType.I64, ()),), evaluate=_evaluate_size)
def size_of(op: Op) -> Lowering:
    """One number that the runtime has at hand; the tensor is not read."""
    return view(op)

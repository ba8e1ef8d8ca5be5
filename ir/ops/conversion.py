"""Operators between element types: one conversion for each element, nothing where the type stays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import Op, Value
from ..onnx_types import dtype_of
from ..primitives import Elementwise, Primitive
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .extents import converted, has_expressions
from .reading import Array, elements, numpy_dtype, ranked, tensor, typed, view

__all__ = ["operands_read"]


def operands_read(op: Op) -> list[Value]:
    """Return the operands whose elements are read: of ``CastLike`` the first alone, since the second gives the type."""
    operands = list(op.inputs)
    return operands[:1] if op.name == "onnx.CastLike" else operands


def _convert(op: Op) -> Lowering | Iterable[Primitive]:
    target = op.results[0].type
    if isinstance(target, TensorType) and target.dtype is tensor(op, 0).dtype:
        return view(op)
    return (Elementwise("cast", elements(op), tensor(op, 0).dtype),)


def _evaluate_cast(op: Op, x: Array, like: Array | None = None) -> Array | None:
    target = op.results[0].type
    name = numpy_dtype(target.dtype) if isinstance(target, TensorType) else None
    if not isinstance(target, TensorType) or name is None or x.dtype.kind in "US":
        return None
    if has_expressions(x):
        return converted(x, target.dtype)
    with np.errstate(all="ignore"):
        return x.astype(name)


def _cast_types(op: Op) -> tuple[Type, ...] | None:
    """``to`` is a type once the frontend has read it, a TensorProto number in a file."""
    shape, to = ranked(op, 0), op.attributes.get("to")
    dtype = to.dtype if isinstance(to, TensorType) else dtype_of(to) if isinstance(to, int) else DType.UNKNOWN
    return None if dtype is DType.UNKNOWN else (TensorType(dtype, shape[1] if shape else None),)


@define("onnx.Cast", kind=Kind.ELEMENTWISE, infer=_cast_types, evaluate=_evaluate_cast)
def cast(op: Op) -> Lowering | Iterable[Primitive]:
    """One conversion per element; nothing where the type stays."""
    return _convert(op)


def _cast_like_types(op: Op) -> tuple[Type, ...] | None:
    type_, like = typed(op, 0), typed(op, 1)
    return None if type_ is None or like is None else (TensorType(like.dtype, type_.shape),)


@define("onnx.CastLike", kind=Kind.ELEMENTWISE, infer=_cast_like_types, evaluate=_evaluate_cast)
def cast_like(op: Op) -> Lowering:
    """One conversion per element; nothing where the types are equal. The second operand's elements are not read."""
    converted = _convert(op)
    return converted if isinstance(converted, Lowering) else Lowering(tuple(converted), {1: 0})


@define("onnx.BitCast", kind=Kind.VIEW)
def bit_cast(op: Op) -> Lowering:
    """The same bytes under another type: a view."""
    return view(op)

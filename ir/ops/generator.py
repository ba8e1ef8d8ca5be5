"""Operators that make tensors from nothing: fills, ranges and random numbers."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, prod
from typing import Any

import numpy as np

from ..attributes import Dense
from ..graph import Op
from ..onnx_types import dtype_of
from ..primitives import Copy, Elementwise, Primitive
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .extents import has_expressions
from .reading import (
    FOLD_ELEMENTS,
    UNKNOWN_DIM,
    Array,
    array_of,
    constant_dims,
    constant_number,
    data_dim,
    elements,
    integers,
    largest,
    ranked,
    typed,
    with_shape,
)

__all__ = ["NORMAL_OPS", "UNIFORM_OPS"]

_HIGHEST_RANK = 64

# -- fills ------------------------------------------------------------------------------------------------------------


def _fill(op: Op) -> Lowering:
    type_ = op.results[0].type
    dtype = type_.dtype if isinstance(type_, TensorType) else DType.UNKNOWN
    return Lowering((Copy(elements(op), dtype),), {0: 0} if op.operands else {})


def _fill_value(op: Op) -> Dense:
    value = op.attributes.get("value")
    return value if isinstance(value, Dense) else Dense.of(DType.F32, (1,), (0.0,))


def _constant_of_shape_types(op: Op) -> tuple[Type, ...] | None:
    shape, dtype = constant_dims(op.operand(0)), _fill_value(op).type.dtype
    if shape is None:
        counted = ranked(op, 0)
        rank = counted[1][0] if counted and len(counted[1]) == 1 else UNKNOWN_DIM
        known = isinstance(rank, int) and rank <= _HIGHEST_RANK
        shape = tuple(data_dim(op, axis, UNKNOWN_DIM) for axis in range(int(rank))) if known else None
    return (TensorType(dtype, shape),)


def _evaluate_constant_of_shape(op: Op, shape: Array) -> Array | None:
    extents, value = [int(dim) for dim in shape.reshape(-1)], array_of(_fill_value(op))
    if value is None or prod(extents) > FOLD_ELEMENTS or min(extents, default=0) < 0:
        return None
    return np.full(extents, value.reshape(-1)[0], dtype=value.dtype)


@define("onnx.ConstantOfShape", kind=Kind.LAYOUT, infer=_constant_of_shape_types, evaluate=_evaluate_constant_of_shape)
def constant_of_shape(op: Op) -> Lowering:
    """A fill."""
    return _fill(op)


def _range_types(op: Op) -> tuple[Type, ...] | None:
    start, limit, delta = (_constant_bound(op, index) for index in range(3))
    if start is None or limit is None or not delta:
        return with_shape(op, (data_dim(op, 0, UNKNOWN_DIM),))
    return with_shape(op, (largest(0, ceil((limit - start) / delta)),))


def _constant_bound(op: Op, index: int) -> Any:
    """A number, or an expression, that an operand is known to be."""
    value = op.operand(index)
    dense = value.constant if value is not None else None
    opened = dense.values[0] if dense is not None and dense.open and len(dense.values) == 1 else None
    return constant_number(value) if opened is None else opened


def _evaluate_range(op: Op, start: Array, limit: Array, delta: Array) -> Array | None:
    if has_expressions(start, limit, delta):
        return None
    first, last, step = (item.reshape(-1)[0].item() for item in (start, limit, delta))
    if step == 0 or abs((last - first) / step) > FOLD_ELEMENTS:
        return None
    return np.arange(first, last, step, dtype=start.dtype)


@define("onnx.Range", "com.microsoft.Range", kind=Kind.LAYOUT, infer=_range_types, evaluate=_evaluate_range)
def range_(op: Op) -> Lowering:
    """A fill."""
    return _fill(op)


@define("onnx.EyeLike", kind=Kind.LAYOUT)
def eye_like(op: Op) -> Lowering:
    """A fill; the operand gives only its shape."""
    return _fill(op)


# -- random numbers ----------------------------------------------------------------------------------------------------

# A counter-based generator (Philox) takes about ten integer operations for each number; a normal one adds a logarithm,
# a root, a cosine and two products (Box-Muller).
UNIFORM_OPS = 10
NORMAL_OPS = 15


def _dtype(op: Op) -> DType:
    type_ = op.results[0].type
    return type_.dtype if isinstance(type_, TensorType) else DType.F32


def _random_types(op: Op) -> tuple[Type, ...] | None:
    like, chosen = typed(op, 0), op.attributes.get("dtype")
    if isinstance(chosen, TensorType):
        dtype = chosen.dtype
    else:
        dtype = dtype_of(chosen) if isinstance(chosen, int) else like.dtype if like else DType.F32
    return (TensorType(dtype, like.shape if like else integers(op, "shape", ())),)


@define("onnx.RandomUniform", "onnx.RandomUniformLike", kind=Kind.ELEMENTWISE, infer=_random_types)
def uniform(op: Op) -> Lowering:
    """A random number for each element; an operand gives only its shape."""
    return Lowering(
        (Elementwise("random_uniform", elements(op), _dtype(op), UNIFORM_OPS),), {0: 0} if op.operands else {}
    )


@define("onnx.RandomNormal", "onnx.RandomNormalLike", kind=Kind.ELEMENTWISE, infer=_random_types)
def normal(op: Op) -> Lowering:
    """A normal random number for each element; an operand gives only its shape."""
    return Lowering(
        (Elementwise("random_normal", elements(op), _dtype(op), NORMAL_OPS),), {0: 0} if op.operands else {}
    )


@define("onnx.Bernoulli", kind=Kind.ELEMENTWISE, infer=_random_types)
def bernoulli(op: Op) -> Iterable[Primitive]:
    """A random number and a comparison for each element."""
    return (Elementwise("bernoulli", elements(op), _dtype(op), UNIFORM_OPS + 1),)

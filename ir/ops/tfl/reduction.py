"""Operators of TFLite that reduce axes, search or sort, and normalise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from ...graph import Op
from ...primitives import Elementwise, Normalization, Primitive, Reduction, Scan, Softmax
from ...registry import Kind, OpDef, add, define
from ...types import DType, TensorType, Type
from ..contraction import REQUANTIZE_OPS
from ..reading import (
    UNKNOWN_DIM,
    Array,
    constant_integers,
    constant_number,
    dims,
    elements,
    integer,
    largest,
    normal_axes,
    normal_axis,
    ranked,
    reduced_run,
    same_type,
    size,
    tensor,
    with_shape,
)
from .stages import activation, is_quantized, result_type

__all__: list[str] = []


# -- reductions -------------------------------------------------------------------------------------------------------


def _reduced_types(op: Op) -> tuple[Type, ...] | None:
    x, axes = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or axes is None:
        return None
    reduced = normal_axes(axes, len(x[1]))
    if integer(op, "keep_dims", 0):
        return with_shape(op, tuple(1 if i in reduced else dim for i, dim in enumerate(x[1])))
    return with_shape(op, tuple(dim for i, dim in enumerate(x[1]) if i not in reduced))


def _requantized(op: Op) -> tuple[Primitive, ...]:
    quantized = is_quantized(result_type(op).dtype)
    return (Elementwise("requantize", elements(op), DType.I32, REQUANTIZE_OPS),) if quantized else ()


def _reduce(function: str, per_result: int, scaled: bool) -> Callable[[Op], Iterable[Primitive]]:
    def lower(op: Op) -> Iterable[Primitive]:
        dtype, results, shape = tensor(op, 0).dtype, elements(op), dims(op, 0)
        axes = constant_integers(op.operand(1))
        run = None if axes is None else reduced_run(shape, normal_axes(axes, len(shape)))
        main = Reduction(function, size(op, 0), results, dtype, run=run)
        ending = (Elementwise(function, results, dtype, per_result),) if per_result else ()
        return (main, *ending, *(_requantized(op) if scaled else ()))

    return lower


def _reducer(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if function is None:
        return None

    def evaluate(op: Op, x: Array, axes: Array) -> Array | None:
        if x.dtype == object or not x.size:
            return None
        chosen = normal_axes([int(axis) for axis in axes.reshape(-1)], x.ndim)
        return np.asarray(function(x, axis=chosen, keepdims=bool(integer(op, "keep_dims", 0)))).astype(x.dtype)

    return evaluate


# Name, operations for each result beside one for each element, whether the result has a scale of its own, numpy's
# function where small integers are computed.
_REDUCTIONS: tuple[tuple[str, int, bool, Callable[..., Any] | None], ...] = (
    ("MEAN", 1, True, None),
    ("SUM", 0, True, np.sum),
    ("REDUCE_PROD", 0, True, np.prod),
    ("REDUCE_MAX", 0, False, np.max),
    ("REDUCE_MIN", 0, False, np.min),
    ("REDUCE_ANY", 0, False, np.any),
    ("REDUCE_ALL", 0, False, np.all),
)
for _name, _per_result, _scaled, _numpy in _REDUCTIONS:
    _function = _name.removeprefix("REDUCE_").lower()
    _doc = f"One operation for each element, {_per_result} for each result; a quantised result may be requantised."
    add(
        OpDef(
            f"tfl.{_name}",
            Kind.REDUCTION,
            _reduce(_function, _per_result, _scaled),
            _reduced_types,
            _reducer(_numpy),
            _doc,
        )
    )


def _arg_types(op: Op) -> tuple[Type, ...] | None:
    x, axis = ranked(op, 0), constant_number(op.operand(1))
    if x is None or axis is None:
        return None
    dropped = normal_axis(int(axis), len(x[1]))
    return with_shape(op, tuple(dim for i, dim in enumerate(x[1]) if i != dropped), DType.I64)


@define("tfl.ARG_MAX", "tfl.ARG_MIN", kind=Kind.REDUCTION, infer=_arg_types)
def arg_extremum(op: Op) -> Iterable[Primitive]:
    """One comparison for each element."""
    return (Reduction(op.base_name.lower().replace("_", ""), size(op, 0), elements(op), tensor(op, 0).dtype),)


def _segment_types(op: Op) -> tuple[Type, ...] | None:
    """The segments take the place of the axes that the segment numbers have."""
    x, numbers = ranked(op, 0), ranked(op, 1)
    if x is None or numbers is None:
        return None
    count = constant_number(op.operand(2))
    return with_shape(op, (UNKNOWN_DIM if count is None else int(count), *x[1][len(numbers[1]) :]))


@define(
    "tfl.SEGMENT_SUM",
    "tfl.UNSORTED_SEGMENT_MAX",
    "tfl.UNSORTED_SEGMENT_MIN",
    "tfl.UNSORTED_SEGMENT_PROD",
    "tfl.UNSORTED_SEGMENT_SUM",
    kind=Kind.REDUCTION,
    infer=_segment_types,
)
def segment_reduction(op: Op) -> Iterable[Primitive]:
    """One operation for each element, into the result of its segment."""
    return (Reduction(op.base_name.rpartition("_")[2].lower(), size(op, 0), elements(op), tensor(op, 0).dtype),)


# -- in order ---------------------------------------------------------------------------------------------------------


@define("tfl.CUMSUM", kind=Kind.SCAN, infer=same_type)
def cumsum(op: Op) -> Iterable[Primitive]:
    """One addition for each element, each after the one before."""
    return (Scan("cumsum", elements(op), tensor(op, 0).dtype),)


def _top_k_types(op: Op) -> tuple[Type, ...] | None:
    x, count = ranked(op, 0), constant_number(op.operand(1))
    if x is None:
        return None
    shape = (*x[1][:-1], UNKNOWN_DIM if count is None else int(count))
    return (TensorType(x[0], shape), TensorType(DType.I32, shape))[: len(op.results)]


@define("tfl.TOPK_V2", kind=Kind.SCAN, infer=_top_k_types)
def top_k(op: Op) -> Iterable[Primitive]:
    """A heap of k: log2(k) + 1 comparisons for each element, at most."""
    shape = dims(op, 0)
    kept = elements(op) * shape[-1] // largest(1, prod(shape))
    return (Scan("topk", prod(shape), tensor(op, 0).dtype, largest(1, kept).bit_length()),)


# -- normalisation ----------------------------------------------------------------------------------------------------


@define("tfl.SOFTMAX", "tfl.LOG_SOFTMAX", kind=Kind.NORMALIZATION, infer=same_type)
def softmax(op: Op) -> Iterable[Primitive]:
    """A softmax of each row of the last axis, requantised where it is quantised."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    columns = shape[-1] if shape else 1
    return (Softmax(prod(shape) // largest(1, columns), columns, dtype), *_requantized(op))


@define("tfl.L2_NORMALIZATION", kind=Kind.NORMALIZATION, infer=same_type)
def l2_normalization(op: Op) -> Iterable[Primitive]:
    """Square, sum, divide along the last axis."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    columns = shape[-1] if shape else 1
    rows = prod(shape) // largest(1, columns)
    return (Normalization(rows, columns, dtype, 3), *_requantized(op), *activation(op))

"""Operators that reduce axes: Reduce*, ArgMax and ArgMin, cumulative sums, losses, determinants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from ..graph import Op
from ..primitives import Elementwise, Primitive, Reduction, Scan, Softmax
from ..registry import Kind, OpDef, add, define
from ..types import Dim, DType, TensorType, Type
from .extents import has_expressions
from .reading import (
    Array,
    axes_operand,
    constant_dims,
    data_dim,
    dims,
    elements,
    integer,
    integers,
    largest,
    normal_axes,
    normal_axis,
    ranked,
    reduced_run,
    same_type,
    size,
    smallest,
    tensor,
    text,
    typed,
    with_shape,
)

__all__ = ["reduced_types"]


# -- Reduce* ----------------------------------------------------------------------------------------------------------


def _axes(op: Op, rank: int) -> tuple[int, ...] | None:
    """Reduced axes: an attribute before opset 13 (ReduceSum) or 18 (the rest), then an operand; all if none given."""
    axes = integers(op, "axes", ()) if op.dialect == "com.microsoft" else axes_operand(op, "axes", 1)
    if axes is None:
        return None
    if not axes:
        return () if integer(op, "noop_with_empty_axes", 0) else tuple(range(rank))
    return normal_axes(axes, rank)


def reduced_types(op: Op) -> tuple[Type, ...] | None:
    """Result type of Reduce* and its kin."""
    x = ranked(op, 0)
    axes = _axes(op, len(x[1])) if x else None
    if x is None or axes is None:
        return None
    if integer(op, "keepdims", 1):
        return with_shape(op, tuple(1 if i in axes else dim for i, dim in enumerate(x[1])))
    return with_shape(op, tuple(dim for i, dim in enumerate(x[1]) if i not in axes))


def _reduce(function: str, per_element: int, per_result: int) -> Callable[[Op], Iterable[Primitive]]:
    def lower(op: Op) -> Iterable[Primitive]:
        dtype, results, shape = tensor(op, 0).dtype, elements(op), dims(op, 0)
        axes = _axes(op, len(shape))
        run = None if axes is None else reduced_run(shape, axes)
        main = Reduction(function, size(op, 0), results, dtype, per_element, run)
        return (main, Elementwise(function, results, dtype, per_result)) if per_result else (main,)

    return lower


_EXTREMES: dict[str, Callable[..., Any]] = {"ReduceMax": largest, "ReduceMin": smallest}


def _reduce_evaluator(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(op: Op, x: Array, axes: Array | None = None) -> Array | None:
        chosen = _axes(op, x.ndim)
        if not x.size or (axes is not None and "axes" not in op.attributes and chosen is None):
            return None
        if has_expressions(x) and op.base_name in _EXTREMES:
            extreme = np.frompyfunc(_EXTREMES[op.base_name], 2, 1).reduce
            axis = chosen if chosen is None or len(chosen) != 1 else chosen[0]
            return np.asarray(extreme(x, axis=axis, keepdims=bool(integer(op, "keepdims", 1))), dtype=object)
        reduced = function(x, axis=chosen, keepdims=bool(integer(op, "keepdims", 1)))
        return np.asarray(reduced).astype(x.dtype)

    return evaluate


# Name, operations per element and per result, numpy's function. A norm squares (or takes the size) and sums, and takes
# its root last; LogSumExp also finds and subtracts the maximum.
_REDUCTIONS: tuple[tuple[str, int, int, Callable[..., Any] | None], ...] = (
    ("L1", 2, 0, None),
    ("L2", 2, 1, None),
    ("LogSum", 1, 1, None),
    ("LogSumExp", 4, 1, None),
    ("Max", 1, 0, np.max),
    ("Mean", 1, 1, None),
    ("Min", 1, 0, np.min),
    ("Prod", 1, 0, np.prod),
    ("Sum", 1, 0, np.sum),
    ("SumSquare", 2, 0, None),
)

for _name, _per_element, _per_result, _numpy in _REDUCTIONS:
    add(
        OpDef(
            f"onnx.Reduce{_name}",
            Kind.REDUCTION,
            _reduce(_name.lower(), _per_element, _per_result),
            reduced_types,
            _reduce_evaluator(_numpy) if _numpy else None,
            f"{_per_element} operation(s) for each element, {_per_result} for each result.",
        )
    )


def _arg_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    kept = (1,) if integer(op, "keepdims", 1) else ()
    return with_shape(op, (*x[1][:axis], *kept, *x[1][axis + 1 :]), DType.I64)


@define("onnx.ArgMax", "onnx.ArgMin", kind=Kind.REDUCTION, infer=_arg_types)
def arg_extremum(op: Op) -> Iterable[Primitive]:
    """One comparison for each element."""
    return (Reduction(op.base_name.lower(), size(op, 0), elements(op), tensor(op, 0).dtype),)


# -- running sums -----------------------------------------------------------------------------------------------------


def _evaluate_running(op: Op, x: Array, axis: Array) -> Array | None:
    if x.dtype == object or integer(op, "exclusive", 0) or integer(op, "reverse", 0):
        return None
    function = np.cumsum if op.base_name == "CumSum" else np.cumprod
    return np.asarray(function(x, axis=int(axis.reshape(-1)[0]), dtype=x.dtype))


@define("onnx.CumSum", "onnx.CumProd", kind=Kind.SCAN, infer=same_type, evaluate=_evaluate_running)
def running(op: Op) -> Iterable[Primitive]:
    """One operation for each element, each after the one before."""
    return (Scan(op.base_name.lower(), elements(op), tensor(op, 0).dtype),)


# -- losses -----------------------------------------------------------------------------------------------------------


def _loss_types(op: Op) -> tuple[Type, ...] | None:
    scores, labels = typed(op, 0), typed(op, 1)
    if scores is None or labels is None:
        return None
    shape: tuple[Dim, ...] | None = () if text(op, "reduction", "mean") != "none" else labels.shape
    return (TensorType(scores.dtype, shape), scores)[: len(op.results)]


def _loss(op: Op) -> tuple[Primitive, ...]:
    """One score for each label, weighted; then, unless kept apart, summed and divided."""
    labels, dtype = size(op, 1), tensor(op, 0).dtype
    picked = Elementwise("nll", labels, dtype, 1 + (op.operand(2) is not None))
    if text(op, "reduction", "mean") == "none":
        return (picked,)
    return (picked, Reduction("mean", labels, 1, dtype))


@define("onnx.NegativeLogLikelihoodLoss", kind=Kind.REDUCTION, infer=_loss_types)
def negative_log_likelihood(op: Op) -> Iterable[Primitive]:
    """A weighted mean of one score for each label."""
    return _loss(op)


@define("onnx.SoftmaxCrossEntropyLoss", kind=Kind.REDUCTION, infer=_loss_types)
def softmax_cross_entropy(op: Op) -> Iterable[Primitive]:
    """Softmax over the classes, logarithm, and a weighted mean of one score for each label."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    rows = prod(shape) // largest(1, shape[1])
    return (Softmax(rows, shape[1], dtype), Elementwise("log", prod(shape), dtype), *_loss(op))


@define(
    "onnx.Det",
    kind=Kind.REDUCTION,
    infer=lambda op: None if (x := ranked(op, 0)) is None else with_shape(op, x[1][:-2]),
)
def determinant(op: Op) -> Iterable[Primitive]:
    """An LU factorisation of each n×n matrix: about 2·n³/3 operations."""
    shape = dims(op, 0)
    return (Reduction("det", prod(shape), elements(op), tensor(op, 0).dtype, largest(1, 2 * shape[-1] // 3)),)


@define("com.microsoft.Inverse", kind=Kind.REDUCTION, infer=same_type)
def inverse(op: Op) -> Iterable[Primitive]:
    """The inverse of each n×n matrix: about 2·n³ operations."""
    shape = dims(op, 0)
    return (Reduction("inverse", prod(shape), prod(shape), tensor(op, 0).dtype, 2 * shape[-1]),)


@define("com.microsoft.IsAllFinite", kind=Kind.REDUCTION, infer=lambda op: with_shape(op, (), DType.BOOL))
def is_all_finite(op: Op) -> Iterable[Primitive]:
    """One comparison for each element of every operand."""
    total = sum(size(op, index) for index in range(len(op.operands)))
    return (Reduction("isfinite", total, 1, tensor(op, 0).dtype),)


@define("com.microsoft.ReduceSumInteger", kind=Kind.REDUCTION)
def reduce_sum_integer(op: Op) -> Iterable[Primitive]:
    """One addition for each element."""
    return (Reduction("sum", size(op, 0), elements(op), tensor(op, 0).dtype),)


@define("com.microsoft.CDist", kind=Kind.REDUCTION)
def distances(op: Op) -> Iterable[Primitive]:
    """Difference, square and sum along each pair of rows, and a root for each pair."""
    pairs, dtype = elements(op), tensor(op, 0).dtype
    return (Reduction("cdist", pairs * dims(op, 0)[-1], pairs, dtype, 3), Elementwise("sqrt", pairs, dtype))


@define("onnx.Multinomial", kind=Kind.REDUCTION)
def multinomial(op: Op) -> Iterable[Primitive]:
    """Exponentiate and sum the scores of each row, then search the running sum once for each sample."""
    rows, classes = dims(op, 0)
    dtype = tensor(op, 0).dtype
    samples = Elementwise("search", elements(op), dtype, largest(1, classes.bit_length()))
    return (Reduction("sum", rows * classes, rows, dtype, 2), samples)


def _top_k_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    given = op.attributes.get("k")
    count: tuple[Dim, ...] | None = (given,) if isinstance(given, int) else constant_dims(op.operand(1))
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", -1), len(x[1]))
    kept = count[0] if count else data_dim(op, axis, x[1][axis])
    shape = (*x[1][:axis], kept, *x[1][axis + 1 :])
    return (TensorType(x[0], shape), TensorType(DType.I64, shape))[: len(op.results)]


@define("onnx.TopK", kind=Kind.SCAN, infer=_top_k_types)
def top_k(op: Op) -> Iterable[Primitive]:
    """A heap of k: log2(k) + 1 comparisons for each element, at most."""
    shape = dims(op, 0)
    count = largest(
        1, elements(op) * shape[normal_axis(integer(op, "axis", -1), len(shape))] // largest(1, prod(shape))
    )
    return (Scan("topk", prod(shape), tensor(op, 0).dtype, count.bit_length()),)

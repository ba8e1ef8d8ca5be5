"""Operators that bring groups of elements to their own statistics: batch, layer, RMS and softmax normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gather, Normalization, Primitive, Reduction, Softmax
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .reading import (
    dims,
    elements,
    integer,
    integers,
    largest,
    normal_axes,
    normal_axis,
    ranked,
    same_type,
    size,
    smallest,
    tensor,
    typed,
)

__all__ = ["LAYER_OPS", "RMS_OPS", "softmax_along"]

LAYER_OPS = 7
"""Mean; difference, square, sum; scale by the deviation; gain; bias."""

RMS_OPS = 4
"""Square, sum, scale, gain."""


# -- by known or own statistics ---------------------------------------------------------------------------------------


def _batch_norm_types(op: Op) -> tuple[Type, ...] | None:
    x, statistics = typed(op, 0), typed(op, 1)
    if x is None or statistics is None:
        return None
    return (x, *(statistics for _ in op.results[1:]))


@define("onnx.BatchNormalization", kind=Kind.NORMALIZATION, infer=_batch_norm_types)
def batch_normalization(op: Op) -> Iterable[Primitive]:
    """A product and a sum for each element; in training the statistics too."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    channels = shape[1] if len(shape) > 1 else 1
    per_element = LAYER_OPS if integer(op, "training_mode", 0) else 2
    return (Normalization(channels, prod(shape) // largest(1, channels), dtype, per_element),)


def _trailing(op: Op, axis: int, index: int = 0) -> tuple[int, int]:
    shape = dims(op, index)
    first = normal_axis(axis, len(shape))
    return prod(shape[:first]), prod(shape[first:])


def _layer_norm_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", -1), len(x[1]))
    kept = (*x[1][:axis], *(1 for _ in x[1][axis:]))
    stash = DType.BF16 if integer(op, "stash_type", 1) == 16 else DType.F32
    return (TensorType(*x), TensorType(stash, kept), TensorType(stash, kept))[: len(op.results)]


@define("onnx.LayerNormalization", kind=Kind.NORMALIZATION, infer=_layer_norm_types)
def layer_normalization(op: Op) -> Iterable[Primitive]:
    """One group for each position before ``axis``."""
    groups, extent = _trailing(op, integer(op, "axis", -1))
    return (Normalization(groups, extent, tensor(op, 0).dtype, LAYER_OPS - (op.operand(2) is None)),)


@define(
    "onnx.RMSNormalization",
    "onnx.SimplifiedLayerNormalization",
    "com.microsoft.SimplifiedLayerNormalization",
    kind=Kind.NORMALIZATION,
    infer=_layer_norm_types,
)
def rms_normalization(op: Op) -> Iterable[Primitive]:
    """One group for each position before ``axis``, without a mean."""
    groups, extent = _trailing(op, integer(op, "axis", -1))
    return (Normalization(groups, extent, tensor(op, 0).dtype, RMS_OPS),)


@define("onnx.InstanceNormalization", kind=Kind.NORMALIZATION, infer=same_type)
def instance_normalization(op: Op) -> Iterable[Primitive]:
    """One group for each channel of each image."""
    shape = dims(op, 0)
    return (Normalization(prod(shape[:2]), prod(shape[2:]), tensor(op, 0).dtype),)


@define("onnx.GroupNormalization", "com.microsoft.GroupNorm", kind=Kind.NORMALIZATION, infer=same_type)
def group_normalization(op: Op) -> tuple[Primitive, ...]:
    """``num_groups`` groups for each image."""
    groups = dims(op, 0)[0] * integer(op, "num_groups", integer(op, "groups", 1))
    return (Normalization(groups, size(op, 0) // largest(1, groups), tensor(op, 0).dtype),)


@define("onnx.MeanVarianceNormalization", kind=Kind.NORMALIZATION, infer=same_type)
def mean_variance_normalization(op: Op) -> Iterable[Primitive]:
    """One group for each position outside ``axes``; neither gain nor bias."""
    shape = dims(op, 0)
    extent = prod(shape[axis] for axis in normal_axes(integers(op, "axes", (0, 2, 3)), len(shape)))
    return (Normalization(prod(shape) // largest(1, extent), extent, tensor(op, 0).dtype, LAYER_OPS - 2),)


@define("onnx.LpNormalization", kind=Kind.NORMALIZATION, infer=same_type)
def lp_normalization(op: Op) -> Iterable[Primitive]:
    """Size or square, sum, divide."""
    shape = dims(op, 0)
    extent = shape[normal_axis(integer(op, "axis", -1), len(shape))]
    return (Normalization(prod(shape) // largest(1, extent), extent, tensor(op, 0).dtype, 3),)


# -- softmax ----------------------------------------------------------------------------------------------------------


def softmax_along(op: Op, axis: int) -> tuple[Softmax, ...]:
    """A softmax of operand 0 whose rows lie along ``axis``."""
    shape = dims(op, 0)
    axis = normal_axis(axis, len(shape)) if shape else 0
    columns, behind = prod(shape[axis : axis + 1]), sum(extent != 1 for extent in shape[axis + 1 :])
    return (Softmax(prod(shape) // largest(1, columns), columns, tensor(op, 0).dtype, behind or None),)


def _softmax(op: Op) -> tuple[Softmax, ...]:
    """Before opset 13 a row held all axes from ``axis`` on: fewer, longer rows, the same work."""
    return softmax_along(op, integer(op, "axis", -1))


@define("onnx.Softmax", kind=Kind.NORMALIZATION, infer=same_type)
def softmax(op: Op) -> Iterable[Primitive]:
    """A softmax of each row."""
    return _softmax(op)


@define("onnx.LogSoftmax", kind=Kind.NORMALIZATION, infer=same_type)
def log_softmax(op: Op) -> Iterable[Primitive]:
    """Maximum, subtract, exp, sum, and the logarithm of the sum subtracted: five for each element, as softmax."""
    return _softmax(op)


@define("onnx.Hardmax", kind=Kind.NORMALIZATION, infer=same_type)
def hardmax(op: Op) -> Iterable[Primitive]:
    """The maximum of each row, then a comparison."""
    shape = dims(op, 0)
    columns = shape[normal_axis(integer(op, "axis", -1), len(shape))] if shape else 1
    dtype = tensor(op, 0).dtype
    rows = prod(shape) // largest(1, columns)
    return (Reduction("max", prod(shape), rows, dtype), Elementwise("equal", prod(shape), dtype))


@define("com.microsoft.BiasSoftmax", kind=Kind.NORMALIZATION, infer=same_type)
def bias_softmax(op: Op) -> Iterable[Primitive]:
    """Add, then a softmax over the axes from ``axis`` on."""
    rows, columns = _trailing(op, integer(op, "axis", 1))
    dtype = tensor(op, 0).dtype
    return (Elementwise("add", rows * columns, dtype), Softmax(rows, columns, dtype))


# -- com.microsoft: with the sum before them --------------------------------------------------------------------------


def _skip_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    statistics = TensorType(DType.F32, (*x[1][:-1], 1))
    return (TensorType(*x), statistics, statistics, TensorType(*x))[: len(op.results)]


def _skip(op: Op, per_element: int, bias: int) -> tuple[Primitive, ...]:
    rows, extent = _trailing(op, -1)
    dtype = tensor(op, 0).dtype
    addends = 1 + (op.operand(bias) is not None)
    return (Elementwise("add", rows * extent, dtype, addends), Normalization(rows, extent, dtype, per_element))


@define("com.microsoft.SkipLayerNormalization", kind=Kind.NORMALIZATION, infer=_skip_types)
def skip_layer_normalization(op: Op) -> Iterable[Primitive]:
    """Residual and bias added, then layer normalisation."""
    return _skip(op, LAYER_OPS, 4)


@define("com.microsoft.SkipSimplifiedLayerNormalization", kind=Kind.NORMALIZATION, infer=_skip_types)
def skip_simplified_layer_normalization(op: Op) -> Iterable[Primitive]:
    """Residual and bias added, then RMS normalisation."""
    return _skip(op, RMS_OPS, 3)


@define("com.microsoft.GatedRMSNorm", kind=Kind.NORMALIZATION, infer=same_type)
def gated_rms_norm(op: Op) -> Iterable[Primitive]:
    """RMS normalisation times a gate's swish."""
    rows, extent = _trailing(op, -1)
    dtype = tensor(op, 0).dtype
    return (Normalization(rows, extent, dtype, RMS_OPS), Elementwise("swiglu", rows * extent, dtype, 5))


@define("com.microsoft.SkipGroupNorm", kind=Kind.NORMALIZATION, infer=same_type)
def skip_group_norm(op: Op) -> Iterable[Primitive]:
    """Residual and bias added, then group normalisation."""
    added = Elementwise("add", elements(op), tensor(op, 0).dtype, 1 + (op.operand(4) is not None))
    return (added, *group_normalization(op))


def _embed_types(op: Op) -> tuple[Type, ...] | None:
    ids, table = ranked(op, 0), ranked(op, 2)
    if ids is None or table is None:
        return None
    embedded = TensorType(table[0], (*ids[1], table[1][-1]))
    return (embedded, TensorType(DType.I32, ids[1][:1]), embedded)[: len(op.results)]


@define("com.microsoft.EmbedLayerNormalization", kind=Kind.NORMALIZATION, infer=_embed_types)
def embed_layer_normalization(op: Op) -> Lowering:
    """Rows of two or three tables added, then layer normalisation; no other rows are read."""
    rows, hidden, dtype = size(op, 0), dims(op, 2)[1], tensor(op, 2).dtype
    tables = [index for index in (2, 3, 4) if op.operand(index) is not None]
    fetched = rows * hidden * dtype.bits // 8
    return Lowering(
        (
            Gather(rows * len(tables), hidden, dtype),
            Elementwise("add", rows * hidden, dtype, len(tables) - 1),
            Normalization(rows, hidden, dtype, LAYER_OPS),
        ),
        {index: smallest(fetched, prod(dims(op, index)) * dtype.bits // 8) for index in tables},
    )

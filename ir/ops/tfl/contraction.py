"""Convolutions and matrix products of TFLite: channels last, filters by output channel, bias where the sum starts."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ...graph import Op
from ...primitives import Conv, Gemm, Primitive
from ...registry import Kind, define
from ...types import Dim, Shape, Type
from ..contraction import matmul, matmul_shape, window_extent
from ..reading import constant_dims, dims, integer, is_constant, ranked, ratio, result_dims, text, with_shape
from .stages import activated, arithmetic_dtype, quantized_input

__all__ = ["spatial_output"]

_AXES = {2: "hw", 3: "dhw"}


def _spatial(op: Op, rank: int, name: str, default: int = 1) -> tuple[int, ...]:
    """An option that has a field for each spatial axis: ``stride_h``, ``dilation_w_factor``."""
    return tuple(integer(op, name.format(axis), default) for axis in _AXES[rank])


def spatial_output(op: Op, extents: Shape, kernel: Shape) -> tuple[Dim, ...]:
    """Spatial sizes of a convolution's or pool's result (``ComputeOutSize``, tensorflow/lite/kernels/padding.h)."""
    rank, same = len(extents), text(op, "padding", "SAME") == "SAME"
    strides, dilations = _spatial(op, rank, "stride_{}"), _spatial(op, rank, "dilation_{}_factor")
    return tuple(
        window_extent(extent, window, stride, dilation, 0, 0, "SAME" if same else "VALID", False)
        for extent, window, stride, dilation in zip(extents, kernel, strides, dilations, strict=True)
    )


# -- convolutions -----------------------------------------------------------------------------------------------------


def _conv(op: Op, data: int, kernel: tuple[int, ...], groups: int, transposed: bool = False) -> tuple[Primitive, ...]:
    x, y = dims(op, data), result_dims(op)
    rank = len(x) - 2
    main = Conv(
        batch=x[0],
        in_channels=x[-1],
        out_channels=y[-1],
        in_size=x[1:-1],
        out_size=y[1:-1],
        kernel=kernel,
        dtype=arithmetic_dtype(op, data),
        strides=_spatial(op, rank, "stride_{}"),
        dilations=_spatial(op, rank, "dilation_{}_factor"),
        groups=groups,
        transposed=transposed,
    )
    return (*quantized_input(op, data), main, *activated(op))


def _conv_types(op: Op, kernel: slice, out: int) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(x[1]) != len(w[1]):
        return None
    return with_shape(op, (x[1][0], *spatial_output(op, x[1][1:-1], w[1][kernel]), w[1][out]))


@define("tfl.CONV_2D", kind=Kind.CONTRACTION, infer=lambda op: _conv_types(op, slice(1, 3), 0))
def conv_2d(op: Op) -> Iterable[Primitive]:
    """One convolution; filters are O kh kw I, of fewer channels than the operand where it is grouped."""
    w = dims(op, 1)
    return _conv(op, 0, w[1:3], dims(op, 0)[-1] // w[-1])


@define("tfl.DEPTHWISE_CONV_2D", kind=Kind.CONTRACTION, infer=lambda op: _conv_types(op, slice(1, 3), 3))
def depthwise_conv_2d(op: Op) -> Iterable[Primitive]:
    """A convolution of each channel by itself; filters are 1 kh kw C·multiplier."""
    return _conv(op, 0, dims(op, 1)[1:3], dims(op, 0)[-1])


@define("tfl.CONV_3D", kind=Kind.CONTRACTION, infer=lambda op: _conv_types(op, slice(0, 3), 4))
def conv_3d(op: Op) -> Iterable[Primitive]:
    """One convolution; filters are kd kh kw I O."""
    w = dims(op, 1)
    return _conv(op, 0, w[:3], dims(op, 0)[-1] // w[3])


def _shaped_by(op: Op, index: int) -> tuple[Type, ...] | None:
    """A result whose shape is the value of an operand, in the type of the data."""
    wanted, x = constant_dims(op.operand(index)), ranked(op, 2)
    return None if wanted is None or x is None else with_shape(op, wanted, x[0])


@define("tfl.TRANSPOSE_CONV", kind=Kind.CONTRACTION, infer=lambda op: _shaped_by(op, 0))
def transpose_conv(op: Op) -> Iterable[Primitive]:
    """One transposed convolution: every input element meets every weight. Filters are O kh kw I."""
    return _conv(op, 2, dims(op, 1)[1:3], 1, transposed=True)


@define("tfl.CONV_3D_TRANSPOSE", kind=Kind.CONTRACTION, infer=lambda op: _shaped_by(op, 0))
def conv_3d_transpose(op: Op) -> Iterable[Primitive]:
    """One transposed convolution: every input element meets every weight. Filters are kd kh kw O I."""
    return _conv(op, 2, dims(op, 1)[:3], 1, transposed=True)


# -- matrix products --------------------------------------------------------------------------------------------------


def _fully_connected_types(op: Op) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(w[1]) != 2 or not x[1]:
        return None
    if integer(op, "keep_num_dims", 0):
        return with_shape(op, (*x[1][:-1], w[1][0]))
    rows = ratio(x[1], w[1][1:])
    return with_shape(op, (rows, w[1][0]))


@define("tfl.FULLY_CONNECTED", kind=Kind.CONTRACTION, infer=_fully_connected_types)
def fully_connected(op: Op) -> Iterable[Primitive]:
    """One matrix product; weights are (units, inputs), all axes of the operand before the inputs are rows."""
    x, (units, inputs) = dims(op, 0), dims(op, 1)
    rows = prod(x) // inputs
    if rows * inputs != prod(x):
        raise ValueError(f"{prod(x)} elements do not divide into rows of {inputs}")
    product = Gemm(rows, units, inputs, arithmetic_dtype(op), weight=is_constant(op, 1))
    return (*quantized_input(op), product, *activated(op))


def _adjoint(shape: Shape, swapped: bool) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2]) if swapped and len(shape) > 1 else shape


def _batch_matmul_types(op: Op) -> tuple[Type, ...] | None:
    a, b = ranked(op, 0), ranked(op, 1)
    if a is None or b is None:
        return None
    left, right = _adjoint(a[1], bool(integer(op, "adj_x", 0))), _adjoint(b[1], bool(integer(op, "adj_y", 0)))
    return with_shape(op, matmul_shape(left, right))


@define("tfl.BATCH_MATMUL", kind=Kind.CONTRACTION, infer=_batch_matmul_types)
def batch_matmul(op: Op) -> Iterable[Primitive]:
    """A batch of matrix products, of either factor transposed or not."""
    sides = []
    for index, option in ((0, "adj_x"), (1, "adj_y")):
        shape = dims(op, index)
        sides.append((*shape[:-2], shape[-1], shape[-2]) if integer(op, option, 0) and len(shape) > 1 else shape)
    product = matmul(sides[0], sides[1], arithmetic_dtype(op), is_constant(op, 0, 1))
    return (*quantized_input(op), product, *activated(op))

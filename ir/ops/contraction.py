"""Operators that multiply and accumulate: convolutions and matrix products, and their quantised kin.

A bias is where the accumulator starts: it is neither a MAC nor other work. Output stages (an activation, requantising
to integers) are elementwise primitives of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import Any

from ..graph import Op
from ..primitives import Conv, Elementwise, Gemm, Primitive
from ..registry import Kind, define
from ..types import Dim, DType, Shape, TensorType, Type
from .elementwise import activation_ops
from .reading import (
    agree,
    broadcast,
    dim_product,
    dims,
    elements,
    integer,
    integers,
    is_constant,
    largest,
    ranked,
    result_dims,
    smallest,
    tensor,
    text,
    with_shape,
)

__all__ = [
    "REQUANTIZE_OPS",
    "conv_output",
    "convolution",
    "gemm_primitive",
    "gemm_type",
    "matmul",
    "matmul_shape",
    "matmul_type",
    "product",
    "requantize",
    "window_extent",
    "window_output",
    "zero_point_dtype",
]

REQUANTIZE_OPS = 4
"""Scale, round, add the zero point, saturate."""


# -- convolutions -----------------------------------------------------------------------------------------------------


def convolution(op: Op, data: int = 0, weight: int = 1, dtype: DType | None = None) -> Conv:
    """The convolution of an operation whose data and weights are these operands, laid out N C spatial, M C/g kernel."""
    x, w, y = dims(op, data), dims(op, weight), result_dims(op)
    rank = len(x) - 2
    return Conv(
        batch=x[0],
        in_channels=x[1],
        out_channels=y[1],
        in_size=x[2:],
        out_size=y[2:],
        kernel=w[2:],
        dtype=dtype or tensor(op, data).dtype,
        strides=integers(op, "strides", (1,) * rank),
        dilations=integers(op, "dilations", (1,) * rank),
        groups=integer(op, "group", 1),
        transposed=op.base_name == "ConvTranspose",
    )


def window_output(op: Op, extents: Shape, kernel: Shape) -> Shape:
    """Spatial sizes of a convolution's or pool's result (ONNX Conv-22, MaxPool-22)."""
    rank = len(extents)
    strides, dilations = integers(op, "strides", (1,) * rank), integers(op, "dilations", (1,) * rank)
    pads, auto = integers(op, "pads", (0,) * (2 * rank)), text(op, "auto_pad", "NOTSET")
    rounds_up = integer(op, "ceil_mode", 0) == 1
    sizes: list[Dim] = []
    for i, (extent, window, stride, dilation) in enumerate(zip(extents, kernel, strides, dilations, strict=True)):
        padding = pads[i] + pads[i + rank] if auto == "NOTSET" else 0
        sizes.append(window_extent(extent, window, stride, dilation, padding, pads[i], auto, rounds_up))
    return tuple(sizes)


def window_extent(
    extent: Dim, window: Dim, stride: int, dilation: int, padding: int, before: int, auto: str, rounds_up: bool
) -> Dim:
    if auto.startswith("SAME") and stride == 1:
        return extent
    reach = dilation * (window - 1) + 1
    if auto.startswith("SAME"):
        return -(-extent // stride)
    free = extent + padding - reach
    if isinstance(free, int) and free < 0:
        raise ValueError(f"a window of {reach} does not fit {extent} with {padding} padded")
    if not rounds_up:
        return free // stride + 1
    steps = -(-free // stride) + 1
    # A last window that would start in the padding after the data is left out (ONNX MaxPool-22).
    if padding - before + stride <= reach:
        return steps
    kept: Dim = largest(steps - 1, smallest(steps, (extent + before - 1) // stride + 1))
    return kept


def conv_output(op: Op, data: int = 0, weight: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result type of Conv and its kin."""
    x, w = ranked(op, data), ranked(op, weight)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    agree("channels of the data", x[1][1], "those of the weights in all groups", w[1][1], integer(op, "group", 1))
    sizes = window_output(op, x[1][2:], w[1][2:])
    return with_shape(op, (x[1][0], w[1][0], *sizes), dtype or x[0])


@define("onnx.Conv", kind=Kind.CONTRACTION, infer=conv_output)
def conv(op: Op) -> Iterable[Primitive]:
    """One convolution."""
    return (convolution(op),)


def _transposed_output(op: Op) -> tuple[Type, ...] | None:
    """ONNX ConvTranspose-22."""
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    agree("channels of the data", x[1][1], "those of the weights", w[1][0])
    rank = len(x[1]) - 2
    strides, dilations = integers(op, "strides", (1,) * rank), integers(op, "dilations", (1,) * rank)
    pads, extra = integers(op, "pads", (0,) * (2 * rank)), integers(op, "output_padding", (0,) * rank)
    same = text(op, "auto_pad", "NOTSET").startswith("SAME")
    wanted: tuple[Dim, ...] = integers(op, "output_shape", ())
    sizes: list[Dim] = []
    for i, (extent, window) in enumerate(zip(x[1][2:], w[1][2:], strict=True)):
        if same:
            sizes.append(extent * strides[i])
        else:
            whole = strides[i] * (extent - 1) + extra[i] + (window - 1) * dilations[i] + 1
            sizes.append(whole - pads[i] - pads[i + rank])
    channels, groups = w[1][1], integer(op, "group", 1)
    return with_shape(op, (x[1][0], channels * groups, *(wanted[-rank:] if wanted else sizes)))


@define("onnx.ConvTranspose", kind=Kind.CONTRACTION, infer=_transposed_output)
def conv_transpose(op: Op) -> Iterable[Primitive]:
    """One transposed convolution: every input element meets every weight of its group."""
    return (convolution(op),)


@define("onnx.ConvInteger", kind=Kind.CONTRACTION, infer=lambda op: conv_output(op, dtype=DType.I32))
def conv_integer(op: Op) -> Iterable[Primitive]:
    """An integer convolution that keeps its 32-bit sums.

    It is of the weights' type: they are the left factor of the product that it is run as (onnxruntime's ConvInteger),
    whose sign decides between kernels.
    """
    return (replace(convolution(op), dtype=tensor(op, 1).dtype),)


def requantize(op: Op) -> Elementwise:
    return Elementwise("requantize", elements(op), DType.I32, REQUANTIZE_OPS)


@define("onnx.QLinearConv", kind=Kind.CONTRACTION, infer=lambda op: conv_output(op, 0, 3, zero_point_dtype(op, 7)))
def qlinear_conv(op: Op) -> tuple[Primitive, ...]:
    """An integer convolution whose sums are requantised."""
    return (convolution(op, 0, 3), requantize(op))


def zero_point_dtype(op: Op, index: int) -> DType:
    zero_point = op.operand(index)
    known = zero_point is not None and isinstance(zero_point.type, TensorType)
    return tensor(op, index).dtype if known else DType.UI8


@define("onnx.DeformConv", kind=Kind.CONTRACTION, infer=conv_output)
def deform_conv(op: Op) -> Iterable[Primitive]:
    """A convolution of samples: each is interpolated between four neighbours and, with a mask, scaled."""
    main = convolution(op)
    samples = main.batch * main.in_channels * prod(main.out_size) * prod(main.kernel)
    masked = op.operand(4) is not None
    return (Elementwise("bilinear", samples, main.dtype, 8 + masked), main)


@define("onnx.CausalConvWithState", "com.microsoft.CausalConvWithState", kind=Kind.CONTRACTION)
def causal_conv(op: Op) -> Iterable[Primitive]:
    """A depthwise causal convolution over the last axis that carries its state; an optional activation."""
    x, w = dims(op, 0), dims(op, 1)
    name = text(op, "activation", "none")
    main = Conv(x[0], x[1], x[1], x[2:], result_dims(op)[2:], w[2:], tensor(op, 0).dtype, groups=x[1])
    per_element = 0 if name == "none" else activation_ops(name)
    return (main, Elementwise(name, elements(op), main.dtype, per_element)) if per_element else (main,)


# -- matrix products --------------------------------------------------------------------------------------------------


def matmul(a: tuple[int, ...], b: tuple[int, ...], dtype: DType, weight: bool) -> Gemm:
    """The product that numpy's ``matmul`` makes of these shapes; a right factor without a batch takes A's into m."""
    a = a if len(a) > 1 else (1, *a)
    b = b if len(b) > 1 else (*b, 1)
    if prod(b[:-2]) == 1:
        return Gemm(prod(a[:-1]), b[-1], a[-1], dtype, weight=weight)
    batch: Any = dim_product(broadcast(a[:-2], b[:-2]))
    return Gemm(a[-2], b[-1], a[-1], dtype, batch, weight)


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """Shape of numpy's ``matmul``.

    Raises:
        ValueError: the shapes do not multiply.
    """
    if not a or not b:
        raise ValueError("a scalar has no matrix product")
    agree("columns of A", a[-1], "rows of B", b[-2] if len(b) > 1 else b[0])
    return (*broadcast(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def matmul_type(op: Op, left: int = 0, right: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result type of MatMul and its kin."""
    a, b = ranked(op, left), ranked(op, right)
    return None if a is None or b is None else with_shape(op, matmul_shape(a[1], b[1]), dtype or a[0])


def product(op: Op, left: int = 0, right: int = 1) -> Gemm:
    return matmul(dims(op, left), dims(op, right), tensor(op, left).dtype, is_constant(op, left, right))


@define("onnx.MatMul", kind=Kind.CONTRACTION, infer=matmul_type)
def mat_mul(op: Op) -> Iterable[Primitive]:
    """A batch of matrix products."""
    return (product(op),)


@define("onnx.MatMulInteger", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, dtype=DType.I32))
def mat_mul_integer(op: Op) -> Iterable[Primitive]:
    """Integer matrix products that keep their 32-bit sums."""
    return (product(op),)


@define("onnx.QLinearMatMul", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, 0, 3, zero_point_dtype(op, 7)))
def qlinear_mat_mul(op: Op) -> Iterable[Primitive]:
    """Integer matrix products whose sums are requantised."""
    return (product(op, 0, 3), requantize(op))


def gemm_type(op: Op, right: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result type of Gemm and its kin."""
    a, b = ranked(op, 0), ranked(op, right)
    if a is None or b is None or len(a[1]) != 2 or len(b[1]) != 2:
        return None
    rows, columns = bool(integer(op, "transA", 0)), not integer(op, "transB", 0)
    agree("columns of A", a[1][not rows], "rows of B", b[1][not columns])
    return with_shape(op, (a[1][rows], b[1][columns]), dtype)


def gemm_primitive(op: Op, right: int = 1) -> Gemm:
    a, b = dims(op, 0), dims(op, right)
    m, k = reversed(a) if integer(op, "transA", 0) else a
    n = b[0] if integer(op, "transB", 0) else b[1]
    return Gemm(m, n, k, tensor(op, 0).dtype, weight=is_constant(op, 0, right))


@define("onnx.Gemm", kind=Kind.CONTRACTION, infer=gemm_type)
def gemm(op: Op) -> Iterable[Primitive]:
    """One matrix product; C is where the sum starts."""
    return (gemm_primitive(op),)

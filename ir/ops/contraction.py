"""Operators that multiply and accumulate: convolutions and matrix products, and their quantised kin.

A bias is where the accumulator starts: it is neither a MAC nor other work. Output stages (an activation, requantising
to integers) are elementwise primitives of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Conv, Elementwise, Gemm, Primitive
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, Shape, TensorType, Type
from .elementwise import activation_ops
from .reading import (
    UNKNOWN_DIM,
    broadcast,
    compute_dtype,
    dims,
    elements,
    integer,
    integers,
    is_constant,
    ranked,
    result_dims,
    tensor,
    text,
    with_shape,
)

__all__ = ["REQUANTIZE_OPS", "conv_output", "matmul", "matmul_shape", "window_output"]

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
        sizes.append(_window_extent(extent, window, stride, dilation, padding, pads[i], auto, rounds_up))
    return tuple(sizes)


def _window_extent(
    extent: Dim, window: Dim, stride: int, dilation: int, padding: int, before: int, auto: str, rounds_up: bool
) -> Dim:
    if auto.startswith("SAME") and stride == 1:
        return extent
    if not isinstance(window, int):
        return UNKNOWN_DIM
    reach = dilation * (window - 1) + 1
    if not isinstance(extent, int):
        return extent if stride == 1 and padding == reach - 1 else UNKNOWN_DIM
    if auto.startswith("SAME"):
        return -(-extent // stride)
    free = extent + padding - reach
    if free < 0:
        raise ValueError(f"a window of {reach} does not fit {extent} with {padding} padded")
    if not rounds_up:
        return free // stride + 1
    steps = -(-free // stride) + 1
    # A last window that would start in the padding after the data is left out (ONNX MaxPool-22).
    return steps - 1 if (steps - 1) * stride >= extent + before else steps


def conv_output(op: Op, data: int = 0, weight: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result type of Conv and its kin."""
    x, w = ranked(op, data), ranked(op, weight)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    sizes = window_output(op, x[1][2:], w[1][2:])
    return with_shape(op, (x[1][0], w[1][0], *sizes), dtype or x[0])


@define("onnx.Conv", kind=Kind.CONTRACTION, infer=conv_output)
def conv(op: Op) -> Iterable[Primitive]:
    """One convolution."""
    return (convolution(op),)


def _activation(op: Op) -> Iterable[Primitive]:
    name = text(op, "activation", "")
    per_element = activation_ops(name)
    return (Elementwise(name.lower(), elements(op), compute_dtype(op), per_element),) if per_element else ()


@define("com.microsoft.FusedConv", kind=Kind.CONTRACTION, infer=conv_output)
def fused_conv(op: Op) -> Iterable[Primitive]:
    """A convolution, the sum with operand 3 where there is one, and an activation."""
    residual = (Elementwise("add", elements(op), tensor(op, 0).dtype),) if op.operand(3) is not None else ()
    return (convolution(op), *residual, *_activation(op))


def _nhwc_output(op: Op) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    return with_shape(op, (x[1][0], *window_output(op, x[1][1:-1], w[1][2:]), w[1][0]))


@define("com.microsoft.NhwcConv", "com.microsoft.NhwcFusedConv", kind=Kind.CONTRACTION, infer=_nhwc_output)
def nhwc_conv(op: Op) -> Iterable[Primitive]:
    """A convolution with its channels last; weights as in Conv."""
    x, w, y = dims(op, 0), dims(op, 1), result_dims(op)
    ones = (1,) * (len(x) - 2)
    strides, dilations = integers(op, "strides", ones), integers(op, "dilations", ones)
    groups = integer(op, "group", 1)
    dtype = tensor(op, 0).dtype
    main = Conv(x[0], x[-1], y[-1], x[1:-1], y[1:-1], w[2:], dtype, strides, dilations, groups)
    return (main, *_activation(op))


def _transposed_output(op: Op) -> tuple[Type, ...] | None:
    """ONNX ConvTranspose-22."""
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    rank = len(x[1]) - 2
    strides, dilations = integers(op, "strides", (1,) * rank), integers(op, "dilations", (1,) * rank)
    pads, extra = integers(op, "pads", (0,) * (2 * rank)), integers(op, "output_padding", (0,) * rank)
    same = text(op, "auto_pad", "NOTSET").startswith("SAME")
    wanted: tuple[Dim, ...] = integers(op, "output_shape", ())
    sizes: list[Dim] = []
    for i, (extent, window) in enumerate(zip(x[1][2:], w[1][2:], strict=True)):
        if not isinstance(extent, int) or not isinstance(window, int):
            sizes.append(UNKNOWN_DIM)
        elif same:
            sizes.append(extent * strides[i])
        else:
            whole = strides[i] * (extent - 1) + extra[i] + (window - 1) * dilations[i] + 1
            sizes.append(whole - pads[i] - pads[i + rank])
    channels, groups = w[1][1], integer(op, "group", 1)
    out = channels * groups if isinstance(channels, int) else channels if groups == 1 else UNKNOWN_DIM
    return with_shape(op, (x[1][0], out, *(wanted[-rank:] if wanted else sizes)))


@define("onnx.ConvTranspose", kind=Kind.CONTRACTION, infer=_transposed_output)
def conv_transpose(op: Op) -> Iterable[Primitive]:
    """One transposed convolution: every input element meets every weight of its group."""
    return (convolution(op),)


@define("onnx.ConvInteger", kind=Kind.CONTRACTION, infer=lambda op: conv_output(op, dtype=DType.I32))
def conv_integer(op: Op) -> Iterable[Primitive]:
    """An integer convolution that keeps its 32-bit sums."""
    return (convolution(op),)


def _requantize(op: Op) -> Elementwise:
    return Elementwise("requantize", elements(op), DType.I32, REQUANTIZE_OPS)


@define("onnx.QLinearConv", kind=Kind.CONTRACTION, infer=lambda op: conv_output(op, 0, 3, _zero_dtype(op, 7)))
def qlinear_conv(op: Op) -> tuple[Primitive, ...]:
    """An integer convolution whose sums are requantised."""
    return (convolution(op, 0, 3), _requantize(op))


def _zero_dtype(op: Op, index: int) -> DType:
    zero_point = op.operand(index)
    known = zero_point is not None and isinstance(zero_point.type, TensorType)
    return tensor(op, index).dtype if known else DType.UI8


@define("com.microsoft.QLinearConv", kind=Kind.CONTRACTION)
def qlinear_conv_nhwc(op: Op) -> tuple[Primitive, ...]:
    """QLinearConv that may have its channels last."""
    if not integer(op, "channels_last", 0):
        return qlinear_conv(op)
    x, w, y = dims(op, 0), dims(op, 3), result_dims(op)
    ones = (1,) * (len(x) - 2)
    strides, dilations = integers(op, "strides", ones), integers(op, "dilations", ones)
    groups, dtype = integer(op, "group", 1), tensor(op, 0).dtype
    return (Conv(x[0], x[-1], y[-1], x[1:-1], y[1:-1], w[2:], dtype, strides, dilations, groups), _requantize(op))


@define("onnx.DeformConv", kind=Kind.CONTRACTION, infer=conv_output)
def deform_conv(op: Op) -> Iterable[Primitive]:
    """A convolution of samples: each is interpolated between four neighbours and, with a mask, scaled."""
    main = convolution(op)
    samples = main.batch * main.in_channels * prod(main.out_size) * prod(main.kernel)
    masked = op.operand(4) is not None
    return (Elementwise("bilinear", samples, main.dtype, 8 + masked), main)


@define("onnx.CausalConvWithState", kind=Kind.CONTRACTION)
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
    batch = [dim for dim in broadcast(a[:-2], b[:-2]) if isinstance(dim, int)]
    if prod(b[:-2]) == 1:
        return Gemm(prod(a[:-1]), b[-1], a[-1], dtype, weight=weight)
    return Gemm(a[-2], b[-1], a[-1], dtype, prod(batch), weight)


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """Shape of numpy's ``matmul``.

    Raises:
        ValueError: the shapes do not multiply.
    """
    if not a or not b:
        raise ValueError("a scalar has no matrix product")
    inner = (a[-1], b[-2] if len(b) > 1 else b[0])
    if isinstance(inner[0], int) and isinstance(inner[1], int) and inner[0] != inner[1]:
        raise ValueError(f"{inner[0]} columns do not meet {inner[1]} rows")
    return (*broadcast(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def matmul_type(op: Op, left: int = 0, right: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    """Result type of MatMul and its kin."""
    a, b = ranked(op, left), ranked(op, right)
    return None if a is None or b is None else with_shape(op, matmul_shape(a[1], b[1]), dtype or a[0])


def _product(op: Op, left: int = 0, right: int = 1) -> Gemm:
    return matmul(dims(op, left), dims(op, right), tensor(op, left).dtype, is_constant(op, left, right))


@define("onnx.MatMul", kind=Kind.CONTRACTION, infer=matmul_type)
def mat_mul(op: Op) -> Iterable[Primitive]:
    """A batch of matrix products."""
    return (_product(op),)


@define("onnx.MatMulInteger", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, dtype=DType.I32))
def mat_mul_integer(op: Op) -> Iterable[Primitive]:
    """Integer matrix products that keep their 32-bit sums."""
    return (_product(op),)


@define("onnx.QLinearMatMul", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, 0, 3, _zero_dtype(op, 7)))
def qlinear_mat_mul(op: Op) -> Iterable[Primitive]:
    """Integer matrix products whose sums are requantised."""
    return (_product(op, 0, 3), _requantize(op))


def _gemm_shape(op: Op) -> Shape | None:
    a, b = ranked(op, 0), ranked(op, 1)
    if a is None or b is None or len(a[1]) != 2 or len(b[1]) != 2:
        return None
    return (a[1][integer(op, "transA", 0) and 1], b[1][1 - (integer(op, "transB", 0) and 1)])


def _gemm_type(op: Op) -> tuple[Type, ...] | None:
    shape = _gemm_shape(op)
    return None if shape is None else with_shape(op, shape)


def _gemm(op: Op, right: int = 1) -> Gemm:
    a, b = dims(op, 0), dims(op, right)
    m, k = reversed(a) if integer(op, "transA", 0) else a
    n = b[0] if integer(op, "transB", 0) else b[1]
    return Gemm(m, n, k, tensor(op, 0).dtype, weight=is_constant(op, 0, right))


@define("onnx.Gemm", kind=Kind.CONTRACTION, infer=_gemm_type)
def gemm(op: Op) -> Iterable[Primitive]:
    """One matrix product; C is where the sum starts."""
    return (_gemm(op),)


@define("com.microsoft.FusedGemm", kind=Kind.CONTRACTION, infer=_gemm_type)
def fused_gemm(op: Op) -> Iterable[Primitive]:
    """Gemm and an activation."""
    return (_gemm(op), *_activation(op))


def _fused_matmul_shapes(op: Op, a: Shape, b: Shape) -> tuple[Shape, Shape]:
    """The factors' shapes as plain MatMul would have them (com.microsoft.FusedMatMul-1)."""
    return _transposed(op, a, "A"), _transposed(op, b, "B")


def _transposed(op: Op, shape: Shape, side: str) -> Shape:
    if len(shape) > 2 and integer(op, f"transBatch{side}", 0):
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if integer(op, f"trans{side}", 0) and len(shape) > 1 else shape


def _fused_matmul_type(op: Op) -> tuple[Type, ...] | None:
    a, b = ranked(op, 0), ranked(op, 1)
    return None if a is None or b is None else with_shape(op, matmul_shape(*_fused_matmul_shapes(op, a[1], b[1])))


@define("com.microsoft.FusedMatMul", kind=Kind.CONTRACTION, infer=_fused_matmul_type)
def fused_mat_mul(op: Op) -> Iterable[Primitive]:
    """MatMul of factors that are transposed as they are read; the scale alpha rides on the sum."""
    a, b = _fused_matmul_shapes(op, dims(op, 0), dims(op, 1))
    left = tuple(dim for dim in a if isinstance(dim, int))
    right = tuple(dim for dim in b if isinstance(dim, int))
    return (matmul(left, right, tensor(op, 0).dtype, is_constant(op, 0, 1)), *_activation(op))


def _packed_type(op: Op) -> tuple[Type, ...] | None:
    a = ranked(op, 0)
    return None if a is None else with_shape(op, (*a[1][:-1], integer(op, "N", 0)))


@define("com.microsoft.MatMulNBits", "com.microsoft.MatMulBnb4", kind=Kind.CONTRACTION, infer=_packed_type)
def mat_mul_n_bits(op: Op) -> Iterable[Primitive]:
    """MatMul with weights packed in a few bits, which are expanded (subtract, scale) once each."""
    n, k = integer(op, "N", 0), integer(op, "K", 0)
    dtype = tensor(op, 0).dtype
    rows = prod(dims(op, 0)[:-1])
    return (Elementwise("dequantize", n * k, dtype, 2), Gemm(rows, n, k, dtype, weight=True))


@define(
    "com.microsoft.MatMulIntegerToFloat", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, dtype=_scale(op, 2))
)
def mat_mul_integer_to_float(op: Op) -> Iterable[Primitive]:
    """MatMulInteger whose sums are scaled to floats."""
    return (_product(op), Elementwise("dequantize", elements(op), tensor(op, 2).dtype, 2))


def _scale(op: Op, index: int) -> DType:
    return tensor(op, index).dtype


@define("com.microsoft.DynamicQuantizeMatMul", kind=Kind.CONTRACTION, infer=matmul_type)
def dynamic_quantize_mat_mul(op: Op) -> Lowering:
    """Activations quantised on the fly (range: two; scale, round, shift, clamp), an integer MatMul, sums to floats."""
    dtype = tensor(op, 0).dtype
    product = matmul(dims(op, 0), dims(op, 1), tensor(op, 1).dtype, is_constant(op, 1))
    quantize = Elementwise("quantize", prod(dims(op, 0)), dtype, 2 + REQUANTIZE_OPS)
    return Lowering((quantize, product, Elementwise("dequantize", elements(op), dtype, 2)))


@define("com.microsoft.QGemm", kind=Kind.CONTRACTION)
def q_gemm(op: Op) -> Iterable[Primitive]:
    """Integer Gemm whose sums are requantised, or scaled to floats where no output scale is given."""
    return (_gemm(op, 3), _requantize(op))

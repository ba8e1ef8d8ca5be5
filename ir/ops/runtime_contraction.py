"""Contractions that onnxruntime's own optimiser makes (``com.microsoft``): fused, blocked, quantised.

Their output stages (an activation, a residual sum, requantising) are elementwise primitives of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TypeVar

from ..graph import Op
from ..primitives import Conv, Elementwise, Gemm, Normalization, Primitive
from ..registry import Kind, define
from ..types import Dim, DType, TensorType, Type
from .contraction import (
    REQUANTIZE_OPS,
    conv_output,
    convolution,
    gemm_primitive,
    gemm_type,
    matmul,
    matmul_shape,
    matmul_type,
    product,
    requantize,
    window_output,
    zero_point_dtype,
)
from .elementwise import activation_ops
from .normalization import RMS_OPS
from .reading import (
    agree,
    compute_dtype,
    constant_integers,
    dims,
    elements,
    integer,
    integers,
    is_constant,
    ranked,
    ratio,
    result_dims,
    size,
    tensor,
    text,
    with_shape,
)
from .runtime_elementwise import clamped_swiglu_ops

__all__: list[str] = []

D = TypeVar("D", bound=Dim)


def _activation(op: Op) -> Iterable[Primitive]:
    name = text(op, "activation", "")
    per_element = activation_ops(name)
    return (Elementwise(name.lower(), elements(op), compute_dtype(op), per_element),) if per_element else ()


def _residual(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("add", elements(op), tensor(op, 0).dtype),) if op.operand(3) is not None else ()


@define("com.microsoft.FusedConv", "com.microsoft.nchwc.Conv", kind=Kind.CONTRACTION, infer=conv_output)
def fused_conv(op: Op) -> Iterable[Primitive]:
    """A convolution, the sum with operand 3 where there is one, and an activation.

    The blocked one (NCHWc) has its channels padded to the block: work that the runtime does.
    """
    return (convolution(op), *_residual(op), *_activation(op))


@define("com.microsoft.ConvTransposeWithDynamicPads", kind=Kind.CONTRACTION)
def conv_transpose_dynamic(op: Op) -> Iterable[Primitive]:
    """ConvTranspose whose padding is an operand."""
    return (replace(convolution(op), transposed=True),)


def _channels_last(op: Op, weight: int) -> Conv:
    x, w, y = dims(op, 0), dims(op, weight), result_dims(op)
    ones = (1,) * (len(x) - 2)
    strides, dilations = integers(op, "strides", ones), integers(op, "dilations", ones)
    groups, dtype = integer(op, "group", 1), tensor(op, 0).dtype
    return Conv(x[0], x[-1], y[-1], x[1:-1], y[1:-1], w[2:], dtype, strides, dilations, groups)


def _nhwc_output(op: Op, weight: int = 1, dtype: DType | None = None) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, weight)
    if x is None or w is None or len(x[1]) < 3 or len(w[1]) != len(x[1]):
        return None
    return with_shape(op, (x[1][0], *window_output(op, x[1][1:-1], w[1][2:]), w[1][0]), dtype)


@define("com.microsoft.NhwcConv", "com.microsoft.NhwcFusedConv", kind=Kind.CONTRACTION, infer=_nhwc_output)
def nhwc_conv(op: Op) -> Iterable[Primitive]:
    """A convolution with its channels last; weights as in Conv."""
    return (_channels_last(op, 1), *_residual(op), *_activation(op))


def _qlinear_conv_type(op: Op) -> tuple[Type, ...] | None:
    dtype = zero_point_dtype(op, 7)
    return _nhwc_output(op, 3, dtype) if integer(op, "channels_last", 0) else conv_output(op, 0, 3, dtype)


@define("com.microsoft.QLinearConv", kind=Kind.CONTRACTION, infer=_qlinear_conv_type)
def qlinear_conv_nhwc(op: Op) -> tuple[Primitive, ...]:
    """QLinearConv that may have its channels last."""
    if not integer(op, "channels_last", 0):
        return (convolution(op, 0, 3), requantize(op))
    return (_channels_last(op, 3), requantize(op))


@define("com.microsoft.FusedGemm", kind=Kind.CONTRACTION, infer=gemm_type)
def fusedgemm_primitive(op: Op) -> Iterable[Primitive]:
    """Gemm and an activation."""
    return (gemm_primitive(op), *_activation(op))


def _fused_matmul_shapes(op: Op, a: tuple[D, ...], b: tuple[D, ...]) -> tuple[tuple[D, ...], tuple[D, ...]]:
    """The factors' shapes as plain MatMul would have them (com.microsoft.FusedMatMul-1)."""
    return _transposed(op, a, "A"), _transposed(op, b, "B")


def _transposed(op: Op, shape: tuple[D, ...], side: str) -> tuple[D, ...]:
    if len(shape) > 2 and integer(op, f"transBatch{side}", 0):
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if integer(op, f"trans{side}", 0) and len(shape) > 1 else shape


def _fused_matmul_type(op: Op) -> tuple[Type, ...] | None:
    a, b = ranked(op, 0), ranked(op, 1)
    return None if a is None or b is None else with_shape(op, matmul_shape(*_fused_matmul_shapes(op, a[1], b[1])))


@define(
    "com.microsoft.FusedMatMul",
    "com.microsoft.TransposeMatMul",
    "com.microsoft.FusedMatMulActivation",
    kind=Kind.CONTRACTION,
    infer=_fused_matmul_type,
)
def fused_mat_mul(op: Op) -> Iterable[Primitive]:
    """MatMul of factors that are transposed as they are read; the scale alpha rides on the sum."""
    a, b = _fused_matmul_shapes(op, dims(op, 0), dims(op, 1))
    return (matmul(a, b, tensor(op, 0).dtype, is_constant(op, 0, 1)), *_activation(op))


_ON_INTEGERS = 4
"""The ``accuracy_level`` of MatMulNBits at which it multiplies integers."""


def _packed_columns(op: Op) -> tuple[int, int]:
    """Columns of the result, and how many products each sums: K and N change places where ``transB`` is 0."""
    n, k = integer(op, "N", 0), integer(op, "K", 0)
    return (n, k) if integer(op, "transB", 1) else (k, n)


def _packed_type(op: Op) -> tuple[Type, ...] | None:
    a = ranked(op, 0)
    return None if a is None else with_shape(op, (*a[1][:-1], _packed_columns(op)[0]))


@define("com.microsoft.MatMulNBits", "com.microsoft.MatMulBnb4", kind=Kind.CONTRACTION, infer=_packed_type)
def mat_mul_n_bits(op: Op) -> Iterable[Primitive]:
    """MatMul with weights packed in a few bits, which are expanded (subtract, scale) once each.

    At ``accuracy_level`` 4 the other factor is quantised in the same blocks and 8-bit integers are multiplied; the sum
    of each block is scaled.
    """
    n, k = _packed_columns(op)
    dtype = tensor(op, 0).dtype
    rows = prod(dims(op, 0)[:-1])
    return _few_bits(rows, n, k, dtype, integer(op, "accuracy_level", 0), integer(op, "block_size", k))


def _few_bits(rows: int, n: int, k: int, dtype: DType, accuracy_level: int, block: int) -> tuple[Primitive, ...]:
    """A product with weights of a few bits in blocks along the sum."""
    if accuracy_level != _ON_INTEGERS:
        return (Elementwise("dequantize", n * k, dtype, 2), Gemm(rows, n, k, dtype, weight=True))
    blocks = -(-k // max(1, block))
    return (
        Elementwise("quantize", rows * k, dtype, REQUANTIZE_OPS),
        Gemm(rows, n, k, DType.UI8, weight=True),
        Elementwise("dequantize", rows * n * blocks, dtype, 2),
    )


@define("com.microsoft.MatMulNBitsQLoRA", kind=Kind.CONTRACTION, infer=_packed_type)
def mat_mul_n_bits_q_lora(op: Op) -> Iterable[Primitive]:
    """MatMulNBits and a low-rank adapter of packed weights added to it (com.microsoft.MatMulNBitsQLoRA-1).

    An adapter without ``lora_B`` is none; without ``lora_A`` alone its way down is zero. Only the way down goes by the
    ``accuracy_level``.
    """
    n, k, rows, dtype = integer(op, "N", 0), integer(op, "K", 0), prod(dims(op, 0)[:-1]), tensor(op, 0).dtype
    level, block = integer(op, "accuracy_level", 0), integer(op, "lora_block_size", 32)
    yield from _few_bits(rows, n, k, dtype, level, integer(op, "block_size", 32))
    if size(op, 5) == 0:
        return
    down = dims(op, 3)[0]
    rank = down or size(op, 4) // max(1, -(-k // max(1, block)))
    if down:
        yield from _few_bits(rows, rank, k, dtype, level, block)
    yield from _few_bits(rows, n, rank, dtype, 0, block)
    yield Elementwise("add", elements(op), dtype)


@define("com.microsoft.MatMulPacked", kind=Kind.CONTRACTION, infer=_packed_type)
def mat_mul_packed(op: Op) -> Iterable[Primitive]:
    """MatMul with weights in a packed format, (N, bytes of a row), expanded once each; then scale and activation."""
    n, k, dtype = integer(op, "N", 0), integer(op, "K", 0), tensor(op, 0).dtype
    name = text(op, "activation_type", "none")
    per_element = activation_ops(name) + (op.operand(2) is not None)
    yield from _few_bits(prod(dims(op, 0)[:-1]), n, k, dtype, 0, k)
    if per_element:
        yield Elementwise(name, elements(op), dtype, per_element)


def _router_types(op: Op) -> tuple[Type, ...] | None:
    """The first ``router_size`` columns, and half of the others (com.microsoft.RouterGateUpProj-1)."""
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None:
        return None
    agree("features of the input", x[1][-1], "rows of the weights", w[1][0])
    chosen = integer(op, "router_size", 0)
    widths = (chosen, ratio((w[1][-1] - chosen,), (2,)))
    return tuple(TensorType(x[0], (*x[1][:-1], width)) for width in widths)


@define("com.microsoft.RouterGateUpProj", kind=Kind.CONTRACTION, infer=_router_types)
def router_gate_up_proj(op: Op) -> Iterable[Primitive]:
    """One product for a router's scores and a shared expert's gate and up halves, then their SwiGLU."""
    dtype = tensor(op, 0).dtype
    yield matmul(dims(op, 0), dims(op, 1), dtype, is_constant(op, 1))
    yield Elementwise("swiglu", elements(op, 1), dtype, clamped_swiglu_ops(op))


@define(
    "com.microsoft.MatMulIntegerToFloat", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, dtype=_scale(op, 2))
)
def mat_mul_integer_to_float(op: Op) -> Iterable[Primitive]:
    """MatMulInteger whose sums are scaled to floats."""
    return (product(op), Elementwise("dequantize", elements(op), tensor(op, 2).dtype, 2))


def _scale(op: Op, index: int) -> DType:
    return tensor(op, index).dtype


@define("com.microsoft.DynamicQuantizeMatMul", kind=Kind.CONTRACTION, infer=matmul_type)
def dynamic_quantize_mat_mul(op: Op) -> Iterable[Primitive]:
    """Activations quantised on the fly (range: two; scale, round, shift, clamp), an integer MatMul, sums to floats."""
    dtype = tensor(op, 0).dtype
    integers_product = matmul(dims(op, 0), dims(op, 1), DType.UI8, is_constant(op, 1))
    quantize = Elementwise("quantize", prod(dims(op, 0)), dtype, 2 + REQUANTIZE_OPS)
    return (quantize, integers_product, Elementwise("dequantize", elements(op), dtype, 2))


def _q_gemm_type(op: Op) -> tuple[Type, ...] | None:
    """Integers where operand 8 gives the result's zero point, else floats."""
    return gemm_type(op, 3, DType.F32 if op.operand(8) is None else zero_point_dtype(op, 8))


@define("com.microsoft.QGemm", kind=Kind.CONTRACTION, infer=_q_gemm_type)
def qgemm_primitive(op: Op) -> Iterable[Primitive]:
    """Integer Gemm whose sums are requantised, or scaled to floats where no output scale is given."""
    return (gemm_primitive(op, 3), requantize(op))


@define("com.microsoft.GemmFastGelu", kind=Kind.CONTRACTION, infer=matmul_type)
def gemm_fast_gelu(op: Op) -> Iterable[Primitive]:
    """MatMul, an optional bias, Gelu by tanh."""
    return (product(op), Elementwise("fast_gelu", elements(op), tensor(op, 0).dtype, 9 + (op.operand(2) is not None)))


@define("com.microsoft.GemmFloat8", kind=Kind.CONTRACTION, infer=gemm_type)
def gemm_float8(op: Op) -> Iterable[Primitive]:
    """Gemm of 8-bit floats, scaled, with an optional activation."""
    return (gemm_primitive(op), *_activation(op))


@define("com.microsoft.MatMulInteger16", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, dtype=DType.I32))
def mat_mul_integer16(op: Op) -> Iterable[Primitive]:
    """MatMul of 16-bit integers that keeps its 32-bit sums."""
    return (product(op),)


@define("com.microsoft.MatMulFpQ4", kind=Kind.CONTRACTION)
def mat_mul_fp_q4(op: Op) -> Iterable[Primitive]:
    """MatMul with weights packed in four bits; operand 2 holds their shape (K, N)."""
    shape = constant_integers(op.operand(2))
    a, n, dtype = dims(op, 0), result_dims(op)[-1], tensor(op, 0).dtype
    k = shape[0] if shape else a[-1]
    return (Elementwise("dequantize", n * k, dtype, 2), Gemm(prod(a[:-1]), n, k, dtype, weight=True))


@define("com.microsoft.MatMulNBitsMlp", kind=Kind.CONTRACTION, infer=_packed_type)
def mat_mul_n_bits_mlp(op: Op) -> Iterable[Primitive]:
    """Residual and RMS normalisation where given, gate and up projections with packed weights, and their product."""
    projections = 2 * _packed_projection(op, integer(op, "N", 0))
    gated = activation_ops(text(op, "activation", "silu")) + 1
    return (*_normalised(op), *projections, Elementwise("gate", elements(op), tensor(op, 0).dtype, gated))


@define("com.microsoft.MatMulNBitsQkv", kind=Kind.CONTRACTION)
def mat_mul_n_bits_qkv(op: Op) -> Iterable[Primitive]:
    """Residual and RMS normalisation where given, projections to query, key and value with packed weights."""
    widths = (result_dims(op, index)[-1] for index in range(3))
    return (*_normalised(op), *(part for width in widths for part in _packed_projection(op, width)))


def _packed_projection(op: Op, n: int) -> tuple[Primitive, ...]:
    a, dtype = dims(op, 0), tensor(op, 0).dtype
    return (Elementwise("dequantize", n * a[-1], dtype, 2), Gemm(prod(a[:-1]), n, a[-1], dtype, weight=True))


def _normalised(op: Op) -> tuple[Primitive, ...]:
    a, dtype = dims(op, 0), tensor(op, 0).dtype
    added = (Elementwise("add", prod(a), dtype),) if op.operand(1) is not None else ()
    scaled = (Normalization(prod(a[:-1]), a[-1], dtype, RMS_OPS),) if op.operand(2) is not None else ()
    return (*added, *scaled)


@define(
    "com.microsoft.MatMulBlockQuantizedFp4Weight",
    "com.microsoft.MatMulBlockQuantizedFp8Weight",
    kind=Kind.CONTRACTION,
    infer=lambda op: None if (b := ranked(op, 1)) is None else _rows_by(op, b[1][0]),
)
def mat_mul_block_quantized(op: Op) -> Iterable[Primitive]:
    """MatMul with weights of 4 or 8-bit floats, (N, K), which are expanded (two products) once each."""
    shape, n, dtype = dims(op, 0), dims(op, 1)[0], tensor(op, 0).dtype
    return (
        Elementwise("dequantize", n * shape[-1], dtype, 2),
        Gemm(prod(shape[:-1]), n, shape[-1], dtype, weight=True),
    )


def _rows_by(op: Op, columns: Dim) -> tuple[Type, ...] | None:
    a = ranked(op, 0)
    return None if a is None else with_shape(op, (*a[1][:-1], columns))


@define("com.microsoft.QOrderedMatMul", kind=Kind.CONTRACTION, infer=lambda op: matmul_type(op, 0, 2))
def q_ordered_mat_mul(op: Op) -> Iterable[Primitive]:
    """A product of 8-bit integers, scaled; with operand 6 added."""
    return (
        product(op, 0, 2),
        requantize(op),
        *((Elementwise("add", elements(op), DType.I8, 2),) if op.operand(6) else ()),
    )


@define("com.microsoft.SparseToDenseMatMul", kind=Kind.CONTRACTION, infer=_fused_matmul_type)
def sparse_to_dense_mat_mul(op: Op) -> Iterable[Primitive]:
    """A product with a sparse left factor, counted as if it were dense: its type does not say how sparse it is."""
    a, b = _fused_matmul_shapes(op, dims(op, 0), dims(op, 1))
    return (matmul(a, b, tensor(op, 1).dtype, is_constant(op, 0, 1)),)


def _word_types(op: Op) -> tuple[Type, ...] | None:
    words, filters = ranked(op, 0), ranked(op, 1)
    return None if words is None or filters is None else (TensorType(filters[0], (*words[1][:-1], filters[1][0])),)


@define("com.microsoft.WordConvEmbedding", kind=Kind.CONTRACTION, infer=_word_types)
def word_conv_embedding(op: Op) -> Iterable[Primitive]:
    """Characters' embeddings convolved along the word, and the largest result for each filter."""
    words, filters, size_ = dims(op, 0), dims(op, 1), dims(op, 3)[-1]
    places = max(1, words[-1] - filters[-2] + 1)
    rows, dtype = prod(words[:-1]), tensor(op, 1).dtype
    window = Gemm(rows * places, filters[0], filters[-2] * size_, dtype, weight=is_constant(op, 1))
    return (window, Elementwise("tanh_max", rows * places * filters[0], dtype, 2))

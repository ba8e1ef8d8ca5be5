"""Working memory that kernels ask of the arena while they run, by the formulas in their sources.

CMSIS-NN for cores with DSP instructions and without vector ones (Cortex-M4, M7): ``Source/*/*get_buffer_sizes_s8.c`` of
release 4.1 and later. A convolution unrolls two columns of patches to 16 bits, each padded to four elements; a 1×1 one
reads its operand as it is. TensorFlow Lite Micro's reference kernels accumulate a quantised transposed convolution in
32 bits, and unpack weights of four bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from ..ir import DType, Op, TensorType
from .fuse import kernel_ops

__all__ = ["scratch_bytes"]

_HALF, _WORD = 2, 4
_COLUMNS = 2
_UNROLLED = 4


def scratch_bytes(op: Op, kernels: str) -> int:
    """Return the bytes that an operation or a fused kernel needs beside its operands and results."""
    formulas = _FORMULAS[kernels]
    return max((formulas[inner.name](inner) for inner in kernel_ops(op) if inner.name in formulas), default=0)


def _shape(op: Op, index: int) -> tuple[DType, tuple[int, ...]]:
    value = op.operand(index)
    type_ = value.type if value is not None else None
    if not isinstance(type_, TensorType) or not type_.static:
        return DType.UNKNOWN, ()
    return type_.dtype, type_.dims


def _unpacked(op: Op, weights: int = 1) -> int:
    """Weights of four bits, a byte each."""
    dtype, shape = _shape(op, weights)
    return prod(shape) if dtype is DType.I4 else 0


def _number(op: Op, name: str) -> int:
    value = op.attributes.get(name, 1)
    return value if isinstance(value, int) else 1


def _conv(op: Op) -> int:
    (dtype, x), (_, w) = _shape(op, 0), _shape(op, 1)
    if dtype is not DType.I8 or len(x) != 4 or len(w) != 4:
        return _unpacked(op)
    dilated = _number(op, "dilation_h_factor") > 1 or _number(op, "dilation_w_factor") > 1
    if w[1:3] == (1, 1) and not dilated:
        return _unpacked(op)
    columns = -(-(w[1] * w[2] * x[3]) // _UNROLLED) * _UNROLLED
    return _COLUMNS * columns * _HALF + _unpacked(op)


def _depthwise(op: Op) -> int:
    """The 3×3 kernel works in registers, where a padding of one is enough for it: that is the most ``SAME`` needs."""
    (dtype, x), (_, w) = _shape(op, 0), _shape(op, 1)
    dilated = _number(op, "dilation_h_factor") > 1 or _number(op, "dilation_w_factor") > 1
    if dtype is not DType.I8 or len(x) != 4 or len(w) != 4 or x[3] != w[3] or x[0] != 1 or dilated:
        return _unpacked(op)
    return _unpacked(op) + (0 if w[1:3] == (3, 3) else prod(w[1:]) * _HALF)


def _average_pool(op: Op) -> int:
    dtype, x = _shape(op, 0)
    return x[-1] * _WORD if dtype is DType.I8 and x else 0


def _transpose_conv(op: Op) -> int:
    """Sums of every result, before they are requantised."""
    type_ = op.results[0].type if op.results else None
    quantized = _shape(op, 2)[0] in (DType.I8, DType.I16)
    static = isinstance(type_, TensorType) and type_.static
    return prod(type_.dims) * _WORD if quantized and static and isinstance(type_, TensorType) else 0


Formula = Callable[[Op], int]

_REFERENCE: Mapping[str, Formula] = {
    "tfl.CONV_2D": _unpacked,
    "tfl.DEPTHWISE_CONV_2D": _unpacked,
    "tfl.FULLY_CONNECTED": _unpacked,
    "tfl.TRANSPOSE_CONV": _transpose_conv,
}
_FORMULAS: Mapping[str, Mapping[str, Formula]] = {
    "none": {},
    "tflm-reference": _REFERENCE,
    "cmsis-nn": {
        **_REFERENCE,
        "tfl.AVERAGE_POOL_2D": _average_pool,
        "tfl.CONV_2D": _conv,
        "tfl.DEPTHWISE_CONV_2D": _depthwise,
    },
}

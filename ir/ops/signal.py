"""Signal processing: Fourier transforms, windows, filter banks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from ..graph import Op
from ..onnx_types import dtype_of
from ..primitives import Elementwise, Primitive
from ..registry import Kind, Lowering, OpDef, add, define
from ..types import DType, TensorType, Type
from .reading import (
    UNKNOWN_DIM,
    constant_integers,
    constant_number,
    data_dim,
    dims,
    elements,
    integer,
    largest,
    normal_axis,
    ranked,
    result_dims,
    tensor,
    with_shape,
)

__all__ = ["transform_ops"]


def transform_ops(length: int) -> int:
    """Operations per point of a fast Fourier transform of complex numbers: 5·log2(n) (Cooley and Tukey)."""
    return 5 * largest(1, (length - 1).bit_length())


@define("onnx.DFT", kind=Kind.SCAN)
def dft(op: Op) -> Iterable[Primitive]:
    """One transform along ``axis`` for each position of the other axes."""
    x, y = dims(op, 0), result_dims(op)
    given = constant_integers(op.operand(2))
    # An attribute in DFT-17, default 1; an operand in DFT-20, default -2: the same axis for a signal of rank 3.
    axis = normal_axis(given[0] if given else integer(op, "axis", -2), len(x))
    length = largest(x[axis], y[axis])
    points = prod(dim for i, dim in enumerate(x[:-1]) if i != axis) * length
    return (Elementwise("fft", points, tensor(op, 0).dtype, transform_ops(length)),)


@define("com.microsoft.Rfft", "com.microsoft.Irfft", kind=Kind.SCAN)
def real_dft(op: Op) -> Iterable[Primitive]:
    """A transform of real numbers over the last ``signal_ndim`` axes: half the work of a complex one."""
    forward = op.base_name == "Rfft"
    real = dims(op, 0) if forward else result_dims(op)
    length = prod(real[len(real) - integer(op, "signal_ndim", 1) :])
    return (Elementwise("fft", prod(real), tensor(op, 0).dtype, largest(1, transform_ops(length) // 2)),)


def _stft_length(op: Op) -> int | None:
    """Samples in a frame: operand 3, else the window's length."""
    given, window = constant_integers(op.operand(3)), ranked(op, 2)
    if given:
        return given[0]
    return window[1][0] if window and isinstance(window[1][0], int) else None


def _stft_types(op: Op) -> tuple[Type, ...] | None:
    """(batch, frames, bins, 2), ONNX STFT-17."""
    x, step, length = ranked(op, 0), constant_integers(op.operand(1)), _stft_length(op)
    if x is None or length is None or not step:
        return None
    bins = length // 2 + 1 if integer(op, "onesided", 1) else length
    return with_shape(op, (x[1][0], (x[1][1] - length) // step[0] + 1, bins, 2))


@define("onnx.STFT", kind=Kind.SCAN, infer=_stft_types)
def stft(op: Op) -> Iterable[Primitive]:
    """A windowed transform for each frame."""
    batch, frames, bins = result_dims(op)[:3]
    length = _stft_length(op) or (2 * (bins - 1) if integer(op, "onesided", 1) else bins)
    dtype = tensor(op, 0).dtype
    points = batch * frames * length
    windowed = (Elementwise("mul", points, dtype),) if op.operand(2) is not None else ()
    return (*windowed, Elementwise("fft", points, dtype, transform_ops(length)))


def _window_types(op: Op) -> tuple[Type, ...] | None:
    length = constant_number(op.operand(0))
    dtype = dtype_of(integer(op, "output_datatype", 1))
    return (TensorType(dtype, (data_dim(op, 0, UNKNOWN_DIM) if length is None else int(length),)),)


def _window(function: str, per_element: int) -> Callable[[Op], Iterable[Primitive]]:
    return lambda op: (Elementwise(function, elements(op), DType.F32, per_element),)


# A scaled angle (2), a cosine and its product and difference (3); Blackman's has two of them.
for _name, _per_element in (("HannWindow", 5), ("HammingWindow", 5), ("BlackmanWindow", 9)):
    _doc = f"{_per_element} operations per element."
    add(OpDef(f"onnx.{_name}", Kind.ELEMENTWISE, _window(_name.lower(), _per_element), _window_types, None, _doc))


def _mel_types(op: Op) -> tuple[Type, ...] | None:
    """(bins, bands): operand 0 gives the bands, operand 1 the transform's length (ONNX MelWeightMatrix-17)."""
    bands, length = constant_number(op.operand(0)), constant_number(op.operand(1))
    if bands is None or length is None:
        return None
    return (TensorType(dtype_of(integer(op, "output_datatype", 1)), (int(length) // 2 + 1, int(bands))),)


@define("onnx.MelWeightMatrix", kind=Kind.ELEMENTWISE, infer=_mel_types)
def mel_weight_matrix(op: Op) -> Lowering:
    """Two slopes and their minimum for each bin and band: about five operations."""
    type_ = op.results[0].type
    dtype = type_.dtype if isinstance(type_, TensorType) else DType.F32
    return Lowering((Elementwise("mel", elements(op), dtype, 5),))

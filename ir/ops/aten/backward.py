"""Gradients that ATen has as operators of their own, and its Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Copy, Elementwise, Gather, Normalization, Primitive, Reduction, Window
from ...registry import Kind, Lowering
from ..reading import compute_dtype, dims, elements, integer, integers, normal_axis, result_dims, size, tensor
from .reading import enter, result_dtype, spread

__all__: list[str] = []


# -- gradients --------------------------------------------------------------------------------------------------------


def _pooled(op: Op) -> tuple[Primitive, ...]:
    """Each element of the result's gradient is spread over its window."""
    rank = 3 if op.base_name.startswith(("avg_pool3d", "_adaptive_avg_pool3d", "max_pool3d")) else 2
    gradient, x = dims(op, 0), dims(op, 1)
    if "adaptive" in op.base_name:
        window = prod(-(-a // max(1, b)) for a, b in zip(x[-rank:], gradient[-rank:], strict=True))
    else:
        window = prod(spread(op, "kernel_size", rank))
    return (Window("average", prod(gradient), window, tensor(op, 0).dtype),)


enter(
    "avg_pool2d_backward avg_pool3d_backward _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward",
    Kind.WINDOW,
    _pooled,
    "One operation for each element of each window.",
)


def _unpooled(op: Op) -> tuple[Primitive, ...]:
    return (Copy(elements(op), result_dtype(op)), Elementwise("add", size(op, 0), tensor(op, 0).dtype))


enter(
    "max_pool2d_with_indices_backward max_pool3d_with_indices_backward",
    Kind.WINDOW,
    _unpooled,
    "Zeros, and an addition where each maximum came from.",
)


def _normalized(op: Op) -> tuple[Primitive, ...]:
    """Two sums over each group (gradient, gradient times data), then each element; and the sums of gain and bias."""
    x, dtype = size(op, 1), tensor(op, 1).dtype
    if op.base_name == "native_layer_norm_backward":
        extent = prod(integers(op, "normalized_shape", dims(op, 1)[-1:]))
        groups = x // max(1, extent)
    else:
        groups = dims(op, 1)[0] * integer(op, "group", 1)
    return (Normalization(groups, x // max(1, groups), dtype, 9), Reduction("sum", x, dims(op, 1)[-1], dtype, 3))


enter(
    "native_layer_norm_backward native_group_norm_backward", Kind.NORMALIZATION, _normalized, "About twelve an element."
)


def _embedded(op: Op) -> Lowering:
    rows, width = size(op, 1), dims(op, 0)[-1]
    dtype = tensor(op, 0).dtype
    return Lowering((Copy(elements(op), dtype), Gather(rows, width, dtype), Elementwise("add", rows * width, dtype)))


enter("embedding_dense_backward", Kind.GATHER, _embedded, "Zeros, and each row added where it came from.")


def _activation(per_element: int) -> Callable[[Op], tuple[Primitive, ...]]:
    return lambda op: (Elementwise("gradient", elements(op), compute_dtype(op), per_element),)


enter(
    "threshold_backward hardtanh_backward leaky_relu_backward", Kind.ELEMENTWISE, _activation(2), "Compare, multiply."
)
enter("sigmoid_backward tanh_backward", Kind.ELEMENTWISE, _activation(3), "Two products and a difference.")
enter("gelu_backward silu_backward", Kind.ELEMENTWISE, _activation(9), "About nine operations per element.")
enter("_softmax_backward_data _log_softmax_backward_data", Kind.NORMALIZATION, _activation(4), "Four per element.")


# -- Fourier transforms -----------------------------------------------------------------------------------------------


def _transformed(shape: tuple[int, ...], axes: tuple[int, ...], real: bool) -> int:
    """Operations of fast transforms along some axes: 5·n·log2(n) for each of n complex points, half that for real."""
    points = prod(shape)
    steps = sum(max(1, (shape[axis] - 1).bit_length()) for axis in axes)
    return 5 * points * steps // (2 if real else 1)


def _fourier(op: Op) -> tuple[Primitive, ...]:
    real_in = op.base_name == "_fft_r2c"
    shape = dims(op, 0) if real_in else result_dims(op)
    given = integers(op, "dim", (-1,))
    axes = tuple(normal_axis(axis, len(shape)) for axis in given)
    work = _transformed(shape, axes, op.base_name != "_fft_c2c")
    count = elements(op)
    return (Reduction("fft", count, count, tensor(op, 0).dtype, max(1, work // max(1, count))),)


enter("_fft_r2c _fft_c2r _fft_c2c", Kind.REDUCTION, _fourier, "5·n·log2(n) operations for each transform of n points.")


def _windowed(op: Op) -> tuple[Primitive, ...]:
    """Frames times a window, then a real transform of each."""
    points = integer(op, "n_fft", 1)
    y = result_dims(op)
    frames = prod(y) // max(1, points // 2 + 1)
    frames = frames // 2 if y[-1:] == (2,) else frames
    work = _transformed((frames, points), (1,), real=True)
    dtype = tensor(op, 0).dtype
    scaled = Elementwise("mul", frames * points, dtype)
    return (scaled, Reduction("fft", frames * points, prod(y), dtype, max(1, work // max(1, frames * points))))


enter("stft", Kind.REDUCTION, _windowed, "Frames times a window, and a real transform of each.")
_SPECTRAL = " ".join(f"fft_{word}{rank}" for word in ("fft", "ifft", "rfft", "irfft") for rank in ("", "2", "n"))


def _spectral(op: Op) -> tuple[Primitive, ...]:
    word = op.base_name.removeprefix("fft_")
    shape = dims(op, 0) if word.startswith("rfft") else result_dims(op)
    given = op.attributes.get("dim")
    last = {"2": 2, "n": len(shape)}.get(word[-1], 1)
    listed = given if isinstance(given, tuple) else (given,) if isinstance(given, int) else range(-last, 0)
    axes = tuple(normal_axis(axis, len(shape)) for axis in listed if isinstance(axis, int))
    work, count = _transformed(shape, axes, "rfft" in word), elements(op)
    return (Reduction("fft", count, count, tensor(op, 0).dtype, max(1, work // max(1, count))),)


enter(_SPECTRAL, Kind.REDUCTION, _spectral, "5·n·log2(n) operations for each transform of n points.")

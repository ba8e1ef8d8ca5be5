"""What decides how fast a kernel runs, as numbers: the coordinates in which measurements stand near or far.

All are logarithms to base 2, so that a distance of one is a factor of two whatever the quantity. Besides sizes there
are shares of padding: how much of the work that a vectorised kernel does is on elements that are not there, as
onnxruntime's MLAS tiles it (``mlas/lib``: NCHWc convolution, SGEMM). With other runtimes these coordinates carry less
and the fit gives them less weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2, prod

from ..ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Window,
)
from .kernel import Kernel
from .processor import FILTER_BLOCKS, GEMM_COLUMNS, Processor

__all__ = ["Features", "coordinates", "features", "inside_share"]

_SMALL_BYTES = 1024
"""Below this, how many bytes a kernel moves makes no difference to its time."""

_PADDING_WEIGHT = 4.0
"""Padding acts at once and in full, sizes over powers of two: its coordinate is stretched by this."""

_FEW_TILES = 4
_UNCOUNTED_RUN = 4096
_LEAST = 1e-3
_MOST_TAPS = 65536

_SIZES = {"conv": 16, "gemm": 8}
_OTHER_SIZES = 3
_TRAFFIC = 6
"""How many coordinates there are of a kernel's sizes, by what it mainly is, and of what it moves."""


@dataclass(frozen=True, slots=True)
class Features:
    """Coordinates of a kernel; ``category`` tells apart those of one family that compute other functions."""

    category: str
    vector: tuple[float, ...]


@lru_cache(maxsize=65536)
def features(kernel: Kernel, processor: Processor) -> Features:
    """Return a kernel's coordinates; those with the same main primitive have as many."""
    main = kernel.main
    if isinstance(main, Softmax):  # attention, however few multiply-accumulates it has, is a matter of its products
        products = [primitive for primitive in kernel.primitives if isinstance(primitive, Gemm)]
        main = max(products, key=lambda gemm: gemm.macs) if len(products) > 1 else main
    vector = (*_traffic(kernel), *_sizes(kernel, main, processor))
    return Features(kernel.pattern, vector)


def coordinates(operation_type: str) -> int:
    """Return how many coordinates :func:`features` gives the kernels of an operation type."""
    if operation_type.startswith("conv"):
        return _TRAFFIC + _SIZES["conv"]
    if operation_type in ("matmul", "matmul_activation", "attention", "recurrent"):
        return _TRAFFIC + _SIZES["gemm"]
    return _TRAFFIC + _OTHER_SIZES


def _traffic(kernel: Kernel) -> tuple[float, ...]:
    return (
        _log(kernel.read_bytes + _SMALL_BYTES),
        _log(kernel.write_bytes + _SMALL_BYTES),
        _log(kernel.weight_bytes + _SMALL_BYTES),
        _log(kernel.swept_bytes + _SMALL_BYTES) / 2,
        8.0 * kernel.reordered_bytes / max(1, kernel.bytes),
        float(min(4, sum(isinstance(primitive, Elementwise) for primitive in kernel.primitives))),
    )


def _sizes(kernel: Kernel, main: Primitive | None, processor: Processor) -> tuple[float, ...]:
    match main:
        case Conv():
            return _conv(kernel, main, processor)
        case Gemm():
            return _gemm(main, processor)
        case Softmax():
            return _log(main.rows), _log(main.columns), 2.0 * min(2, main.behind or 0)
        case Normalization():
            return _log(main.groups), _log(main.size), float(main.per_element)
        case Reduction():
            return _log(main.elements), _log(main.results), _log(main.run or _UNCOUNTED_RUN)
        case Window():
            return _log(main.results), _log(main.window), 0.0
        case Gather():
            return _log(main.rows), _log(main.row_elements), 0.0
        case Copy():
            return _log(main.elements), _log(main.run or _UNCOUNTED_RUN), float(main.axes or 0)
        case Elementwise() | Scan():
            return _log(main.elements), _log(main.per_element), 0.0
    return 0.0, 0.0, 0.0


def _conv(kernel: Kernel, conv: Conv, processor: Processor) -> tuple[float, ...]:
    groups = max(1, conv.groups)
    filters, inner = conv.out_channels / groups, conv.in_channels / groups
    depthwise = conv.groups == conv.in_channels
    results = prod(conv.out_size)
    width = conv.out_size[-1] if conv.out_size else 1
    row = results if set(conv.kernel) == {1} else width
    block = processor.lanes
    plain_input = conv.groups == 1 and inner < block
    read = conv.batch * conv.in_channels * prod(conv.in_size) * conv.dtype.bits / 8
    return (
        _log(conv.batch * results),
        _log(filters),
        _log(inner),
        _log(conv.groups),
        _log(prod(conv.kernel)),
        _log(max(conv.strides, default=1)),
        _log(max(conv.dilations, default=1)),
        _padding(conv.groups if depthwise else filters, block),
        0.0 if depthwise else _padding(inner, block),
        _padding(ceil(filters / block), FILTER_BLOCKS),
        _padding(row, processor.conv_rows),
        _log(max(1, conv.kernel[0]) / max(1, conv.kernel[-1])) if conv.kernel else 0.0,
        _log((kernel.read_bytes + 1) / (read + 1)),
        3.0 if plain_input else 0.0,
        2 * _log(inside_share(conv)),
        _log(width),
    )


def _gemm(gemm: Gemm, processor: Processor) -> tuple[float, ...]:
    return (
        _log(gemm.m),
        _log(gemm.n),
        _log(gemm.k),
        _log(gemm.batch),
        _log(gemm.steps),
        _padding(gemm.m, processor.gemm_rows) if gemm.m < _FEW_TILES * processor.gemm_rows else 0.0,
        _padding(gemm.n, GEMM_COLUMNS),
        3.0 if gemm.m == 1 else 0.0,
    )


@lru_cache(maxsize=4096)
def inside_share(conv: Conv) -> float:
    """Return the share of a convolution's multiply-accumulates that read the input and not the padding around it.

    A kernel may skip the others: with a dilation of 24 on 14×14, eight of nine. The padding of both sides together
    follows from the sizes (ONNX Conv-22, output shape), and is taken as even. Where sizes are missing, all count.
    """
    rank = len(conv.kernel)
    strides, dilations = conv.strides or (1,) * rank, conv.dilations or (1,) * rank
    sizes = (conv.in_size, conv.out_size, conv.kernel, strides, dilations)
    whole = all(len(each) == rank and min(each, default=1) > 0 for each in sizes)
    if conv.transposed or not whole or max(conv.kernel, default=1) > _MOST_TAPS:
        return 1.0
    return prod(_inside(*each) for each in zip(*sizes, strict=True))


def _inside(size: int, results: int, taps: int, stride: int, dilation: int) -> float:
    padding = max(0, (results - 1) * stride + dilation * (taps - 1) + 1 - size)
    inside = 0
    for tap in range(taps):
        start = tap * dilation - padding // 2  # of the first result; result i reads start + i·stride
        first = max(0, -(start // stride))
        last = min(results - 1, (size - 1 - start) // stride)
        inside += max(0, last - first + 1)
    return max(inside, 1) / (taps * results)


def _padding(extent: float, block: int) -> float:
    return _PADDING_WEIGHT * log2(block * ceil(extent / block) / extent) if extent else 0.0


def _log(quantity: float) -> float:
    return log2(quantity) if quantity > _LEAST else log2(_LEAST)

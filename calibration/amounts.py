"""How much physical work a kernel is: the amounts whose sum, each times the machine's rate for it, is its time.

The amounts are those that implementations of these kernels are known to be made of, beyond the textbook's count:
multiply-accumulates with channels padded to the vector's width and rows to the register tile, partial sums that are
stored and loaded again for each block of input channels, rows that a loop starts on, bytes by where they come from.
What each costs on a machine, if anything, is fitted (:mod:`graphs.calibration.rates`); an amount that costs nothing
there gets a rate of zero. Blocks of channels, tiles of rows and passes of 256 over the inner dimension are those of
onnxruntime's MLAS (``core/mlas/lib``: ``snchwc.cpp``, ``sgemm.cpp``, ``amd64``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, prod

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
from .features import inside_share
from .kernel import Kernel
from .processor import GEMM_COLUMNS, Processor

__all__ = ["amounts", "family", "kind_of", "refines", "wider_family"]

Amounts = dict[str, float]

_INNER_PASS = 256
_SHORT_RUN = 16
_MATRIX = 2
_LONG_RUN = 4096
"""A copy whose run was not counted moves whole rows."""

_LAID_OUT = frozenset({"conv2d", "conv2d_pointwise", "conv2d_grouped", "conv2d_depthwise", "pool", "reduction",
                       "elementwise"})  # fmt: skip
"""Operation types with one implementation for each layout of their activations."""

_BY_FUNCTION = ("elements of ", "reduced by ", "scanned by ", "window ")
"""How amounts begin that end in a function's name."""

_REFINEMENTS = ("columns", "rows of columns", "results of columns")
"""How amounts begin that divide up what others of the kernel stand for as well."""

_BY_OPERATOR = frozenset({"normalization", "layout", "pool", "scan", "recurrent"})
"""Operation types whose operators have nothing in common but the kind of work."""

_EINSUM = "Einsum"
"""The operator that has an implementation of its own, whatever the work comes to."""

_SIGNAL, _POSITIONS = "conv1d", "conv1d/pointwise"
"""Convolutions in one dimension, and those whose window is a single position: these are products."""


@lru_cache(maxsize=65536)
def family(kernel: Kernel) -> str:
    """Return the name under which kernels share an implementation: ``conv2d/blocked``, ``layout:Transpose``."""
    name = kernel.operation_type
    if name == "matmul" and isinstance(kernel.main, Gemm) and kernel.main.m == 1:
        name = "matmul/row"
    if name == _SIGNAL and isinstance(kernel.main, Conv) and kernel.main.kernel == (1,):
        name = _POSITIONS
    apart = name in _BY_OPERATOR or kernel.operator == _EINSUM
    by_operator = f":{kernel.operator}" if apart and kernel.operator else ""
    by_layout = f"/{kernel.layout}" if name in _LAID_OUT and kernel.layout else ""
    return f"{name}{by_layout}{by_operator}"


def wider_family(name: str) -> str:
    """Return the family that evidence of earlier versions has one in; itself if there is none."""
    return _SIGNAL if name == _POSITIONS else name.removesuffix(f":{_EINSUM}")


@lru_cache(maxsize=65536)
def amounts(kernel: Kernel, processor: Processor) -> Mapping[str, float]:
    """Return the amounts of a kernel by name, in thousands of elements, bytes, or multiply-accumulates."""
    found: Amounts = {"launch": float(kernel.launches)}
    for primitive in kernel.primitives:
        for name, amount in _primitive(primitive, kernel, processor).items():
            found[name] = found.get(name, 0.0) + amount / 1000
    for name, amount in _traffic(kernel, processor.near_bytes).items():
        found[name] = amount / 1000
    return {name: amount for name, amount in found.items() if amount}


def kind_of(amount: str) -> str:
    """Return an amount's name without the function in it: ``window `` of ``window cubic``; nothing if it names none."""
    return next((kind for kind in _BY_FUNCTION if amount.startswith(kind)), "")


def refines(amount: str) -> bool:
    """Whether evidence that lacks an amount still knows the work that it is of: it came to be counted later."""
    return amount.startswith(_REFINEMENTS)


def _traffic(kernel: Kernel, near_bytes: int) -> Amounts:
    moving = kernel.read_bytes + kernel.write_bytes
    return {
        "bytes read": kernel.read_bytes,
        "bytes written": kernel.write_bytes,
        "bytes reordered": kernel.reordered_bytes,
        "bytes of weights": kernel.weight_bytes,
        "bytes of weights from far": kernel.weight_bytes if kernel.swept_bytes > near_bytes else 0,
        "bytes from far": moving if moving > near_bytes else 0,
        "bytes between far weights": moving if kernel.swept_bytes > near_bytes and not kernel.weight_bytes else 0,
    }


def _primitive(primitive: Primitive, kernel: Kernel, processor: Processor) -> Amounts:
    match primitive:
        case Conv():
            return _conv(primitive, processor, plain=not kernel.layout)
        case Gemm():
            return _gemm(primitive, processor)
        case Softmax(rows=rows, columns=columns):
            tails = rows * (columns % processor.lanes)
            behind = primitive.behind or 0
            return {
                "softmax": rows * columns, "softmax rows": rows, "softmax tails": tails,
                "softmax across": rows * columns * (behind > 0),
                "softmax crosswise": rows * columns * (behind > 1),
            }  # fmt: skip
        case Normalization(groups=groups, size=size):
            return {"normalised": groups * size * primitive.per_element, "normalised groups": groups}
        case Reduction(elements=elements, results=results):
            across = elements if primitive.run == 1 else 0
            function = primitive.function
            return {f"reduced by {function}": elements, "reduced across": across, "reductions": results}
        case Window(results=results, window=window):
            return {f"window {primitive.function}": results * window, "windows": results}
        case Gather(rows=rows, row_elements=row_elements):
            far = rows if kernel.swept_bytes > processor.near_bytes else 0
            return {"gathered": rows * row_elements, "gathered rows": rows, "gathered rows from far": far}
        case Copy():
            return _copy(primitive, processor.near_bytes)
        case Elementwise():
            return {f"elements of {primitive.function}": primitive.elements}
        case Scan():
            return {f"scanned by {primitive.function}": primitive.elements * primitive.per_element}
    return {}


def _copy(copy: Copy, near_bytes: int) -> Amounts:
    run = copy.run or _LONG_RUN
    scattered = run < _SHORT_RUN and copy.elements * copy.dtype.bits / 8 > near_bytes / 2
    crosswise = copy.axes is not None and copy.axes > _MATRIX
    return {
        "copied": copy.elements,
        "copied runs": copy.elements / run,
        "copied apart": copy.elements * scattered,
        "copied runs crosswise": copy.elements / run * crosswise,
    }


def _conv(conv: Conv, processor: Processor, plain: bool) -> Amounts:
    block, rows = processor.lanes, processor.conv_rows
    groups = max(1, conv.groups)
    filters, inner = conv.out_channels // groups, conv.in_channels // groups
    results, taps, inside = conv.batch * prod(conv.out_size), prod(conv.kernel), inside_share(conv)
    width = max(1, conv.out_size[-1] if conv.out_size else 1)
    strided = max(conv.strides, default=1) > 1
    if conv.groups > 1 and conv.groups == conv.in_channels:
        padded = _up(conv.groups, block) * filters
        macs = results * padded * taps * inside
        found = {
            "macs": macs,
            "macs strided": macs * strided,
            "rows": results / width * padded / block * taps,
        }
        return {**found, **_columns(conv)} if plain else found
    inner_blocks = ceil(inner / block)
    inner_padded = inner_blocks * block if inner >= block else inner
    padded = conv.groups * _up(filters, block)
    macs = results * padded * inner_padded * taps * inside
    row = max(1, prod(conv.out_size)) if taps == 1 else width
    tiled = results / row * _up(row, rows)
    tile_filters = conv.groups * _up(filters, processor.filter_set)
    return {
        "macs": macs,
        "macs strided": macs * strided,
        "macs in tiles": tiled * tile_filters * inner_padded * taps * inside,
        "partial sums": results * padded * inner_blocks,
        "rows": results / width * padded / block * taps * inner_blocks,
    }


def _columns(conv: Conv) -> Amounts:
    """What a convolution of plain channels is besides: windows written out as columns, and products with them."""
    results, taps = conv.batch * prod(conv.out_size), prod(conv.kernel)
    columns, width = conv.in_channels * results * taps, max(1, conv.out_size[-1] if conv.out_size else 1)
    return {
        "columns": columns,
        "columns strided": columns * (max(conv.strides, default=1) > 1),
        "rows of columns": columns / width,
        "results of columns": conv.out_channels * results,
        "products": conv.batch * conv.groups,
    }


def _gemm(gemm: Gemm, processor: Processor) -> Amounts:
    calls, right = gemm.batch * gemm.steps, gemm.k * gemm.n
    far = gemm.steps > 1 and right * gemm.dtype.bits / 8 > processor.near_bytes / 2
    return {
        "macs": calls * gemm.m * right,
        "macs in tiles": calls * _up(gemm.m, processor.gemm_rows) * _up(gemm.n, GEMM_COLUMNS) * gemm.k,
        "partial sums": calls * gemm.m * gemm.n * ceil(gemm.k / _INNER_PASS),
        "left factor": calls * gemm.m * gemm.k,
        "right factor": calls * right,
        "right factor from far": calls * right * far,
        "products": calls,
    }


def _up(extent: float, block: int) -> int:
    return block * ceil(extent / block)

"""How a kernel's work is divided among threads: into how many pieces, and how many threads take part.

The rules are those of onnxruntime's CPU kernels. Matrix products and convolutions: ``mlas/lib/sgemm.cpp`` (a thread for
each 65,536 multiply-accumulates, along the longer side) and ``snchwc.cpp`` (rows of results × sets of filters).
Softmax: ``mlas/lib/compute.cpp`` (a thread for each 16,384 elements). What goes over elements asks a cost model
(Eigen's ``TensorCostModel``): a second thread from 210,000 cycles, eleven for a cache line. Copies stay on one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from ..ir.primitives import (
    Conv,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Window,
    flops,
)
from .kernel import Kernel
from .processor import GEMM_COLUMNS, Processor

__all__ = ["Division", "division"]

_GEMM_SHARE = 65536
_SOFTMAX_SHARE = 16384
_STARTUP_CYCLES, _THREAD_CYCLES, _ROUNDING = 100_000, 100_000, 0.9
_CYCLES_PER_BYTE = 11 / 64


@dataclass(frozen=True, slots=True)
class Division:
    """``threads`` take part; the ``busiest`` of them has so many times the work that it had if all shared it evenly."""

    threads: int
    busiest: float


_EVEN = Division(1, 1.0)


def division(primitive: Primitive | None, kernel: Kernel, processor: Processor) -> Division:
    """Return how a primitive of a kernel is divided among a processor's threads."""
    if processor.threads == 1 or primitive is None:
        return _EVEN
    pieces, most = _pieces(primitive, kernel, processor)
    threads = max(1, min(processor.threads, pieces, most))
    return Division(threads, processor.threads * ceil(pieces / threads) / pieces)


def _pieces(primitive: Primitive, kernel: Kernel, processor: Processor) -> tuple[int, int]:
    """How many equal pieces the work has, at least one, and how many threads it is thought to be worth."""
    every = processor.threads
    match primitive:
        case Conv():
            return _of_conv(primitive, kernel, processor)
        case Gemm(steps=1):
            return _of_gemm(primitive.batch, primitive.m, primitive.n, primitive.macs, every)
        case Softmax(rows=rows, columns=columns):
            return max(1, rows), rows * columns // _SOFTMAX_SHARE + 1
        case Normalization(groups=groups):
            return max(1, groups), every
        case Window():
            return every, every
        case Elementwise() | Gather() | Reduction() | Scan():
            return every, _worth(flops(primitive), kernel)
    return 1, 1


def _of_conv(conv: Conv, kernel: Kernel, processor: Processor) -> tuple[int, int]:
    results = prod(conv.out_size)
    if kernel.layout:
        rows = conv.batch * (conv.out_size[0] if conv.out_size else 1)
        if conv.groups > 1 and conv.groups == conv.in_channels:
            return max(1, rows * ceil(conv.out_channels / processor.lanes)), processor.threads
        sets = ceil(conv.out_channels / max(1, conv.groups) / processor.filter_set)
        return max(1, rows * conv.groups * sets), processor.threads
    calls = conv.batch * max(1, conv.groups)
    if calls > 1:
        return calls, processor.threads
    return max(1, ceil(results / GEMM_COLUMNS)), conv.macs // _GEMM_SHARE + 1


def _of_gemm(batch: int, m: int, n: int, macs: int, threads: int) -> tuple[int, int]:
    """The longer side of each product is divided, among as many threads as there are for one of a batch."""
    each = ceil(min(threads, macs // max(1, batch) // _GEMM_SHARE + 1) / max(1, batch))
    side = ceil(n / GEMM_COLUMNS) if n > m else m
    return max(1, batch * min(side, each) if batch > 1 else side), threads if batch > 1 else each


def _worth(operations: int, kernel: Kernel) -> int:
    cycles = operations + _CYCLES_PER_BYTE * (kernel.read_bytes + kernel.write_bytes)
    return int((cycles - _STARTUP_CYCLES) / _THREAD_CYCLES + _ROUNDING)

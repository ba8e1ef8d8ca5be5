"""STREAM on the operators that a runtime has: copy, scale, add and triad, over the levels of memory.

A runtime drops what does nothing, so a copy has to be something that it must carry out: here the concatenation of one
vector, which onnxruntime and PyTorch both copy. They have no operator for a triad, so it is two: a scale and an add,
whose bytes are both counted (five vectors instead of the three that a fused loop would move).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .benchmark import Benchmark, Caches
from .builder import Builder

__all__ = ["PRECISIONS", "STREAMS", "elements", "streams"]

STREAMS = ("copy", "scale", "add", "triad")

PRECISIONS = {
    ("onnxruntime", "bf16"): ("copy",),
    ("onnxruntime", "fp64"): STREAMS,
    ("onnxruntime", "fp32"): STREAMS,
    ("onnxruntime", "fp16"): STREAMS,
    ("onnxruntime", "int8"): STREAMS,
}
"""What onnxruntime's CPU provider has a kernel for (in half precision with casts around it); PyTorch has all."""

_VECTORS = {"copy": 2, "scale": 2, "add": 3, "triad": 4}
"""How many vectors are alive at once: inputs, results and what lies between."""

_ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


def elements(working_set: int, vectors: int, precision: str) -> int:
    """How many elements each of several vectors has that fill a working set together, in whole cache lines."""
    line = 64 // _ELEMENT_BYTES[precision]
    return max(1, working_set // vectors // 64) * line


def _stream(b: Builder, kind: str, size: int) -> None:
    x = b.input(size)
    if kind == "copy":
        b.output(b.op("Concat", x, flops=0, axis=0))
    elif kind == "scale":
        b.output(b.op("Mul", x, b.constant(3, b.element)))
    elif kind == "add":
        b.output(b.op("Add", x, b.input(size)))
    else:
        b.output(b.op("Add", x, b.op("Mul", b.input(size), b.constant(3, b.element))))


def streams(runtime: str, precision: str, caches: Caches) -> Iterator[Benchmark]:
    """Yield every stream at half of each cache and far beyond the last, all kinds at each."""
    kinds = PRECISIONS.get((runtime, precision), STREAMS if runtime == "pytorch" else ())
    for working_set in (caches.memory_bytes, *(size // 2 for size in caches.sizes)):
        for kind in kinds:
            size = elements(working_set, _VECTORS[kind], precision)
            name = f"stream-{kind}-{precision}-{size}"
            yield Benchmark(name, "stream", precision, partial(_stream, kind=kind, size=size), (f"stream_{kind}",))

"""Linear algebra on the operators that a runtime has: dot, axpy, scal, gemv, ger and gemm.

``axpy`` is two operators (scale, add), as in the triad of STREAM. ``gemv`` is a fully connected layer of one row, and
``gemm`` a product with a constant matrix: the form in which networks have them, so that a runtime may pack the matrix.
``ger`` is a product of inner size one with the matrix that it updates as its summand. In int8 the products are those
of unsigned with signed numbers into 32 bits, and ``ger`` has no summand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isqrt, prod

from onnx import TensorProto

from . import layers as nn
from .benchmark import Benchmark, Caches
from .builder import Builder, Tensor
from .stream import elements

__all__ = ["PRECISIONS", "ROUTINES", "blas"]

ROUTINES = ("gemm", "gemv", "dot", "axpy", "scal", "ger")

PRECISIONS = {
    "onnxruntime": ("fp64", "fp32", "fp16", "int8"),
    "pytorch": ("fp64", "fp32", "fp16", "bf16", "int8"),
}
"""Which precisions a runtime multiplies matrices in; half precision in onnxruntime has casts around it."""

_SQUARES = (64, 256, 512, 128, 1024, 384, 768, 32, 2048)
_SHAPES = ((196, 768, 3072), (1, 1024, 4096), (49, 512, 2048), (1500, 384, 384), (785, 192, 576), (8, 4096, 1024))
"""(m, k, n) of products that are not square."""


def _multiplied(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    if x.element not in (TensorProto.INT8, TensorProto.UINT8):
        return nn.matmul(b, x, y)
    shape = (*x.shape[:-1], y.shape[-1])
    flops = 2 * x.shape[-1] * prod(shape)
    return b.op("MatMulInteger", x, y, shape=shape, element=TensorProto.INT32, flops=flops)


def _left(b: Builder, runtime: str, *shape: int) -> Tensor:
    """The left factor: unsigned where the runtime's fast kernel wants it so."""
    unsigned = b.element == TensorProto.INT8 and runtime == "onnxruntime"
    return b.input(*shape, element=TensorProto.UINT8 if unsigned else None)


def _gemm(b: Builder, runtime: str, m: int, k: int, n: int) -> None:
    b.output(_multiplied(b, _left(b, runtime, m, k), b.weight(k, n)))


def _gemv(b: Builder, runtime: str, n: int) -> None:
    if b.element == TensorProto.INT8:
        b.output(_multiplied(b, _left(b, runtime, 1, n), b.weight(n, n)))
    else:
        b.output(nn.fully_connected(b, b.input(1, n), n, bias=False))


def _vectors(b: Builder, runtime: str, routine: str, n: int) -> None:
    if routine == "dot" and b.element != TensorProto.INT8:
        b.output(b.op("MatMul", b.input(n), b.input(n), shape=(), flops=2 * n))
    elif routine == "dot":
        b.output(_multiplied(b, _left(b, runtime, 1, n), b.input(n, 1)))
    elif routine == "scal":
        b.output(b.op("Mul", b.input(n), b.constant(3, b.element)))
    else:
        b.output(b.op("Add", b.op("Mul", b.input(n), b.constant(3, b.element)), b.input(n)))


def _ger(b: Builder, runtime: str, n: int) -> None:
    if b.element == TensorProto.INT8:
        b.output(_multiplied(b, _left(b, runtime, n, 1), b.input(1, n)))
        return
    operands = b.input(n, 1), b.input(1, n), b.input(n, n)
    b.output(b.op("Gemm", *operands, shape=(n, n), flops=2 * n * n, alpha=1.0, beta=1.0, transA=0, transB=0))


def blas(runtime: str, precision: str, caches: Caches) -> Iterator[Benchmark]:
    """Yield every routine from what the first cache holds to what none does, sizes in turn."""
    if precision not in PRECISIONS.get(runtime, ()):
        return
    levels = [caches.memory_bytes, *(size // 2 for size in caches.sizes)]
    shapes = iter([(n, n, n) for n in _SQUARES])
    for step, working_set in enumerate(levels):
        square = isqrt(elements(working_set, 1, precision)) // 16 * 16 or 16
        for routine in ROUTINES[1:]:
            size = square if routine in ("gemv", "ger") else elements(working_set, 1 + (routine != "scal"), precision)
            recipe = {
                "gemv": partial(_gemv, runtime=runtime, n=size),
                "ger": partial(_ger, runtime=runtime, n=size),
            }.get(routine, partial(_vectors, runtime=runtime, routine=routine, n=size))
            yield Benchmark(f"blas-{routine}-{precision}-{size}", "blas", precision, recipe, (routine,))
        for shape in [next(shapes, None), next(shapes, None), *_SHAPES[2 * step : 2 * step + 2]]:
            if shape is not None:
                yield _product(runtime, precision, shape)
    for shape in [*shapes, *_SHAPES[2 * len(levels) :]]:
        yield _product(runtime, precision, shape)


def _product(runtime: str, precision: str, shape: tuple[int, int, int]) -> Benchmark:
    m, k, n = shape
    name = f"blas-gemm-{precision}-{m}x{k}x{n}"
    return Benchmark(name, "blas", precision, partial(_gemm, runtime=runtime, m=m, k=k, n=n), ("gemm",))

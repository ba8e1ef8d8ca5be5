"""A machine made up for tests: what kernels take there is a formula of its own, to judge by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import exp, log2, prod, tanh
from typing import Any

import numpy as np

from graphs.calibration.estimator import estimator_for, fit
from graphs.calibration.kernel import Kernel
from graphs.calibration.prediction import Estimator
from graphs.calibration.profile import Profile
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Sample, Statistics
from graphs.ir import DType
from graphs.ir.primitives import Conv, Copy, Elementwise, Gemm, Primitive, Softmax, flops
from graphs.targets import load_target

LAUNCH = 2e-6
PROFILER = 1.5e-6
"""Seconds that profiling adds to every node."""

_RATES = {Gemm: 60e9, Conv: 45e9, Elementwise: 4e9, Softmax: 5e9, Copy: 1e12}
_BANDWIDTH = 12e9


def made(name: str, primitive: Primitive, weights: int, read: int, written: int, layout: str = "") -> Kernel:
    """A kernel of one primitive, sizes in elements of four bytes."""
    return Kernel(name, (primitive,), 4 * weights, 4 * read, 4 * written, operator=name, layout=layout)


def gemm(m: int, n: int, k: int, weight: bool = True) -> Kernel:
    """A product with a constant, or of two activations."""
    right = k * n
    primitive = Gemm(m, n, k, DType.F32, weight=weight)
    return made("MatMul", primitive, right * weight, m * k + right * (not weight), m * n)


def conv(channels: int, filters: int, size: int, taps: int = 3, stride: int = 1) -> Kernel:
    """A square convolution that keeps its size, or halves it."""
    out = -(-size // stride)
    primitive = Conv(
        1, channels, filters, (size, size), (out, out), (taps, taps), DType.F32, (stride, stride), (1, 1)
    )  # fmt: skip
    return made("Conv", primitive, filters * channels * taps**2, channels * size**2, filters * out**2, "blocked")


def elementwise(elements: int) -> Kernel:
    """An activation."""
    return made("Relu", Elementwise("relu", elements, DType.F32), 0, elements, elements)


def softmax(rows: int, columns: int) -> Kernel:
    """Softmax over the rows of a matrix."""
    return made("Softmax", Softmax(rows, columns, DType.F32), 0, rows * columns, rows * columns)


def copy(elements: int, run: int) -> Kernel:
    """A transpose."""
    return made("Transpose", Copy(elements, DType.F32, run), 0, elements, elements)


def kernels(random: np.random.Generator, count: int) -> Iterator[Kernel]:
    """So many kernels of each sort, of random sizes, shuffled."""

    def size(low: int, high: int) -> int:
        return round(2 ** random.uniform(log2(low), log2(high)))

    drawn: list[Kernel] = []
    for _ in range(count):
        drawn.append(gemm(size(8, 256), size(32, 512), size(32, 512)))
        drawn.append(conv(16 * size(1, 8), 16 * size(1, 8), size(7, 28), int(random.choice([3, 5])), size(1, 2)))
        drawn.append(elementwise(size(2_000, 200_000)))
        drawn.append(softmax(size(16, 500), size(16, 500)))
        drawn.append(copy(size(2_000, 200_000), size(1, 64)))
    yield from (drawn[i] for i in random.permutation(len(drawn)))


def true_seconds(kernel: Kernel) -> float:
    """What the machine takes: a launch, arithmetic, traffic, and how well this shape suits it."""
    (primitive,) = kernel.primitives
    work = sum(flops(each) / _RATES[type(each)] for each in kernel.primitives)
    runs = primitive.elements / (primitive.run or 1) * 1e-9 if isinstance(primitive, Copy) else 0.0
    return LAUNCH + (work + runs + kernel.bytes / _BANDWIDTH) * exp(_suits(primitive))


def _suits(primitive: Primitive) -> float:
    """Smooth in the sizes, up to a quarter either way."""
    if isinstance(primitive, Gemm):
        return 0.25 * tanh(6 - log2(primitive.k) + 0.3 * log2(primitive.m))
    if isinstance(primitive, Conv):
        return 0.25 * tanh(5 - log2(prod(primitive.out_size)) / 2)
    if isinstance(primitive, Softmax):
        return 0.2 * tanh(log2(primitive.columns) - 7)
    return 0.0


def timed(seconds: float) -> Statistics:
    """Ten timings that agree."""
    return Statistics(10, seconds, seconds, 0.0, seconds, seconds, seconds, seconds)


def sample(
    kernel: Kernel | Sequence[Kernel], seconds: float, source: str = "microbenchmark", model: str = ""
) -> Sample:
    """What was measured of a kernel, or of several together."""
    together = (kernel,) if isinstance(kernel, Kernel) else tuple(kernel)
    return Sample(together, timed(seconds), source, model)


def measured(random: np.random.Generator, kernel: Kernel, noise: float = 0.02) -> float:
    """What somebody reads off the machine."""
    return true_seconds(kernel) * exp(noise * random.standard_normal())


def network(random: np.random.Generator, pool: Sequence[Kernel], count: int) -> list[Kernel]:
    """Some kernels one after another, some of them again."""
    return [pool[i] for i in random.integers(len(pool), size=count)]


def profiled(random: np.random.Generator, name: str, parts: Sequence[Kernel]) -> list[Sample]:
    """A network measured node by node with the profiler, and as a whole without it."""
    nodes = [
        Sample((kernel,), timed(measured(random, kernel, 0.01) + PROFILER), "profile", name, (f"{name}/{i}",))
        for i, kernel in enumerate(parts)
    ]
    return [*nodes, sample(parts, whole(parts) * exp(0.005 * random.standard_normal()), "network", name)]


def whole(parts: Sequence[Kernel]) -> float:
    """What the machine takes for kernels one after another."""
    return sum(map(true_seconds, parts))


# -- measured and fitted -----------------------------------------------------------------------------------------------


@cache
def roofline() -> Roofline:
    """What predictions are held against."""
    return Roofline.of(load_target("amd-epyc-9654:onnxruntime-cpu@1-thread"))


@cache
def measurements() -> tuple[Sample, ...]:
    """Kernels of every sort one by one, and eight networks node by node and as a whole."""
    random = np.random.default_rng(1)
    alone = [sample(kernel, measured(random, kernel) + PROFILER) for kernel in kernels(random, 40)]
    pool = list(kernels(random, 10))
    networks = [profiled(random, f"net{i}", network(random, pool, 30)) for i in range(8)]
    return (*alone, *(row for rows in networks for row in rows))


@cache
def written() -> str:
    """The estimator that they make, as a file has it."""
    return json.dumps(fit(measurements(), roofline()), allow_nan=False)


def evidence(estimator: Mapping[str, Any]) -> Profile:
    """Evidence with nothing in it but an estimator."""
    return Profile(
        "toy", "Toy", "cpu", "FP32", "2026-01-31T12:00:00", "1", {}, estimator=estimator, schema_version="1.1"
    )  # fmt: skip


def read(estimator: Mapping[str, Any]) -> Estimator:
    """The estimator that is made of what was written."""
    return estimator_for(evidence(estimator), roofline())


def held_out(seed: int = 2, count: int = 20) -> list[Kernel]:
    """Kernels that were not measured."""
    return list(kernels(np.random.default_rng(seed), count))

"""What is measured: streams, linear algebra, operators alone, and synthetic networks, as ONNX models.

    for benchmark in suite("onnxruntime", ["fp32"], quick=True):
        model = benchmark.build()

The list is the same at each call. It is ordered so that any beginning of it is a balanced sample: measuring may stop
whenever the time is up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import CalibrationError
from .benchmark import GROUPS, Benchmark, Caches

__all__ = ["FULL_SECONDS", "GROUPS", "PRECISIONS", "QUICK_SECONDS", "RUNTIMES", "Benchmark", "Caches", "suite"]

RUNTIMES = ("onnxruntime", "pytorch")
PRECISIONS = ("fp32", "fp16", "bf16", "fp64", "int8")

QUICK_SECONDS, FULL_SECONDS = 90.0, 780.0
"""What a suite takes, roughly, on one core of a current server."""

_SHARES = {"networks": 0.65, "operators": 0.25, "blas": 0.06, "stream": 0.04}
"""How the time is divided among the groups. Networks have the most: in them kernels run as they do in use."""

_FIRST_PRECISION_WEIGHT = 3.0
_NETWORK_SECONDS = {True: (1e-3, 15e-3), False: (1.5e-3, 60e-3)}
"""From and to how long one run of a network takes, quick or full."""

_WITH_NETWORKS = {"onnxruntime": ("fp32", "fp16"), "pytorch": ("fp32", "fp16", "bf16")}


def suite(
    runtime: str,
    precisions: Sequence[str] = ("fp32",),
    *,
    quick: bool = False,
    caches: Caches | None = None,
    seconds: float | None = None,
) -> list[Benchmark]:
    """Return what is to be measured, most telling first.

    Args:
        runtime: one of :data:`RUNTIMES`: which kernels there are depends on it.
        precisions: some of :data:`PRECISIONS`; the first has more time than each of the others.
        quick: about 90 seconds of measuring instead of 13 minutes.
        caches: the machine's caches, which streams and vectors are sized by.
        seconds: how much to return, as the time that measuring it takes; overrides ``quick``'s.

    Raises:
        CalibrationError: the runtime or a precision is not one of those that there are.
    """
    if runtime not in RUNTIMES:
        raise CalibrationError(f'suite: no runtime "{runtime}"', help=f"there are {', '.join(RUNTIMES)}")
    for precision in precisions:
        if precision not in PRECISIONS:
            raise CalibrationError(f'suite: no precision "{precision}"', help=f"there are {', '.join(PRECISIONS)}")
    budget = seconds if seconds is not None else QUICK_SECONDS if quick else FULL_SECONDS
    return _merged(_queues(runtime, tuple(dict.fromkeys(precisions)), quick, caches or Caches(), budget))


@dataclass(slots=True)
class _Queue:
    """Benchmarks of one group and precision, and how much time they may have."""

    benchmarks: Iterator[Benchmark]
    allotted: float
    spent: float = 0.0


def _queues(runtime: str, precisions: Sequence[str], quick: bool, caches: Caches, budget: float) -> Iterator[_Queue]:
    from .blas import blas
    from .networks import networks
    from .operators import operators
    from .stream import streams

    weights = {precision: 1.0 if i else _FIRST_PRECISION_WEIGHT for i, precision in enumerate(precisions)}
    for precision, weight in weights.items():
        seconds = budget * weight / sum(weights.values())
        finite = {"blas": list(blas(runtime, precision, caches)), "stream": list(streams(runtime, precision, caches))}
        spared = 0.0
        for group, benchmarks in finite.items():
            allotted = seconds * _SHARES[group]
            spared += max(0.0, allotted - sum(benchmark.seconds for benchmark in benchmarks))
            yield _Queue(iter(benchmarks), allotted)
        yield _Queue(operators(runtime, precision), seconds * _SHARES["operators"])
        if precision in _WITH_NETWORKS[runtime]:
            made = networks(precision, *_NETWORK_SECONDS[quick])
            yield _Queue(made, seconds * _SHARES["networks"] + spared)


def _merged(queues: Iterable[_Queue]) -> list[Benchmark]:
    """Take from each queue in turn, always from the one that has had the least of what is allotted to it."""
    chosen: list[Benchmark] = []
    open_ = list(queues)
    while open_:
        queue = min(open_, key=lambda queue: queue.spent / queue.allotted)
        benchmark = next(queue.benchmarks, None)
        if benchmark is None or queue.spent >= queue.allotted:
            open_.remove(queue)
        else:
            queue.spent += benchmark.seconds
            chosen.append(benchmark)
    return chosen

"""From samples to what is fitted: times without what the profiler adds, each network's parts in tune with its whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from .kernel import Kernel
from .rates import Timing
from .sample import Sample

__all__ = ["networks_of", "timings_of"]

_LARGEST_OVERHEAD = 3e-6
_LEAST_LEFT = 0.4
_MOST_SCALED = 0.05
_ENOUGH = 5
_NETWORK_WEIGHT = 3.0
"""A kernel of a real network counts as much as three microbenchmarks: it is what predictions are for."""


def timings_of(samples: Sequence[Sample]) -> list[Timing]:
    """Return what to fit: every sample of kernels, and networks of which only the whole was measured.

    Profiling lengthens every node by a microsecond or two. Where the whole network was timed without the profiler too,
    the difference, spread evenly over the nodes, is taken off; of what remains, up to 5 % are scaled away.
    """
    parts: dict[str, list[Sample]] = defaultdict(list)
    wholes: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        (wholes if sample.source == "network" else parts)[sample.model].append(sample)
    overheads = {
        model: _overhead(rows, wholes[model])
        for model, rows in parts.items()
        if model in wholes and rows[0].source in ("profile", "microbenchmark")
    }
    usual = median(overheads.values()) if overheads else 0.0
    timings: list[Timing] = []
    for model, rows in parts.items():
        if rows[0].source not in ("profile", "microbenchmark"):
            timings += [Timing(row.kernels, row.seconds.median) for row in rows]
            continue
        timings += _tuned(rows, overheads.get(model, usual), wholes.get(model, ()))
    timings += [
        Timing(row.kernels, row.seconds.median, _NETWORK_WEIGHT)
        for model, rows in wholes.items()
        if model not in parts
        for row in rows
    ]
    return timings


def networks_of(samples: Sequence[Sample]) -> Mapping[str, tuple[Sequence[Kernel], float]]:
    """Return the kernels and the seconds of each network that was measured as a whole.

    Real ones, where there are enough to learn from; else the synthetic ones of the microbenchmarks.
    """
    wholes: dict[str, list[Sample]] = defaultdict(list)
    real = {sample.model for sample in samples if sample.source == "profile"}
    for sample in samples:
        if sample.source == "network" and len(sample.kernels) > 1:
            wholes[sample.model].append(sample)
    chosen = {model: rows for model, rows in wholes.items() if model in real}
    if len(chosen) < _ENOUGH:
        chosen = dict(wholes)
    return {model: (rows[0].kernels, median(row.seconds.median for row in rows)) for model, rows in chosen.items()}


def _overhead(rows: Sequence[Sample], wholes: Sequence[Sample]) -> float:
    """Seconds that profiling adds to each node."""
    profiled, plain = sum(row.seconds.median for row in rows), median(row.seconds.median for row in wholes)
    return min(_LARGEST_OVERHEAD, max(0.0, (profiled - plain) / len(rows)))


def _tuned(rows: Sequence[Sample], overhead: float, wholes: Sequence[Sample]) -> list[Timing]:
    weight = _NETWORK_WEIGHT if rows[0].source == "profile" else 1.0
    times = [max(row.seconds.median - overhead, _LEAST_LEFT * row.seconds.median) for row in rows]
    scale = 1.0
    if wholes:
        whole = median(row.seconds.median for row in wholes)
        scale = min(1 + _MOST_SCALED, max(1 - _MOST_SCALED, whole / sum(times)))
    return [Timing(row.kernels, seconds * scale, weight) for row, seconds in zip(rows, times, strict=True)]

"""From samples to what is fitted: times without what the profiler adds, each network's parts in tune with its whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import fsum
from statistics import median

from .errors import CalibrationError
from .kernel import Kernel
from .rates import Timing
from .sample import Sample

__all__ = ["networks_of", "timings_of"]

_SHORTEST, _LONGEST = 1e-9, 1e6
"""Seconds that a kernel may have taken: from a few clock cycles to eleven days."""

_PROFILED = ("profile", "microbenchmark")
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

    Raises:
        CalibrationError: a time is none that a kernel can have taken.
    """
    parts: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    wholes: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        _check(sample)
        if sample.source == "network":
            wholes[sample.model].append(sample)
        else:
            parts[sample.model, sample.source].append(sample)
    overheads = {
        key: _overhead(rows, wholes[key[0]])
        for key, rows in parts.items()
        if key[0] and key[0] in wholes and key[1] in _PROFILED
    }
    usual = median(overheads.values()) if overheads else 0.0
    timings: list[Timing] = []
    for key, rows in parts.items():
        if key[1] not in _PROFILED:
            timings += [Timing(row.kernels, row.seconds.median, error=row.seconds.relative_error) for row in rows]
            continue
        timings += _tuned(rows, overheads.get(key, usual), wholes[key[0]] if key in overheads else ())
    in_parts = {model for model, _ in parts if model}
    timings += [
        Timing(row.kernels, row.seconds.median, _NETWORK_WEIGHT, row.seconds.relative_error)
        for model, rows in wholes.items()
        if model not in in_parts
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
        if sample.source == "network" and sample.model and len(sample.kernels) > 1:
            wholes[sample.model].append(sample)
    chosen = {model: rows for model, rows in wholes.items() if model in real}
    if len(chosen) < _ENOUGH:
        chosen = dict(wholes)
    return {model: _commonest(rows) for model, rows in chosen.items()}


def _commonest(rows: Sequence[Sample]) -> tuple[Sequence[Kernel], float]:
    """The kernels and the time of what was measured most often under one name: networks come in several sizes."""
    variants: dict[tuple[Kernel, ...], list[float]] = defaultdict(list)
    for row in rows:
        variants[row.kernels].append(row.seconds.median)
    kernels, times = max(variants.items(), key=lambda each: (len(each[1]), median(each[1])))
    return kernels, median(times)


def _overhead(rows: Sequence[Sample], wholes: Sequence[Sample]) -> float:
    """Seconds that profiling adds to each node."""
    profiled, plain = _each(rows), median(row.seconds.median for row in wholes)
    return min(_LARGEST_OVERHEAD, max(0.0, (fsum(profiled) - plain) / len(profiled)))


def _each(rows: Sequence[Sample]) -> list[float]:
    """The time of each node; of one that was measured in several runs the median."""
    runs: dict[object, list[float]] = defaultdict(list)
    for place, row in enumerate(rows):
        runs[row.nodes or place].append(row.seconds.median)
    return [median(times) for times in runs.values()]


def _check(sample: Sample) -> None:
    if not _SHORTEST <= sample.seconds.median <= _LONGEST:
        raise CalibrationError(
            f"sample of {sample.model or 'no model'}: no kernel takes {sample.seconds.median} s",
            help="take the sample out, or measure it again",
        )


def _tuned(rows: Sequence[Sample], overhead: float, wholes: Sequence[Sample]) -> list[Timing]:
    weight = _NETWORK_WEIGHT if rows[0].source == "profile" else 1.0
    scale = 1.0
    if wholes:
        whole = median(row.seconds.median for row in wholes)
        left = fsum(_without(overhead, seconds) for seconds in _each(rows))
        scale = min(1 + _MOST_SCALED, max(1 - _MOST_SCALED, whole / left))
    return [
        Timing(row.kernels, _without(overhead, row.seconds.median) * scale, weight, row.seconds.relative_error)
        for row in rows
    ]


def _without(overhead: float, seconds: float) -> float:
    return max(seconds - overhead, _LEAST_LEFT * seconds)

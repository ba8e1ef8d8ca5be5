"""What curves are fitted to: one size and one efficiency for each kernel measured, in bins of size.

Bins are half-decades (1M to 3M, 3M to 10M, …). In each, observations are pooled across models: the variance of kernels
is the variance within each model plus that between the models' means, and since kernels of one model resemble each
other, the standard error of the pooled mean counts kernels for the one part and models for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import exp, floor, fsum, inf, log, log10, sqrt

from .curve import DataPoint
from .errors import CalibrationError
from .roofline import Roofline
from .sample import Sample

__all__ = ["Observation", "bin_of", "data_points", "observations_of", "pooled_variance"]

_STEPS = (0.0, log10(3.0))
_SUBGRAPHS_NAMED = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """One kernel's time: ``size`` in FLOPs (or bytes), mean ``seconds`` and their ``std`` over ``n`` timings."""

    operation_type: str
    size: float
    seconds: float
    std: float = 0.0
    n: int = 1
    model: str = ""
    subgraph: str = ""

    def __post_init__(self) -> None:
        if not (0.0 < self.size < inf and 0.0 < self.seconds < inf):
            raise CalibrationError(f"{self.model or self.subgraph or self.operation_type}: {self.size!r} in "
                                   f"{self.seconds!r} s: expected a size and a time above zero")  # fmt: skip
        if not 0.0 <= self.std < inf or self.n < 1:
            raise CalibrationError(f"{self.model or self.operation_type}: spread {self.std!r} s of {self.n} timings: "
                                   "expected at least zero, and at least one timing")  # fmt: skip

    def efficiency(self, peak: float) -> float:
        """Size / (seconds × peak)."""
        return self.size / (self.seconds * peak)

    def variance(self, peak: float) -> float:
        """The variance of the efficiency that the timings' spread makes: its relative spread, squared."""
        return (self.efficiency(peak) * self.std / self.seconds) ** 2


def observations_of(
    samples: Iterable[Sample], roofline: Roofline
) -> tuple[tuple[Observation, ...], tuple[Observation, ...]]:
    """Return the samples of single kernels as observations over FLOPs, and over bytes.

    A kernel that does arithmetic is an observation over FLOPs, whatever bounds it; one whose traffic takes longer than
    its arithmetic at full efficiency is one over bytes as well.
    """
    compute: list[Observation] = []
    memory: list[Observation] = []
    for sample in samples:
        if len(sample.kernels) != 1:
            continue
        kernel, seconds = sample.kernels[0], sample.seconds
        rest = (seconds.mean, seconds.std, seconds.n, sample.model, kernel.pattern)
        bounds = roofline.bounds(kernel)
        if kernel.flops and bounds.compute_seconds:
            compute.append(Observation(kernel.operation_type, kernel.flops, *rest))
        if kernel.bytes and bounds.memory_seconds >= bounds.compute_seconds:
            memory.append(Observation(kernel.operation_type, kernel.bytes, *rest))
    return tuple(compute), tuple(memory)


def bin_of(size: float) -> tuple[int, int]:
    """Return the half-decade that a size lies in: (6, 0) is 1M to 3M, (6, 1) is 3M to 10M."""
    decade = floor(log10(size))
    return decade, 1 if log10(size) - decade >= _STEPS[1] - 1e-12 else 0


def pooled_variance(groups: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return (mean, variance within, variance between) of values in groups.

    With n_g values in group g, N in all, means m_g and m: within = Σ (n_g - 1)·s_g² / (N - 1) and
    between = Σ n_g·(m_g - m)² / (N - 1), which add up to the variance of all values taken together.
    """
    values = [value for group in groups for value in group]
    mean = fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0, 0.0
    within = between = 0.0
    for group in groups:
        own = fsum(group) / len(group)
        within += fsum((value - own) ** 2 for value in group)
        between += len(group) * (own - mean) ** 2
    return mean, within / (len(values) - 1), between / (len(values) - 1)


def data_points(observations: Sequence[Observation], peak: float) -> tuple[DataPoint, ...]:
    """Return the data points of one operation type, one for each bin that holds observations, sizes rising."""
    ordered = sorted(observations, key=lambda row: (row.size, row.model, row.subgraph, row.seconds))
    return tuple(_point(list(rows), peak) for _, rows in groupby(ordered, key=lambda row: bin_of(row.size)))


def _point(rows: list[Observation], peak: float) -> DataPoint:
    models = sorted({row.model for row in rows})
    groups = [[row.efficiency(peak) for row in rows if row.model == model] for model in models]
    mean, within, between = pooled_variance(groups)
    noise = fsum(row.variance(peak) for row in rows) / len(rows)
    error = sqrt((within + noise) / len(rows) + between / len(models))
    reach = _student(len(rows) - 1) * error
    values = [value for group in groups for value in group]
    return DataPoint(
        float(f"{exp(fsum(log(row.size) for row in rows) / len(rows)):.12g}"),
        mean,
        sqrt(within + between + noise),
        min(values),
        max(values),
        mean - reach,
        mean + reach,
        len(rows),
        "measured",
        tuple(sorted({row.subgraph for row in rows if row.subgraph}))[:_SUBGRAPHS_NAMED],
        tuple(model for model in models if model),
        sum(row.n for row in rows),
    )


def _student(freedom: int) -> float:
    """How many standard errors either way hold 95 %; with a single observation its timings' spread is all there is."""
    from scipy.stats import norm, t

    return float(t.ppf(0.975, freedom) if freedom else norm.ppf(0.975))

"""What a machine takes for each amount of work: non-negative rates, fitted to measured times.

Time is linear in the amounts (:mod:`graphs.calibration.amounts`), so a sample of several kernels is as good an
observation as one of a single kernel: its amounts are the sum. Rates are found for all kernels together, then for each
family by itself with the common ones as prior, so that a family of few samples stays near what others say and one of
many goes its own way.

The fit minimises relative errors, robustly: weighted non-negative least squares (Lawson and Hanson) on
amount / seconds, reweighted (Huber) with the scale of the median absolute residual.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from .amounts import amounts, family, kind_of, refines, wider_family
from .kernel import Kernel, rank
from .processor import Processor

__all__ = ["Rates", "Timing", "fit_rates", "seconds_at"]

Floats = NDArray[np.float64]
Rate = dict[str, float]

_RIDGE = 0.02
_FEWEST = 8
_ROUNDS = 6
_LEAST_RIDGE = 1e-12
_HUBER = 1.5
_SMALLEST_SCALE = 0.02
_COUNTED_ONCE, _LEAST_COUNTED, _MOST_COUNTED = 1e-4, 0.02, 10.0
_LEAST_SPREAD = 1.0
_SHORTEST, _LONGEST = 2e-7, 1e9
"""No kernel is predicted shorter than this: a fifth of a microsecond is a function call; or longer than 30 years."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Kernels that took ``seconds`` together, how much that counts for, and the standard error as a share of it."""

    kernels: tuple[Kernel, ...]
    seconds: float
    weight: float = 1.0
    error: float = 0.0


@dataclass(frozen=True)
class Rates:
    """Seconds for each amount: of a family's kernels where it was measured, else of all kernels.

    A function that nobody measured (``window cubic``) is taken to be like the others of its kind.
    """

    processor: Processor
    common: Mapping[str, float]
    families: Mapping[str, Mapping[str, float]]

    def seconds(self, kernel: Kernel) -> float:
        """Return a kernel's time, which is at least 0.2 µs."""
        return seconds_at(self._of(kernel), amounts(kernel, self.processor)) + sum(self._guesses(kernel).values())

    def complete(self, kernel: Kernel) -> bool:
        """Whether each amount of a kernel's work was measured somewhere."""
        rates = self._of(kernel)
        return all(name in rates or refines(name) for name in amounts(kernel, self.processor))

    def guess_std(self, kernel: Kernel) -> float:
        """Return the standard deviation, in seconds, of the time for functions that nobody measured."""
        guesses = self._guesses(kernel)
        return math.hypot(*(seconds * self._kinds[kind_of(name)].spread for name, seconds in guesses.items()))

    def _of(self, kernel: Kernel) -> Mapping[str, float]:
        name = family(kernel)
        return self.families.get(name) or self.families.get(wider_family(name), self.common)

    def _guesses(self, kernel: Kernel) -> dict[str, float]:
        """Seconds for functions that nobody measured, at the typical rate of their kind."""
        if self.complete(kernel):
            return {}
        rates = self._of(kernel)
        return {
            name: min(amount * self._kinds[kind_of(name)].rate, _LONGEST)
            for name, amount in amounts(kernel, self.processor).items()
            if name not in rates and kind_of(name) in self._kinds
        }

    @cached_property
    def _kinds(self) -> Mapping[str, _Typical]:
        """The typical rate of functions of one kind."""
        rates: dict[str, list[float]] = defaultdict(list)
        for name, rate in self.common.items():
            if rate and kind_of(name):
                rates[kind_of(name)].append(rate)
        return {kind: _Typical.of(each) for kind, each in rates.items()}

    def know(self, kernel: Kernel) -> bool:
        """Whether the main part of a kernel's work, beyond its launch and its traffic, was measured anywhere."""
        if {family(kernel), wider_family(family(kernel))} & self.families.keys():
            return True
        names = [name for name in amounts(kernel, self.processor) if not name.startswith(("bytes", "launch"))]
        return any(name in self.common for name in names)


@dataclass(frozen=True, slots=True)
class _Typical:
    """The median of rates, and the standard deviation of their logarithms: how far off it is for another one."""

    rate: float
    spread: float

    @staticmethod
    def of(rates: Sequence[float]) -> _Typical:
        return _Typical(median(rates), max(_LEAST_SPREAD, float(np.std(np.log(rates)))))


def seconds_at(rates: Mapping[str, float], work: Mapping[str, float]) -> float:
    """Return the time of amounts of work at given rates."""
    found = sum(amount * rates.get(name, 0.0) for name, amount in work.items())
    return min(max(found, _SHORTEST), _LONGEST)


def fit_rates(timings: Sequence[Timing], processor: Processor) -> Rates:
    """Return the rates that predict ``timings`` best."""
    merged = _merged(timings)
    common = _fit(merged, {}, processor)
    by_family: dict[str, list[Timing]] = defaultdict(list)
    for timing in merged:
        if len({family(kernel) for kernel in timing.kernels}) == 1:
            by_family[family(timing.kernels[0])].append(timing)
    families = {
        name: {**common, **_fit(rows, common, processor)}
        for name, rows in sorted(by_family.items())
        if len(rows) >= _FEWEST
    }
    return Rates(processor, common, families)


def _merged(timings: Sequence[Timing]) -> list[Timing]:
    """One timing for each group of kernels, in an order that is always the same: the median of its own."""
    same: dict[tuple[Kernel, ...], list[Timing]] = defaultdict(list)
    for timing in timings:
        same[timing.kernels].append(timing)
    return [
        _counted(kernels, median(row.seconds for row in rows), sum(row.weight for row in rows) ** 0.5)
        for kernels, rows in sorted(same.items(), key=lambda each: [rank(kernel) for kernel in each[0]])
    ]


def _counted(kernels: tuple[Kernel, ...], seconds: float, weight: float) -> Timing:
    """What takes long counts for more, up to 3 times what takes 0.1 ms: sums of times are what predictions are for."""
    return Timing(kernels, seconds, weight * min(_MOST_COUNTED, max(_LEAST_COUNTED, seconds / _COUNTED_ONCE)) ** 0.5)


def _fit(timings: Sequence[Timing], prior: Mapping[str, float], processor: Processor) -> Rate:
    from scipy.optimize import nnls

    table, names = _table(timings, processor)
    if not names:
        return {}
    ridge = _RIDGE * np.sqrt(len(timings)) * np.minimum(np.sqrt((table**2).mean(axis=0)), 1.0)
    held = np.sqrt(ridge**2 + _LEAST_RIDGE)
    drawn = ridge**2 / held * np.array([prior.get(name, 0.0) / _UNIT for name in names])
    weights = np.sqrt(np.array([timing.weight for timing in timings]))
    base = weights.copy()
    rates = np.zeros(len(names))
    for _ in range(_ROUNDS):
        measured, drawing = np.column_stack([table, np.ones(len(table))]), np.column_stack([np.diag(held), drawn])
        triangle = np.asarray(np.linalg.qr(np.vstack([measured * weights[:, None], drawing]), mode="r"))[: len(names)]
        rates, _ = nnls(triangle[:, :-1], triangle[:, -1], maxiter=80 * len(names))
        weights = base * _robust(table @ rates)
    return {name: float(rate) * _UNIT for name, rate in zip(names, rates, strict=True)}


_UNIT = 1e-6
"""Rates are fitted in microseconds for a thousand, near one, which keeps the equations well conditioned."""


def _table(timings: Sequence[Timing], processor: Processor) -> tuple[Floats, list[str]]:
    """Amounts over measured time, timings × names: a row times the rates is predicted over measured."""
    rows = []
    for timing in timings:
        total: Rate = {}
        for kernel in timing.kernels:
            for name, amount in amounts(kernel, processor).items():
                total[name] = total.get(name, 0.0) + amount
        rows.append(total)
    names = sorted({name for row in rows for name in row})
    place = {name: index for index, name in enumerate(names)}
    table = np.zeros((len(rows), len(names)))
    for index, (row, timing) in enumerate(zip(rows, timings, strict=True)):
        for name, amount in row.items():
            table[index, place[name]] = amount * _UNIT / timing.seconds
    return table, names


def _robust(ratios: Floats) -> Floats:
    """Weights by how far predicted over measured is from one: Huber's, and none too much for what is far too long."""
    off = np.log(np.maximum(ratios, 1e-3))
    scale = max(1.4826 * float(np.median(np.abs(off))), _SMALLEST_SCALE)
    huber = 1 / np.sqrt(np.maximum(1.0, np.abs(off) / (_HUBER * scale)))
    return np.asarray(huber / np.sqrt(np.maximum(ratios, 1.0)))

"""Statistics of repeated timings, sound where a machine's interruptions make single runs slow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from ..errors import CalibrationError
from ..sample import Statistics

__all__ = ["half_width", "precise_enough", "repeat", "statistics", "total"]

_LEVEL = 0.95
_FEWEST = 6
"""Below six values even the smallest and the largest do not bracket the median with 95 % probability."""


def statistics(seconds: Iterable[float]) -> Statistics:
    """Return the distribution of measured times.

    The interval of the median is that of order statistics: how many of n values lie below the median is binomial with
    p = 1/2, whatever the distribution, so that outliers cannot move it. With fewer than six values it is the range.

    Raises:
        CalibrationError: there is no value, or one that is not a positive, finite time.
    """
    ordered = sorted(checked(value) for value in seconds)
    n = len(ordered)
    if n == 0:
        raise CalibrationError("statistics of no measurement at all")
    mean = math.fsum(ordered) / n
    spread = math.fsum((value - mean) ** 2 for value in ordered)
    low = _rank(n)
    return Statistics(
        n=n,
        median=_median(ordered),
        mean=min(max(mean, ordered[0]), ordered[-1]),
        std=math.sqrt(spread / (n - 1)) if n > 1 else 0.0,
        minimum=ordered[0],
        maximum=ordered[-1],
        ci_low=ordered[low],
        ci_high=ordered[n - 1 - low],
    )


def checked(seconds: float) -> float:
    """Return a time that can have been measured.

    Raises:
        CalibrationError: it is zero, negative, infinite or not a number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise CalibrationError(f"a measured time must be positive and finite, not {seconds!r}")
    return float(seconds)


def total(parts: Sequence[Sequence[float]]) -> Statistics:
    """Return the statistics of several kernels' summed time, ``parts[kernel][run]``.

    The median is the sum of the parts' medians, so that time shared out among kernels adds up again; the interval is
    that of the runs' sums, moved with it.
    """
    sums = statistics(map(math.fsum, zip(*parts, strict=True)))
    median = math.fsum(statistics(part).median for part in parts)
    shift = median - sums.median
    return Statistics(
        n=sums.n,
        median=median,
        mean=sums.mean,
        std=sums.std,
        minimum=min(sums.minimum, median),
        maximum=max(sums.maximum, median),
        ci_low=min(max(sums.ci_low + shift, 0.0), median),
        ci_high=sums.ci_high + shift,
    )


def half_width(stats: Statistics) -> float:
    """Half the median's 95 % interval as a share of the median; infinite where there are too few values to tell."""
    return (stats.ci_high - stats.ci_low) / 2 / stats.median if stats.n >= _FEWEST else math.inf


def precise_enough(stats: Statistics, share: float = 0.03) -> bool:
    """Whether the half-width of the median's 95 % interval is below ``share`` of the median."""
    return half_width(stats) < share


def repeat(
    run: Callable[[], float],
    clock: Callable[[], float],
    deadline: float,
    share: float = 0.03,
    fewest: int = 7,
    most: int = 1000,
) -> list[float]:
    """Time ``run`` until the median is known to ``share``, ``clock()`` has passed ``deadline`` or ``most`` are taken.

    At least one time is taken. How often to go on before looking again grows with what there is, so that looking costs
    little and chance does not stop it early.
    """
    times: list[float] = []
    look = fewest
    while len(times) < most:
        times.append(run())
        if clock() >= deadline:
            break
        if len(times) >= look:
            if precise_enough(statistics(times), share):
                break
            look = len(times) + max(1, len(times) // 4)
    return times


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@cache
def _rank(n: int) -> int:
    """The largest r such that values r and n-1-r of n ordered ones bracket the median with 95 % probability, else 0.

    The probability is 1 - 2 P(X <= r) for X binomial(n, 1/2).
    """
    if n > 500:  # normal approximation with its continuity correction: within one rank of the exact one
        return max(0, math.floor((n - 1.959964 * math.sqrt(n)) / 2 - 0.5))
    allowed = (1 - _LEVEL) / 2 * 2**n
    below, term, rank = 0, 1, 0
    while below + term <= allowed:
        below += term
        term = term * (n - rank) // (rank + 1)
        rank += 1
    return max(0, rank - 1)

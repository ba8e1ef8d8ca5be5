"""Sums with intervals: errors of one class of kernels are correlated, and that counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..calibration.prediction import NORMAL_95

__all__ = ["Sum", "correlated_sum"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Seconds of kernels one after another, with the 95 % interval."""

    seconds: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval, in seconds."""
        return (self.high - self.low) / 2

    @property
    def std(self) -> float:
        """Standard deviation: that of the normal distribution whose 95 % interval is as wide."""
        return self.half_width / NORMAL_95


def correlated_sum(rows: Iterable[tuple[str, float, float, float]]) -> Sum:
    """Return the sum of (class, seconds, low, high): deviations add within a class, in quadrature between classes."""
    total = 0.0
    below: dict[str, float] = {}
    above: dict[str, float] = {}
    for name, seconds, low, high in rows:
        total += seconds
        below[name] = below.get(name, 0.0) + seconds - low
        above[name] = above.get(name, 0.0) + high - seconds
    down = sum(step * step for step in below.values()) ** 0.5
    up = sum(step * step for step in above.values()) ** 0.5
    return Sum(total, max(total - down, 0.0), total + up)

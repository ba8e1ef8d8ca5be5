"""How kernels' times add up, and how sure the sum is: errors of one kind are correlated, and that counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..calibration.kernel import Kernel
from ..calibration.prediction import NORMAL_95, Confidence, Estimator, Quality
from ..ir import Graph
from .calibrate import kernel_of
from .cost import Cost

__all__ = ["Costed", "Sum", "confidence_of", "correlated_sum", "costed_kernels", "sum_of"]

_COUNTS = 0.1
"""The share of the time from which on a sum is no surer than what that share stands on."""


@dataclass(frozen=True, slots=True)
class Costed:
    """A kernel's cost; ``kernel`` is what an estimator calls it, ``None`` where it was not measured."""

    cost: Cost
    kernel: Kernel | None


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


def costed_kernels(graph: Graph) -> list[Costed]:
    """Return the cost of every kernel that has one, in graph order."""
    return [
        Costed(cost, kernel_of(op, graph) if _is_measured(cost) else None)
        for op in graph.body
        if (cost := op.facts.get(Cost))
    ]


def _is_measured(cost: Cost) -> bool:
    return cost.quality is not None and cost.quality is not Quality.MISSING


def sum_of(costed: Sequence[Costed], estimator: Estimator | None) -> Sum:
    """Return the sum of kernels' times.

    The estimator knows how the errors of kernels that it predicted hang together. Those of first-principles kernels of
    one class come from the same efficiency and are taken as fully correlated. The former and the latter, and different
    classes, are taken as independent.
    """
    measured = [one.kernel for one in costed if one.kernel is not None]
    rows = [_row(one.cost) for one in costed if one.kernel is None or estimator is None]
    if estimator is not None and measured:
        total = estimator.total(measured)
        rows.append(("measured", total.seconds, total.low, total.high))
    return correlated_sum(rows)


def _row(cost: Cost) -> tuple[str, float, float, float]:
    return f"class {cost.work_class}", cost.seconds, cost.low, cost.high


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


def confidence_of(costed: Iterable[Costed]) -> Confidence:
    """Return what the sum can claim: the least sure ground on which more than a tenth of the time stands."""
    seconds: dict[str, float] = {}
    for one in costed:
        seconds[one.cost.confidence] = seconds.get(one.cost.confidence, 0.0) + one.cost.seconds
    whole = sum(seconds.values())
    worse = 0.0
    for confidence in (Confidence.THEORETICAL, Confidence.INTERPOLATED):
        worse += seconds.get(confidence.name, 0.0)
        if worse > _COUNTS * whole:
            return confidence
    return Confidence.CALIBRATED if whole else Confidence.THEORETICAL

"""How kernels' times add up, and how sure the sum is: errors of one kind are correlated, and that counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..calibration.kernel import Kernel
from ..calibration.prediction import Confidence, Estimator, Quality
from ..ir import Graph
from .bodies import launches
from .calibrate import kernel_of
from .cost import Cost
from .intervals import Sum, correlated_sum

__all__ = ["Costed", "confidence_of", "costed_kernels", "sum_of"]

_COUNTS = 0.1
"""The share of the time from which on a sum is no surer than what that share stands on."""


@dataclass(frozen=True, slots=True)
class Costed:
    """A kernel's cost each time; ``kernel`` is what an estimator calls it, ``None`` where it was not measured.

    ``times`` is how often it is launched in one inference: its error is the same each time.
    """

    cost: Cost
    kernel: Kernel | None
    times: int = 1

    @property
    def seconds(self) -> float:
        """All launches one after another."""
        return self.times * self.cost.seconds


def costed_kernels(graph: Graph) -> list[Costed]:
    """Return the cost of every kernel that has one, in graph order, those of bodies included."""
    return [
        Costed(cost.beside or cost, kernel_of(launch.op, launch.scope) if _is_measured(cost) else None, launch.times)
        for launch in launches(graph)
        if (cost := launch.op.facts.get(Cost))
    ]


def _is_measured(cost: Cost) -> bool:
    return cost.quality is not None and cost.quality is not Quality.MISSING


def sum_of(costed: Sequence[Costed], estimator: Estimator | None) -> Sum:
    """Return the sum of kernels' times.

    The estimator knows how the errors of kernels that it predicted hang together. Those of first-principles kernels of
    one class come from the same efficiency and are taken as fully correlated. The former and the latter, and different
    classes, are taken as independent.
    """
    measured = [one.kernel for one in costed if one.kernel is not None and one.times == 1]
    rows = [_row(one) for one in costed if one.kernel is None or one.times != 1 or estimator is None]
    if estimator is not None and measured:
        total = estimator.total(measured)
        rows.append(("measured", total.seconds, total.low, total.high))
    return correlated_sum(rows)


def _row(one: Costed) -> tuple[str, float, float, float]:
    return f"class {one.cost.work_class}", one.seconds, one.times * one.cost.low, one.times * one.cost.high


def confidence_of(costed: Iterable[Costed]) -> Confidence:
    """Return what the sum can claim: the least sure ground on which more than a tenth of the time stands."""
    seconds: dict[str, float] = {}
    for one in costed:
        seconds[one.cost.confidence] = seconds.get(one.cost.confidence, 0.0) + one.seconds
    whole = sum(seconds.values())
    worse = 0.0
    for confidence in (Confidence.THEORETICAL, Confidence.INTERPOLATED):
        worse += seconds.get(confidence.name, 0.0)
        if worse > _COUNTS * whole:
            return confidence
    return Confidence.CALIBRATED if whole else Confidence.THEORETICAL

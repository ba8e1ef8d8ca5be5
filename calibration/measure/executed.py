"""What a runtime executed: its nodes in order, with the times of each run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..sample import Statistics
from .statistics import statistics

__all__ = ["Executed", "ExecutedNode", "spread"]


@dataclass(frozen=True, slots=True)
class ExecutedNode:
    """A node of the graph that a runtime executed; ``seconds`` has one time for each run.

    ``inputs`` and ``outputs`` are names of values, constants left out. A ``view`` is known to compute nothing.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: tuple[float, ...]
    view: bool = False

    @property
    def statistics(self) -> Statistics:
        """The distribution of its times."""
        return statistics(self.seconds)


@dataclass(frozen=True, slots=True)
class Executed:
    """A model's execution: its nodes, and the times from call to return of runs without a profiler."""

    nodes: tuple[ExecutedNode, ...]
    end_to_end: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The sum of the nodes' median times."""
        return sum(node.statistics.median for node in self.nodes)


def spread(whole: Sequence[int], unit: float = 1e-6) -> tuple[float, ...]:
    """Return times that a profile gave in whole units, rounded down, as times spread evenly within those units.

    A profile in microseconds calls everything between 3 and 4 a 3. Equal entries are spread over their unit in the
    order of the runs: the median then is the grouped median, short kernels are not counted as nothing, and no time is
    half a microsecond too short on average.
    """
    count = _count(whole)
    seen: dict[int, int] = {}
    times = []
    for value in whole:
        seen[value] = seen.get(value, 0) + 1
        times.append((value + (seen[value] - 0.5) / count[value]) * unit)
    return tuple(times)


def _count(values: Iterable[int]) -> dict[int, int]:
    count: dict[int, int] = {}
    for value in values:
        count[value] = count.get(value, 0) + 1
    return count

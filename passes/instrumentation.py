"""What the pass manager does around each pass: time it, print the graph, verify it, count. Passes do none of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from ..ir import Graph, print_graph, verify
from .base import Context, Pass

__all__ = ["Instrumentation", "PassStatistics", "Printing", "Selection", "Statistics", "Timing", "Verification"]


class Instrumentation:
    """Base of all instrumentations; each hook does nothing unless it is overridden."""

    def before_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        """Called before a pass runs."""

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        """Called after a pass has run, in the reverse order of the instrumentations."""

    def pass_failed(self, step: Pass, graph: Graph, context: Context, error: Exception) -> None:
        """Called instead of :meth:`after_pass` when a pass raised; what it left of the graph may be invalid."""


class Verification(Instrumentation):
    """Proves after every pass that it left a well-formed graph."""

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        verify(graph)


class Timing(Instrumentation):
    """Measures each pass. ``seconds`` lists the passes in the order they ran."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []
        self._started = 0.0

    def before_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        self._started = perf_counter()

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        self.seconds.append((step.name, perf_counter() - self._started))

    def pass_failed(self, step: Pass, graph: Graph, context: Context, error: Exception) -> None:
        self.after_pass(step, graph, context)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which passes are meant: all, or those named."""

    names: frozenset[str] = frozenset()
    every: bool = False

    def __contains__(self, step: Pass) -> bool:
        return self.every or step.name in self.names


class Printing(Instrumentation):
    """Hands the graph's text to ``write`` before and after the passes selected, under a headline that is a comment."""

    def __init__(self, write: Callable[[str], object], before: Selection, after: Selection) -> None:
        self._write = write
        self._before = before
        self._after = after

    def before_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        if step in self._before:
            self._write(f"// ----- IR before {step.name} -----\n{print_graph(graph)}")

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        if step in self._after:
            self._write(f"// ----- IR after {step.name} -----\n{print_graph(graph)}")

    def pass_failed(self, step: Pass, graph: Graph, context: Context, error: Exception) -> None:
        if step in self._after:
            self._write(f"// ----- {step.name} failed, and the graph may be broken -----\n")


@dataclass(frozen=True, slots=True)
class PassStatistics:
    """What one pass did: operations before and after, and what it counted itself."""

    name: str
    ops_before: int
    ops_after: int
    counted: dict[str, int]


class Statistics(Instrumentation):
    """Counts operations around each pass and tells which pass counted what. ``passes`` is in the order they ran."""

    def __init__(self) -> None:
        self.passes: list[PassStatistics] = []
        self._ops = 0
        self._counted: dict[str, int] = {}

    def before_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        self._ops = len(graph.body)
        self._counted = dict(context.statistics)

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        counted = {
            name: amount - self._counted.get(name, 0)
            for name, amount in context.statistics.items()
            if amount != self._counted.get(name, 0)
        }
        self.passes.append(PassStatistics(step.name, self._ops, len(graph.body), counted))

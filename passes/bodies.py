"""Bodies of control operations: graphs of kernels that run once, several times or not at all.

``If``, ``Loop``, ``Scan`` and ``SequenceMap`` have their bodies in regions. Passes treat a body like the graph that it
stands in, one kernel at a time; what a control operation costs is what its bodies' kernels cost, times their trips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from ..ir import Attribute, Fact, Graph, Op, Runs, Value, runs_of, symbols_of
from ..ir.ops.control import BOUND_TRIPS

__all__ = [
    "Bodies", "Body", "Launch", "bodies_of", "constant_attributes", "launches", "launches_of", "nested_bodies",
    "show_constants",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """A region of a control operation ``op``, and how often it runs when the operation runs once.

    ``scope`` is the graph whose weights are swept through between two launches of one of its kernels: the region itself
    where trips follow one another, else that of the operation.
    """

    op: Op
    region: Graph
    runs: Runs
    scope: Graph

    @property
    def times(self) -> int | None:
        """How often it runs, a symbol where ``bind`` left it open; ``None`` where only running the model tells."""
        symbols = symbols_of(self.runs.times)
        tells = all(symbol.known and (symbol.lower > 0 or BOUND_TRIPS in self.op.attributes) for symbol in symbols)
        return cast(int, self.runs.times) if tells else None


@dataclass(frozen=True, slots=True)
class Bodies(Fact, key="bodies"):
    """Which regions of a control operation are counted, how often each runs, and what one run of each does.

    ``times`` is 0 for a region that is not counted: the cheaper branch, or one whose trips are not known. ``seconds``
    is empty until ``cost`` has run.
    """

    times: tuple[int, ...]
    macs: tuple[int, ...]
    bytes: tuple[int, ...]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel of a ``graph``, maybe that of a body inside the network's, launched ``times`` times in one inference.

    ``scope`` is that of the body that it stands in (:class:`Body`), or the graph. A control operation stands for what
    it does beside its bodies.
    """

    op: Op
    graph: Graph
    scope: Graph
    times: int


def bodies_of(op: Op, scope: Graph | None = None) -> tuple[Body, ...]:
    """Return the bodies of a control operation whose own weights' ``scope`` is known; nothing for any other."""
    if not op.regions:
        return ()
    pairs = zip(op.regions, runs_of(op), strict=False)
    return tuple(Body(op, region, runs, _scope(region, runs, scope)) for region, runs in pairs)


def _scope(region: Graph, runs: Runs, outer: Graph | None) -> Graph:
    once = isinstance(runs.times, int) and runs.times <= 1
    return outer if once and outer is not None else region


def constant_attributes(value: Value) -> Mapping[str, Attribute]:
    """Return what a region's input tells of the value outside that it stands for."""
    if not value.is_constant:
        return {}
    return {"constant": True} if value.constant is None else {"constant": True, "value": value.constant}


def show_constants(op: Op) -> None:
    """Tell the inputs of an operation's regions which of the captured values have become constants outside."""
    captures = op.attributes.get("captures")
    count = captures if isinstance(captures, int) else 0
    outside = op.operands[len(op.operands) - count :]
    for region in op.regions:
        for value, entry in zip(outside, region.inputs[len(region.inputs) - count :], strict=False):
            if value is not None and value.is_constant:
                entry.attributes = MappingProxyType({**entry.attributes, **constant_attributes(value)})


def nested_bodies(graph: Graph) -> list[Body]:
    """Return all bodies in a graph, each after the one that it stands in, however deep they are."""
    found: list[Body] = []
    pending = [(graph, graph)]
    while pending:
        current, scope = pending.pop()
        inside = [body for op in current.body for body in bodies_of(op, scope)]
        found.extend(inside)
        pending.extend((body.region, body.scope) for body in reversed(inside))
    return found


def launches(graph: Graph) -> Iterator[Launch]:
    """Return every kernel that is counted, in graph order, those of bodies after the operation that they belong to."""
    for op in graph.body:
        yield from launches_of(op, graph)


def launches_of(op: Op, graph: Graph) -> Iterator[Launch]:
    """Return an operation of ``graph`` as a launch, and after it every kernel of its bodies that is counted."""
    stack = [iter([Launch(op, graph, graph, 1)])]
    while stack:
        launch = next(stack[-1], None)
        if launch is None:
            stack.pop()
            continue
        yield launch
        fact = launch.op.facts.get(Bodies)
        for region, times in zip(launch.op.regions, fact.times if fact else (), strict=False):
            if times:
                scope = launch.scope if isinstance(times, int) and times == 1 else region
                stack.append(iter([Launch(inner, region, scope, launch.times * times) for inner in region.body]))

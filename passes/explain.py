"""Why a kernel costs what it costs: the formula, the sizes and the constants behind it, with their sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from ..ir import Graph, Op
from ..ir.primitives import Primitive, flops
from ..targets import Quantity, Target, format_si
from .base import PassError
from .cost import Cost, Estimate, estimate
from .fuse import kernel_ops, pattern_of
from .lower import Work

__all__ = ["Explanation", "Step", "explain", "find_kernel"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an explanation: its topic, what was computed from what, and where the constants come from.

    ``seconds`` is the step's outcome where it is a time.
    """

    topic: str
    formula: str
    seconds: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All steps for one kernel, and its operations as (operator, source name)."""

    name: str
    pattern: str
    operations: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]


def find_kernel(graph: Graph, name: str) -> Op:
    """Return the kernel that holds the node, value or module called ``name``.

    Raises:
        PassError: there is none; close names are suggested.
    """
    names: dict[str, Op] = {}
    for op in graph.body:
        values = [value.name for inner in kernel_ops(op) for value in inner.results]
        origins = [origin.name for origin in op.loc.origins]
        modules = [inner.loc.module for inner in kernel_ops(op) if inner.loc.module]
        for candidate in (op.label, *origins, *(value.name for value in op.results), *values, *modules):
            names.setdefault(candidate, op)
    if name in names:
        return names[name]
    partial = [candidate for candidate in names if name in candidate]
    close = partial[:5] or difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    help = f"did you mean {', '.join(close)}?" if close else "names stand in the table's first column"
    raise PassError(f"no kernel holds a node called {name!r}", help=help)


def explain(graph: Graph, op: Op, target: Target) -> Explanation:
    """Return the derivation of a kernel's cost on ``target``; the graph must have been lowered."""
    made = estimate(op, graph, target)
    operations = tuple((inner.base_name, inner.label) for inner in kernel_ops(op))
    steps = (*_work_steps(op), *_compute_steps(made), *_memory_steps(made), *_time_steps(op, made, target))
    return Explanation(op.label, pattern_of(op), operations, steps)


def _work_steps(op: Op) -> Iterator[Step]:
    for inner in kernel_ops(op):
        for primitive in inner.facts[Work].primitives if Work in inner.facts else ():
            counted = f" = {primitive.macs:,} MAC" if primitive.macs else ""
            yield Step("work", f"{inner.base_name}: {_sizes(primitive)}{counted}, {flops(primitive):,} FLOP")
    if "rule" in op.attributes:
        yield Step("fused", f"by the rule for {pattern_of(op)}", source=str(op.attributes["rule"]))


def _sizes(primitive: Primitive) -> str:
    shown = [
        f"{field.name}={'×'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for field in fields(primitive)
        if field.name != "dtype" and (value := getattr(primitive, field.name)) != field.default and value != ()
    ]
    return f"{primitive.tag}({', '.join(shown)}) in {primitive.dtype.precision}"


def _compute_steps(made: Estimate) -> Iterator[Step]:
    for term in made.compute:
        efficiency = term.efficiency
        formula = (
            f"{flops(term.primitive):,} FLOP / ({format_si(term.peak, 'FLOP/s')} {term.precision} on {term.unit.name}"
            f" × {efficiency.compute:.3g} of peak for {efficiency.kernel_class})"
        )
        yield Step("compute", formula, term.seconds, f"{_cite(term.unit.origin(term.precision))}; {_cite(efficiency)}")


def _memory_steps(made: Estimate) -> Iterator[Step]:
    for term in made.memory:
        level = term.level
        formula = (
            f"{term.what}: {term.bytes:,} B from {level.name} / ({format_si(level.bandwidth, 'B/s')}"
            f" × {term.efficiency.memory:.3g} of peak for {term.efficiency.kernel_class})"
        )
        yield Step("memory", formula, term.seconds, f"{_cite(level.bandwidth_origin)}; {_cite(term.efficiency)}")


def _time_steps(op: Op, made: Estimate, target: Target) -> Iterator[Step]:
    yield Step("dispatch", f"a launch by {target.runtime.name}", made.dispatch_seconds, _cite(target.runtime.dispatch))
    cost = op.facts.get(Cost)
    bound = f"; bound by {cost.bound}" if cost else ""
    low, high = made.efficiency.low, made.efficiency.high
    yield Step("time", f"dispatch + max(compute, memory){bound}", made.seconds)
    if cost:
        interval = f"{format_si(cost.low, 's')} to {format_si(cost.high, 's')}"
        formula = f"{interval}, 95 %: efficiency between {low:.2g} and {high:.2g} times typical"
        yield Step("interval", formula, source=_cite(made.efficiency))
    for reason in made.unknown:
        yield Step("unknown", reason)


def _cite(constant: Quantity | object) -> str:
    source, where = getattr(constant, "source", None), getattr(constant, "where", "")
    return f"{source} ({where})" if source else str(where)

"""Why a kernel costs what it costs: the formula, the sizes and the constants behind it, with their sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from ..calibration.prediction import Quality
from ..calibration.roofline import Roofline
from ..ir import Graph, Op
from ..ir.primitives import Primitive, flops
from ..targets import Efficiency, Quantity, Target, format_si
from .arithmetic import arithmetic_precision, why_floats
from .base import PassError
from .bodies import Bodies, Launch, bodies_of, launches, nested_bodies
from .cost import Cost, Estimate, estimate
from .fuse import kernel_ops, pattern_of
from .lower import Work
from .report import EvidenceSource

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


def find_kernel(graph: Graph, name: str) -> Launch:
    """Return the kernel that holds the node, value or module called ``name``, in the graph or a body inside it.

    Raises:
        PassError: there is none; close names are suggested.
    """
    counted = {launch.op: launch for launch in launches(graph)}
    bodies = nested_bodies(graph)
    uncounted = (
        Launch(op, body.region, body.scope, 0) for body in bodies for op in body.region.body if op not in counted
    )
    names: dict[str, Launch] = {}
    for launch in (*(counted[op] for op in graph.body), *counted.values(), *uncounted):
        for candidate in _names(launch.op):
            names.setdefault(candidate, launch)
    if name in names:
        return names[name]
    partial = [candidate for candidate in names if name in candidate]
    close = partial[:5] or difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    help = f"did you mean {', '.join(close)}?" if close else "names stand in the table's first column"
    raise PassError(f"no kernel holds a node called {name!r}", help=help)


def _names(op: Op) -> Iterator[str]:
    """What a kernel may be called: its operations' names, their values' and modules'."""
    yield op.label
    yield from (origin.name for origin in op.loc.origins)
    yield from (value.name for value in op.results)
    yield from (value.name for inner in kernel_ops(op) for value in inner.results)
    yield from (inner.loc.module for inner in kernel_ops(op) if inner.loc.module)


def explain(launch: Launch, target: Target, evidence: EvidenceSource | None = None) -> Explanation:
    """Return the derivation of a kernel's cost on ``target``, each time it is launched; it must have been lowered.

    ``evidence`` is where measurements come from, if there are any.
    """
    op = launch.op
    made = estimate(op, launch.scope, Roofline.of(target))
    operations = tuple((inner.base_name, inner.label) for inner in kernel_ops(op))
    steps = (
        *_work_steps(op),
        *_precision_steps(op, launch.graph, target),
        *_compute_steps(made),
        *_memory_steps(made),
        *_efficiency_steps(made, evidence),
        *_time_steps(op, made, target),
        *_body_steps(launch),
    )
    return Explanation(op.label, pattern_of(op), operations, steps)


def _work_steps(op: Op) -> Iterator[Step]:
    for inner in kernel_ops(op):
        for primitive in inner.facts[Work].beside.primitives if Work in inner.facts else ():
            counted = f" = {primitive.macs:,} MAC" if primitive.macs else ""
            yield Step("work", f"{inner.base_name}: {_sizes(primitive)}{counted}, {flops(primitive):,} FLOP")
    if Bodies in op.facts:
        work = op.facts[Work]
        whole = f"{work.macs:,} MAC, {work.flops:,} FLOP, {work.bytes:,} B"
        yield Step("work", f"{op.base_name} with all that its bodies do: {whole}")
    if "rule" in op.attributes:
        yield Step("fused", f"by the rule for {pattern_of(op)}", source=str(op.attributes["rule"]))


def _precision_steps(op: Op, graph: Graph, target: Target) -> Iterator[Step]:
    """Why a kernel on quantised values does not run on integers."""
    reason, rule = why_floats(op, graph)
    if reason:
        yield Step("arithmetic", f"in {arithmetic_precision(op, Roofline.of(target))}: {reason}", source=rule)


def _sizes(primitive: Primitive) -> str:
    shown = [
        f"{field.name}={'×'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for field in fields(primitive)
        if field.name != "dtype" and (value := getattr(primitive, field.name)) != field.default and value != ()
    ]
    return f"{primitive.tag}({', '.join(shown)}) in {primitive.dtype.precision}"


def _compute_steps(made: Estimate) -> Iterator[Step]:
    for term in made.bounds.compute:
        default = term.efficiency
        peak = f"{format_si(term.peak, 'FLOP/s')} {term.precision} on {term.unit.name}"
        share, seconds, source = _share(made, default.compute, default, term.seconds, term.default_seconds)
        formula = f"{flops(term.primitive):,} FLOP / ({peak} × {share})"
        yield Step("compute", formula, seconds, f"{_cite(term.unit.origin(term.precision))}{source}")


def _memory_steps(made: Estimate) -> Iterator[Step]:
    for term in made.bounds.memory:
        level, default = term.level, term.efficiency
        share, seconds, source = _share(made, default.memory, default, term.seconds, term.default_seconds)
        formula = f"{term.what}: {term.bytes:,} B from {level.name} / ({format_si(level.bandwidth, 'B/s')} × {share})"
        yield Step("memory", formula, seconds, f"{_cite(level.bandwidth_origin)}{source}")


def _share(
    made: Estimate, typical: float, default: Efficiency, least: float, by_default: float
) -> tuple[str, float, str]:
    """The share of peak that a term was divided by, its seconds then, and where the share comes from."""
    if made.measured is None:
        return f"{typical:.3g} of peak for {default.kernel_class}", by_default, f"; {_cite(default)}"
    efficiency = made.efficiency or 1.0
    return f"{efficiency:.3g}", least / efficiency, ""


def _efficiency_steps(made: Estimate, evidence: EvidenceSource | None) -> Iterator[Step]:
    """The efficiency that measurements give the kernel, how sure it is, and what it stands on."""
    own = {match.operation_type for match in made.measured.matches} if made.measured else set()
    measured, efficiency, std = made.measured, made.efficiency, made.efficiency_std
    if measured is None:
        return
    words = [measured.quality.value]
    if measured.quality is Quality.OP_APPROXIMATED:
        words = [measured.quality.value if measured.curve in own else f"{measured.curve} in its stead"]
    if measured.neighbours:
        words.append(f"{measured.neighbours} {'sample' if measured.neighbours == 1 else 'samples'} near")
    if measured.entry:
        words.append(f"the nearest {measured.entry}")
    reached = f"{efficiency:.3g} ± {std:.2g} of the roofline: " if efficiency is not None and std is not None else ""
    source = f"{evidence.layer}: {evidence.file}" if evidence and evidence.file else ""
    yield Step("evidence", reached + ", ".join(words), source=source)


def _time_steps(op: Op, made: Estimate, target: Target) -> Iterator[Step]:
    launch = target.runtime.dispatch
    varies = f", {format_si(launch.low, 's')} to {format_si(launch.high, 's')} from case to case" if launch.span else ""
    yield Step("dispatch", f"a launch by {target.runtime.name}{varies}", made.dispatch_seconds, _cite(launch))
    cost = cost.beside or cost if (cost := op.facts.get(Cost)) else None
    bound = f"; bound by {cost.bound}" if cost else ""
    yield Step("time", f"dispatch + max(compute, memory){bound}", made.seconds)
    if cost:
        interval = f"{format_si(cost.low, 's')} to {format_si(cost.high, 's')}, 95 %"
        default = made.bounds.efficiency
        if made.measured:
            yield Step("interval", f"{interval}: log-normal, its logarithm ± {made.measured.std:.2g}")
        else:
            ends = "; dispatch at the ends of its range" if launch.span else ""
            formula = f"{interval}: efficiency between {default.low:.2g} and {default.high:.2g} times typical{ends}"
            yield Step("interval", formula, source=_cite(default))
    for reason in made.unknown:
        yield Step("unknown", reason)


def _body_steps(launch: Launch) -> Iterator[Step]:
    """How often a kernel of a body is launched; what becomes of a control operation's bodies, and their sum."""
    op = launch.op
    if launch.times != 1:
        yield Step("launches", f"{launch.times:,} in an inference" if launch.times else "in a body that is not counted")
    fact, cost = op.facts.get(Bodies), op.facts.get(Cost)
    if fact is None:
        return
    for number, body in enumerate(bodies_of(op)):
        taken = fact.times[number]
        runs = f"{'at most ' if body.runs.at_most else ''}{taken:,} ×" if taken else "not counted:"
        seconds = fact.seconds[number] if fact.seconds else None
        why = "the branch that takes longest" if taken and body.runs.one_of else body.runs.why
        amounts = f"{fact.macs[number]:,} MAC, {fact.bytes[number]:,} B in {len(body.region.body)} operations"
        yield Step(body.region.name or "body", f"{runs} {amounts} ({why})", seconds)
    if cost:
        yield Step("all", "its own time and that of its bodies, as often as they run", cost.seconds)


def _cite(constant: Quantity | object) -> str:
    source, where = getattr(constant, "source", None), getattr(constant, "where", "")
    return f"{source} ({where})" if source else str(where)

"""Builds the report from the facts that a pipeline left on a graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from ..calibration.roofline import Roofline
from ..ir import Dim, Expression, Graph, Kind, Op, Symbol, TensorType, Value, kind_of, symbols_of
from ..targets import format_si
from .arithmetic import arithmetic_precision, macs_by_precision
from .base import Context
from .bodies import Bodies, bodies_of
from .calibrate import Calibration
from .cost import Cost, critical_path
from .coverage import coverage_rows
from .coverage_report import MeasuredErrors
from .footprint import footprint
from .fuse import kernel_ops, main_op, pattern_of
from .kv_cache import cache_bytes, cache_values
from .lower import Work, weight_reads
from .memory import Buffers, Scratch, memory_plan, peak_of
from .precision import precision_of
from .report import BodyReport, KernelReport, OpenDimension, Report, Total, UnknownOp
from .totals import confidence_of, costed_kernels, sum_of
from .weights import weight_bytes

__all__ = ["build_report"]


def build_report(
    graph: Graph,
    context: Context,
    source_ops: int | None = None,
    pipeline: str = "",
    measured: MeasuredErrors | None = None,
) -> Report:
    """Return the report on ``graph`` after a pipeline has run.

    Args:
        graph: with the facts of whatever passes ran; what did not run is ``None`` in the report.
        context: what the pipeline ran for.
        source_ops: operations in the model as it was loaded; those of the graph now, if it is not given.
        pipeline: the pipeline's text.
        measured: the comparison with measurements of the same model, where some were given.
    """
    free_views = context.target.runtime.views == "free"
    launches = [op for op in graph.body if not (free_views and _is_view(op))]
    seconds = sum(cost.seconds for op in launches if (cost := op.facts.get(Cost)))
    caches = graph.cached(cache_values)
    roofline = Roofline.of(context.target)
    kernels = tuple(_kernel(index, op, seconds, caches, roofline) for index, op in enumerate(launches))
    bodies = tuple(_bodies(launches, seconds, free_views, roofline))
    total = replace(_total(graph, context, kernels), macs_by_precision=macs_by_precision(launches, roofline))
    precision = context.precision or precision_of(graph)
    return Report(
        model=graph.name,
        target=context.target.spec,
        precision=precision.precision if precision else "unknown",
        batch=_batch(graph),
        source_ops=len(graph.body) if source_ops is None else source_ops,
        kernels=kernels,
        total=total,
        coverage=tuple(coverage_rows(graph)),
        summary=_summary(kernels, context),
        diagnostics=tuple(context.diagnostics),
        graph=graph,
        pipeline=pipeline,
        evidence=context.evidence.source if context.evidence else None,
        measured=measured,
        context=context,
        bodies=bodies,
        open_dimensions=_open_dimensions(kernels, total),
    )


def _bodies(kernels: Sequence[Op], all_seconds: float, free_views: bool, roofline: Roofline) -> Iterator[BodyReport]:
    """The bodies of control operations among ``kernels``, and those inside them, outer before inner."""
    pending = deque(_Inside(index, op, 1, True, 1) for index, op in enumerate(kernels) if Bodies in op.facts)
    index = len(kernels)
    while pending:
        owner = pending.popleft()
        fact = owner.op.facts[Bodies]
        for number, body in enumerate(bodies_of(owner.op)):
            counted = owner.counted and fact.times[number] != 0
            times = owner.times * fact.times[number] if counted else 1
            members = [op for op in body.region.body if not (free_views and _is_view(op))]
            inside = []
            for op in members:
                made = _kernel(index, op, all_seconds if counted else 0.0, frozenset(), roofline)
                inside.append(_launched(made, times))
                if Bodies in op.facts:
                    pending.append(_Inside(index, op, times, counted, owner.depth + 1))
                index += 1
            yield BodyReport(
                of=owner.index, depth=owner.depth, operator=owner.op.base_name, label=owner.op.label,
                name=body.region.name, times=_extent(body.runs.times), why=body.runs.why, at_most=body.runs.at_most,
                one_of=body.runs.one_of, counted=counted, macs=fact.macs[number], bytes=fact.bytes[number],
                seconds=fact.seconds[number] if fact.seconds else None, kernels=tuple(inside),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Inside:
    """A control operation whose bodies are to be reported: its kernel's index, and how often it runs."""

    index: int
    op: Op
    times: int
    counted: bool
    depth: int


def _launched(kernel: KernelReport, times: int) -> KernelReport:
    """A kernel's figures for all its launches."""
    amounts = ("macs", "flops", "bytes", "weight_bytes")
    seconds = ("seconds", "seconds_low", "seconds_high", "seconds_std", "compute_seconds", "memory_seconds",
               "dispatch_seconds", "share", "joules")  # fmt: skip
    known = {name: value * times for name in (*amounts, *seconds) if (value := getattr(kernel, name)) is not None}
    return replace(kernel, launches=times, **known)


def _extent(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else dim.name if isinstance(dim, Symbol) else str(dim)


def _open_dimensions(kernels: Sequence[KernelReport], total: Total) -> tuple[OpenDimension, ...]:
    """The symbols that the figures depend on, those in their bounds included."""
    counts = [total.macs, total.flops, total.bytes, total.weight_bytes, total.peak_activation_bytes or 0]
    counts += [count for kernel in kernels for count in (kernel.macs, kernel.flops, kernel.bytes)]
    found: dict[str, OpenDimension] = {}
    waiting = list(symbols_of(*counts, *(dim for kernel in kernels for dim in kernel.output or ())))
    while waiting:
        symbol = waiting.pop()
        if symbol.known and symbol.name not in found:
            found[symbol.name] = OpenDimension(symbol.name, symbol.lower, cast("int | None", symbol.upper))
            waiting.extend(symbols_of(symbol.upper) if symbol.upper is not None else ())
    return tuple(found[name] for name in sorted(found))


def _is_view(op: Op) -> bool:
    return all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))


def _kernel(index: int, op: Op, all_seconds: float, caches: frozenset[Value], roofline: Roofline) -> KernelReport:
    work, cost, main = op.facts.get(Work), op.facts.get(Cost), main_op(op)
    calibration = op.facts.get(Calibration)
    type = op.results[0].type if op.results else None
    shape = type.shape if isinstance(type, TensorType) else None
    kind = op.attributes.get("kind")
    return KernelReport(
        index=index,
        name=main.label,
        pattern=pattern_of(op),
        kind=kind if isinstance(kind, str) else kind_of(main).value,
        module=main.loc.module or op.loc.module,
        origins=tuple(dict.fromkeys(origin.name for origin in op.loc.origins)),
        results=tuple(value.name for value in op.results),
        output=shape,
        dtype=type.dtype.mlir if isinstance(type, TensorType) else "",
        macs=work.macs if work else 0,
        flops=work.flops if work else 0,
        bytes=work.bytes if work else 0,
        weight_bytes=_weight_bytes(op, work) if work else 0,
        seconds=cost.seconds if cost else None,
        seconds_low=cost.low if cost else None,
        seconds_high=cost.high if cost else None,
        compute_seconds=cost.compute_seconds if cost else None,
        memory_seconds=cost.memory_seconds if cost else None,
        dispatch_seconds=cost.dispatch_seconds if cost else None,
        share=cost.seconds / all_seconds if cost and all_seconds else None,
        bound=cost.bound if cost else "",
        unit=cost.unit if cost else "",
        memory=cost.memory if cost else "",
        joules=cost.joules if cost else None,
        confidence=cost.confidence if cost else "",
        unknown=_unknown(op),
        seconds_std=cost.std if cost else None,
        efficiency=cost.efficiency if cost else None,
        efficiency_std=cost.efficiency_std if cost else None,
        quality=cost.quality if cost else None,
        entry=calibration.entry if calibration else "",
        neighbours=calibration.neighbours if calibration else 0,
        kv_cache_bytes=_bytes_in(caches, op, work) if work and caches else 0,
        arithmetic_precision=arithmetic_precision(op, roofline),
    )


def _weight_bytes(op: Op, work: Work) -> int:
    return weight_reads(op) + (work.inside.weight_bytes if work.inside else 0)


def _bytes_in(values: frozenset[Value], op: Op, work: Work) -> int:
    """Bytes that a kernel reads of ``values`` and writes to them."""
    moved = (*zip(op.operands, work.reads, strict=True), *zip(op.results, work.writes, strict=True))
    return sum(count for value, count in moved if value in values)


def _unknown(op: Op) -> tuple[UnknownOp, ...]:
    """What inside a kernel was not counted, and what the target cannot run."""
    if Work not in op.facts:
        return (UnknownOp(op.label, main_op(op).name, "its work was not counted: the pipeline has no lower pass"),)
    found = [
        UnknownOp(inner.label, inner.name, unknown.reason)
        for inner in _uncounted(op)
        for unknown in inner.facts[Work].beside.unknown
    ]
    counted = {unknown.reason for unknown in found}
    cost = op.facts.get(Cost)
    main = main_op(op)
    found.extend(UnknownOp(main.label, main.name, why) for why in (cost.unknown if cost else ()) if why not in counted)
    return tuple(found)


def _uncounted(op: Op) -> Iterator[Op]:
    """The operations of a kernel, and those in its bodies that left something unknown in it."""
    reasons = {unknown.reason for unknown in op.facts[Work].unknown}
    pending = [op]
    while pending:
        kernel = pending.pop()
        for inner in kernel_ops(kernel):
            work = inner.facts.get(Work)
            if work is None or not reasons.intersection(unknown.reason for unknown in work.unknown):
                continue
            yield inner
            bodies = inner.regions if Bodies in inner.facts else ()
            pending.extend(member for region in bodies for member in region.body)


def _total(graph: Graph, context: Context, kernels: Sequence[KernelReport]) -> Total:
    costed = costed_kernels(graph)
    costs = [one.cost for one in costed]
    serial = sum_of(costed, context.evidence.estimator if context.evidence else None)
    path = critical_path(graph) if costs else None
    latency = path if path is not None and context.target.runtime.concurrency == "branches" else serial.seconds
    scale = latency / serial.seconds if serial.seconds else 1.0
    peak_bytes, peak_at, arena = _memory(graph, context)
    energy, energy_missing = _energy(costs, latency, context)
    return Total(
        macs=sum(kernel.macs for kernel in kernels),
        flops=sum(kernel.flops for kernel in kernels),
        bytes=sum(kernel.bytes for kernel in kernels),
        weight_bytes=graph.cached(weight_bytes),
        peak_activation_bytes=peak_bytes,
        peak_at=peak_at,
        arena_bytes=arena,
        seconds=latency if costs else None,
        seconds_low=serial.low * scale if costs else None,
        seconds_high=serial.high * scale if costs else None,
        seconds_std=serial.std * scale if costs else None,
        serial_seconds=serial.seconds if costs else None,
        critical_path_seconds=path,
        joules=sum(energy.values()) if energy else None,
        energy=energy,
        energy_missing=energy_missing,
        confidence=confidence_of(costed).name if costs else "",
        unknown=tuple(unknown for kernel in kernels for unknown in kernel.unknown),
        kv_cache_bytes=cache_bytes(graph),
        weight_bytes_read=sum(kernel.weight_bytes for kernel in kernels),
        kv_cache_bytes_moved=sum(kernel.kv_cache_bytes for kernel in kernels),
        footprint=None if arena is None else footprint(graph, context.target, arena, graph.cached(weight_bytes)),
    )


def _memory(graph: Graph, context: Context) -> tuple[int, str, int | None]:
    """Peak bytes, where, and the arena's size: as the memory pass left them, else by its default plan."""
    planned = [(op, fact) for op in graph.ops if (fact := op.facts.get(Buffers))]
    if not planned:
        plan = memory_plan(graph, context.target.runtime.arena)
        return plan.peak_bytes, _place(plan.peak_op) if plan.peak_op else "", plan.arena_bytes
    peak, at = peak_of([(op, fact.live_bytes) for op, fact in planned])
    if any(isinstance(value.bytes, Expression) for op, _ in planned for value in op.results):
        return peak, _place(at) if at else "", None
    ends = [
        offset + (value.bytes or 0)
        for op, fact in planned
        for value, offset in zip(op.results, fact.offsets, strict=True)
        if offset >= 0
    ]
    ends.extend(own.offset + own.bytes for op, _ in planned if (own := op.facts.get(Scratch)))
    return peak, _place(at) if at else "", max(ends, default=0)


def _place(op: Op) -> str:
    """Where in the network an operation is: its module, if the source says, else its name."""
    return main_op(op).loc.module or op.label


def _energy(costs: Sequence[Cost], latency: float, context: Context) -> tuple[dict[str, float], tuple[str, ...]]:
    """Joules by what uses them, and what the target has no coefficient for; nothing where it has none at all."""
    device = context.target.device
    if device.energy is None or not costs:
        return {}, ()
    split = {
        "compute": sum(cost.compute_joules or 0.0 for cost in costs),
        "memory": sum(cost.memory_joules or 0.0 for cost in costs),
        "static": (device.energy.idle_watts or 0.0) * latency,
    }
    return split, tuple(dict.fromkeys(name for cost in costs for name in cost.energy_missing))


def _batch(graph: Graph) -> int | None:
    for op in graph.inputs:
        type = op.result.type
        if isinstance(type, TensorType) and type.shape and isinstance(type.shape[0], int):
            return type.shape[0]
    return None


def _summary(kernels: Sequence[KernelReport], context: Context) -> str:
    """One sentence: what binds most of the time, and which kind of kernel that is."""
    if not kernels:
        return "Nothing runs: no operation but views leads to an output."
    timed = [kernel for kernel in kernels if kernel.seconds]
    if not timed:
        return ""
    whole = sum(kernel.seconds or 0.0 for kernel in timed)
    by_bound: dict[str, float] = {}
    by_class: dict[str, float] = {}
    for kernel in timed:
        by_bound[kernel.bound] = by_bound.get(kernel.bound, 0.0) + (kernel.seconds or 0.0)
        by_class[kernel.pattern] = by_class.get(kernel.pattern, 0.0) + (kernel.seconds or 0.0)
    bound = max(by_bound, key=by_bound.__getitem__)
    pattern = max(by_class, key=by_class.__getitem__)
    members = [kernel for kernel in timed if kernel.pattern == pattern]
    flops = sum(kernel.flops for kernel in members)
    rate = flops / sum(kernel.seconds or 0.0 for kernel in members)
    words = {
        "compute": "bound by compute",
        "dispatch": "bound by kernel launches",
        "unknown": "in kernels whose work is unknown",
    }
    says = words.get(bound, f"bound by {bound} bandwidth")
    reach = f", at {format_si(rate, 'FLOP/s')}" if flops else ""
    kernels_take = "kernel takes" if len(members) == 1 else "kernels take"
    share = f"{by_class[pattern] / whole:.0%}"
    return (
        f"{by_bound[bound] / whole:.0%} of the time is {says}; {len(members)} {pattern} {kernels_take} {share}{reach}."
    )

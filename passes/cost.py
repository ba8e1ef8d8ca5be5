"""What each kernel costs: dispatch + max(compute, memory), with every constant traceable to where it is written.

Compute: each primitive's FLOPs over the peak of the fastest unit that runs its kind at its precision, times the share
of peak that its class of kernels reaches. Memory: bytes at the kernel's boundary over the bandwidth of the level that
they come from, times the share of that. Activations come from the nearest level that holds the kernel's working set;
weights from the nearest that holds all weights of the network, since every inference sweeps through all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from ..ir import CONSTANT, DType, Fact, Graph, Kind, Op, kind_of
from ..ir.primitives import Primitive, Unknown, flops
from ..targets import ComputeUnit, Device, Efficiency, Target
from ..targets import Memory as MemoryLevel
from .base import Context, Pass
from .fuse import kernel_ops
from .lower import Work
from .memory import memory_plan

__all__ = ["ComputeTerm", "Cost", "CostPass", "Estimate", "MemoryTerm", "critical_path", "estimate", "weight_bytes"]

THEORETICAL = "THEORETICAL"

_KIND_OF = {"gemm": Kind.CONTRACTION, "conv": Kind.CONTRACTION, "softmax": Kind.NORMALIZATION, "copy": Kind.LAYOUT}
"""The kind that a primitive's compute unit is chosen by, where it is not the one of the primitive's own name."""


@dataclass(frozen=True, slots=True)
class Cost(Fact, key="cost"):
    """A kernel's predicted time and energy on the context's target; units are seconds, joules and bytes.

    ``low`` and ``high`` bound the 95 % interval of ``seconds``. ``bound`` is ``compute``, a memory level's name,
    ``dispatch`` or ``unknown``; ``work_class`` the class whose efficiency was used; ``unknown`` what the time leaves
    out. ``joules`` is ``None`` where the target has no energy coefficients; those that it lacks are in
    ``energy_missing``, and ``joules`` is then a lower bound.
    """

    seconds: float
    low: float
    high: float
    compute_seconds: float
    memory_seconds: float
    dispatch_seconds: float
    bound: str
    work_class: str
    unit: str
    memory: str
    confidence: str
    joules: float | None = None
    compute_joules: float | None = None
    memory_joules: float | None = None
    energy_missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComputeTerm:
    """One primitive's time on a compute unit: FLOPs / (peak × efficiency)."""

    primitive: Primitive
    unit: ComputeUnit
    precision: str
    efficiency: Efficiency

    @property
    def peak(self) -> float:
        return self.unit.peaks[self.precision].value

    @property
    def seconds(self) -> float:
        return flops(self.primitive) / (self.peak * self.efficiency.compute)


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One sort of traffic over a memory level: bytes / (bandwidth × efficiency)."""

    what: str
    bytes: int
    level: MemoryLevel
    efficiency: Efficiency

    @property
    def seconds(self) -> float:
        return self.bytes / (self.level.bandwidth * self.efficiency.memory)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a kernel's time comes about, term by term: what ``--explain`` shows and :class:`Cost` sums up."""

    compute: tuple[ComputeTerm, ...]
    memory: tuple[MemoryTerm, ...]
    dispatch_seconds: float
    working_set_bytes: int
    work_class: str
    efficiency: Efficiency
    unknown: tuple[str, ...]

    @property
    def compute_seconds(self) -> float:
        return sum((term.seconds for term in self.compute), 0.0)

    @property
    def memory_seconds(self) -> float:
        return sum((term.seconds for term in self.memory), 0.0)

    @property
    def seconds(self) -> float:
        return self.dispatch_seconds + max(self.compute_seconds, self.memory_seconds)


@dataclass(frozen=True)
class CostPass(Pass):
    """Predict each kernel's time and energy on the target: dispatch + max(compute, memory)."""

    name = "cost"
    requires = ("work",)
    provides = ("cost",)

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Cost` to every kernel; warn where the network does not fit the target's memory."""
        for op in graph.body:
            op.facts.add(_cost(estimate(op, graph, context.target), context.target))
        for holds, size in (
            ("weights", graph.cached(weight_bytes)),
            ("activations", graph.cached(memory_plan).peak_bytes),
        ):
            level = level_for(context.target.device, holds, size)
            if level.size is not None and size > level.size:
                context.warn("cost", f"{size:,} bytes of {holds} do not fit {level.name}, which has {level.size:,.0f}")


def estimate(op: Op, graph: Graph, target: Target) -> Estimate:
    """Return how the time of ``op``, a top-level operation of ``graph`` with its :class:`Work`, comes about."""
    work = op.facts[Work]
    lacks = target.runtime.lacks
    unknown = [f"{target.runtime.name} has no {inner.name}" for inner in kernel_ops(op) if inner.name in lacks]
    unknown += [primitive.reason for primitive in work.unknown]
    terms: list[ComputeTerm] = []
    for primitive in work.primitives:
        if isinstance(primitive, Unknown) or flops(primitive) == 0:
            continue
        term = _compute_term(primitive, target)
        if term is None:
            unknown.append(f"{target.device.name} has no unit for {primitive.tag} in {primitive.dtype.precision}")
        else:
            terms.append(term)
    work_class = _work_class(work, terms)
    efficiency = target.runtime.efficiency(work_class, target.device)
    free = target.runtime.views == "free" and all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))
    return Estimate(
        tuple(terms),
        tuple(_memory_terms(op, work, graph, target.device, efficiency)),
        0.0 if free else target.runtime.dispatch_seconds,
        work.bytes,
        work_class,
        efficiency,
        tuple(unknown),
    )


def _compute_term(primitive: Primitive, target: Target) -> ComputeTerm | None:
    kind = _KIND_OF.get(primitive.tag) or Kind(primitive.tag)
    wanted = target.runtime.arithmetic(primitive.work_class, primitive.dtype.precision)
    found = target.device.arithmetic(kind.value, wanted)
    if found is None:
        return None
    unit, precision = found
    return ComputeTerm(
        primitive, unit, precision, target.runtime.efficiency(primitive.work_class, target.device, precision)
    )


def _work_class(work: Work, terms: Iterable[ComputeTerm]) -> str:
    """The class whose efficiency rules the kernel: of the costliest primitive, else of the first one."""
    heaviest = max(terms, key=lambda term: term.seconds, default=None)
    if heaviest is not None:
        return heaviest.primitive.work_class
    return work.primitives[0].work_class if work.primitives else "copy"


def _memory_terms(op: Op, work: Work, graph: Graph, device: Device, efficiency: Efficiency) -> Iterable[MemoryTerm]:
    weights = sum(read for value, read in zip(op.operands, work.reads, strict=True) if value and value.is_constant)
    activations = work.bytes - weights
    if weights:
        yield MemoryTerm("weights", weights, level_for(device, "weights", graph.cached(weight_bytes)), efficiency)
    if activations:
        yield MemoryTerm("activations", activations, level_for(device, "activations", work.bytes), efficiency)


def level_for(device: Device, holds: str, size: int) -> MemoryLevel:
    """The nearest memory level that may hold this and is large enough; the farthest if none is."""
    levels = [level for level in device.memories if holds in level.holds]
    return next((level for level in levels if level.size is None or level.size >= size), levels[-1])


def _cost(made: Estimate, target: Target) -> Cost:
    compute, memory, dispatch = made.compute_seconds, made.memory_seconds, made.dispatch_seconds
    work = max(compute, memory)
    compute_joules, memory_joules, joules, missing = _energy(made, target)
    slowest = max(made.memory, key=lambda term: term.seconds, default=None)
    heaviest = max(made.compute, key=lambda term: term.seconds, default=None)
    if made.unknown:
        bound = "unknown"
    elif dispatch >= work:
        bound = "dispatch"
    else:
        bound = "compute" if compute >= memory or slowest is None else slowest.level.name
    return Cost(
        made.seconds,
        dispatch + work / made.efficiency.high,
        dispatch + work / made.efficiency.low,
        compute,
        memory,
        dispatch,
        bound,
        made.work_class,
        heaviest.unit.name if heaviest else "",
        slowest.level.name if slowest else "",
        THEORETICAL,
        joules,
        compute_joules,
        memory_joules,
        missing,
        made.unknown,
    )


def _energy(made: Estimate, target: Target) -> tuple[float | None, float | None, float | None, tuple[str, ...]]:
    """Joules of arithmetic, of traffic, and in all with static power; and what the target has no coefficient for."""
    energy = target.device.energy
    if energy is None:
        return None, None, None, ()
    flop = [(term.precision, flops(term.primitive), energy.per_flop(term.precision)) for term in made.compute]
    byte = [(term.level.name, term.bytes, energy.per_byte(term.level.name)) for term in made.memory]
    compute = sum((amount * coefficient for _, amount, coefficient in flop if coefficient is not None), 0.0)
    memory = sum((amount * coefficient for _, amount, coefficient in byte if coefficient is not None), 0.0)
    missing = dict.fromkeys(name for name, _, coefficient in (*flop, *byte) if coefficient is None)
    static = (energy.idle_watts or 0.0) * made.seconds
    return compute, memory, compute + memory + static, tuple(missing)


# -- the whole graph --------------------------------------------------------------------------------------------------


def weight_bytes(graph: Graph) -> int:
    """Bytes of all constants that something reads: an analysis for ``graph.cached``.

    Small integer constants (shapes, axes, bounds of slices) say what is computed and are no weights.
    """
    return sum(
        value.bytes or 0
        for op in graph.ops
        if op.name == CONSTANT and graph.nx.succ[op]
        for value in op.results
        if value.constant is None or not value.constant.type.dtype.is_integer
    )


def critical_path(graph: Graph) -> float:
    """Seconds of the slowest chain of dependent kernels."""
    finish: dict[Op, float] = {}
    for op in nx.topological_sort(graph.nx):
        cost = op.facts.get(Cost)
        started = max((finish[producer] for producer in graph.nx.predecessors(op)), default=0.0)
        finish[op] = started + (cost.seconds if cost else 0.0)
    return max(finish.values(), default=0.0)


def correlated_interval(rows: Iterable[tuple[str, float, float, float]]) -> tuple[float, float, float]:
    """Sum of (class, seconds, low, high) with its interval.

    Errors of kernels of one class come from the same efficiency and are taken as fully correlated: they add. Errors of
    different classes are taken as independent: they add in quadrature.
    """
    total = 0.0
    below: dict[str, float] = {}
    above: dict[str, float] = {}
    for work_class, seconds, low, high in rows:
        total += seconds
        below[work_class] = below.get(work_class, 0.0) + seconds - low
        above[work_class] = above.get(work_class, 0.0) + high - seconds
    down = sum(step * step for step in below.values()) ** 0.5
    up = sum(step * step for step in above.values()) ** 0.5
    return total, max(total - down, 0.0), total + up


def precision_of(graph: Graph) -> DType | None:
    """The element type of most activations' bytes; ``None`` for a graph without sized values."""
    sizes: dict[DType, int] = {}
    for op in graph.body:
        for value in op.results:
            dtype = getattr(value.type, "dtype", None)
            if isinstance(dtype, DType) and (value.bytes or 0) > 0:
                sizes[dtype] = sizes.get(dtype, 0) + (value.bytes or 0)
    return max(sizes, key=sizes.__getitem__, default=None)

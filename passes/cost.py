"""What each kernel costs: dispatch + max(compute, memory), with every constant traceable to where it is written.

The target's roofline bounds arithmetic and traffic (:mod:`graphs.calibration.roofline`). How near a kernel comes to its
bound is what measurements say, where ``calibrate`` found any: both terms are divided by the efficiency at which the
kernel takes the time that they predict. Elsewhere it is the target's default efficiency, with its range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, sqrt

import networkx as nx

from ..calibration.prediction import NORMAL_95, Confidence, Quality
from ..calibration.roofline import Bounds, Roofline, level_for
from ..ir import Fact, Graph, Op
from ..ir.primitives import flops
from ..targets import Target
from .base import Context, Pass
from .bodies import Bodies, bodies_of, nested_bodies
from .calibrate import Calibration, efficiency_of, is_free, kernel_of
from .fuse import kernel_ops
from .intervals import correlated_sum
from .kv_cache import cache_bytes
from .lower import take
from .memory import memory_plan
from .weights import weight_bytes

__all__ = ["Cost", "CostPass", "Estimate", "critical_path", "estimate"]


@dataclass(frozen=True, slots=True)
class Cost(Fact, key="cost"):
    """A kernel's predicted time and energy on the context's target; units are seconds, joules and bytes.

    ``low`` and ``high`` bound the 95 % interval of ``seconds``, ``std`` is its standard deviation. ``bound`` is
    ``compute``, a memory level's name, ``dispatch`` or ``unknown``; ``work_class`` the class whose errors it shares;
    ``unknown`` what the time leaves out. ``efficiency`` is the share of its roofline that the kernel is taken to reach,
    ``None`` where it has no work; ``quality`` how closely measurements match it, ``None`` without any. ``joules`` is
    ``None`` where the target has no energy coefficients; those that it lacks are in ``energy_missing``, and ``joules``
    is then a lower bound. A control operation's figures sum up the trips of its bodies, and ``beside`` is what it costs
    without them.
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
    std: float | None = None
    efficiency: float | None = None
    efficiency_std: float | None = None
    quality: Quality | None = None
    beside: Cost | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a kernel's time comes about, term by term: what ``--explain`` shows and :class:`Cost` is made of.

    ``seconds`` is ``dispatch_seconds`` + max(``compute_seconds``, ``memory_seconds``), those being the bounds' terms at
    the efficiency used. ``measured`` is what measurements say of the kernel, ``None`` where they say nothing.
    """

    bounds: Bounds
    unknown: tuple[str, ...]
    measured: Calibration | None
    seconds: float
    low: float
    high: float
    std: float
    compute_seconds: float
    memory_seconds: float
    dispatch_seconds: float
    efficiency: float | None
    efficiency_std: float | None


@dataclass(frozen=True)
class CostPass(Pass):
    """Predict each kernel's time and energy on the target: dispatch + max(compute, memory)."""

    name = "cost"
    requires = ("work", "calibrated")
    provides = ("cost",)

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Cost` to every kernel; warn where the network does not fit the target's memory."""
        roofline = Roofline.of(context.target)
        for body in reversed(nested_bodies(graph)):
            _cost_all(body.region, body.scope, roofline)
        _cost_all(graph, graph, roofline)
        for holds, size in (
            ("weights", graph.cached(weight_bytes)),
            ("activations", memory_plan(graph, context.target.runtime.arena).peak_bytes + cache_bytes(graph)),
        ):
            level = level_for(context.target.device, holds, size)
            if level.size is not None and size > level.size:
                held = f"{holds} and caches" if holds == "activations" and cache_bytes(graph) else holds
                context.warn("cost", f"{size:,} bytes of {held} do not fit {level.name}, which has {level.size:,.0f}")


def _cost_all(graph: Graph, scope: Graph, roofline: Roofline) -> None:
    """Attach its cost to every operation of a graph or body whose own bodies have been costed."""
    for op in graph.body:
        calibration = op.facts.get(Calibration)
        quality = calibration.quality if calibration else None
        op.facts.add(_cost(estimate(op, scope, roofline), quality, roofline.target))
        if Bodies in op.facts:
            _choose(op)
            kernels = zip(op.regions, op.facts[Bodies].times, strict=True)
            launched = [(inner.facts[Cost], times) for region, times in kernels for inner in region.body]
            op.facts.add(_with_bodies(op.facts[Cost], launched))


def _choose(op: Op) -> None:
    """Count the branch that takes longest: which one that is, only the target tells."""
    seconds = tuple(sum((inner.facts[Cost].seconds for inner in region.body), 0.0) for region in op.regions)
    made, bodies = op.facts[Bodies], bodies_of(op)
    choice = [index for index, body in enumerate(bodies) if body.runs.one_of]
    if choice:
        slowest = max(choice, key=lambda index: (seconds[index], made.times[index]))
        take(op, tuple(int(index == slowest) if index in choice else made.times[index] for index in range(len(bodies))))
    op.facts.add(replace(op.facts[Bodies], seconds=seconds))


def estimate(op: Op, graph: Graph, roofline: Roofline) -> Estimate:
    """Return how the time of ``op``, an operation with its :class:`Work`, comes about, bodies left out.

    ``graph`` is the one that it is in, or the scope of the body that it is in.
    """
    runtime = roofline.target.runtime
    lacking = [f"{runtime.name} has no {inner.name}" for inner in kernel_ops(op) if inner.name in runtime.lacks]
    kernel = kernel_of(op, graph)
    bounds = roofline.bounds(replace(kernel, launches=0) if is_free(op, roofline.target) else kernel)
    unknown = (*lacking, *bounds.unknown)
    made = op.facts.get(Calibration)
    if made is None or made.quality is Quality.MISSING:
        return _by_default(bounds, unknown)
    return _by_measurement(bounds, unknown, made)


def _by_default(bounds: Bounds, unknown: tuple[str, ...]) -> Estimate:
    """The target's default efficiency and its dispatch, each with its range; taken to lie at the same end together."""
    compute, memory, dispatch = bounds.default_compute_seconds, bounds.default_memory_seconds, bounds.dispatch_seconds
    work, default, (least, most) = max(compute, memory), bounds.efficiency, bounds.dispatch_span
    low, high = least + work / default.high, most + work / default.low
    efficiency = bounds.work_seconds / work if work else None
    spread = (default.high - default.low) / (2 * NORMAL_95)
    return Estimate(
        bounds, unknown, None, dispatch + work, low, high, (high - low) / (2 * NORMAL_95), compute, memory, dispatch,
        efficiency, None if efficiency is None else efficiency * spread,
    )  # fmt: skip


def _by_measurement(bounds: Bounds, unknown: tuple[str, ...], made: Calibration) -> Estimate:
    """The efficiency at which the kernel takes the time that was predicted from measurements."""
    efficiency, efficiency_std = efficiency_of(bounds, made.seconds, made.std)
    factor, variance = exp(NORMAL_95 * made.std), made.std**2
    std = made.seconds * exp(variance / 2) * sqrt(expm1(variance))
    reached = efficiency or 1.0  # without work there is nothing to divide
    return Estimate(
        bounds, unknown, made, made.seconds, made.seconds / factor, made.seconds * factor, std,
        bounds.compute_seconds / reached, bounds.memory_seconds / reached, bounds.dispatch_at(made.seconds),
        efficiency, efficiency_std,
    )  # fmt: skip


def _cost(made: Estimate, quality: Quality | None, target: Target) -> Cost:
    compute_joules, memory_joules, joules, missing = _energy(made, target)
    bounds = made.bounds
    slowest = max(bounds.memory, key=lambda term: term.default_seconds, default=None)
    heaviest = max(bounds.compute, key=lambda term: term.default_seconds, default=None)
    return Cost(
        made.seconds,
        made.low,
        made.high,
        made.compute_seconds,
        made.memory_seconds,
        made.dispatch_seconds,
        _bound(made, slowest.level.name if slowest else ""),
        bounds.work_class,
        heaviest.unit.name if heaviest else "",
        slowest.level.name if slowest else "",
        _confidence(made).name,
        joules,
        compute_joules,
        memory_joules,
        missing,
        made.unknown,
        made.std,
        made.efficiency,
        made.efficiency_std,
        quality,
    )


def _bound(made: Estimate, level: str) -> str:
    if made.unknown:
        return "unknown"
    if made.dispatch_seconds >= max(made.compute_seconds, made.memory_seconds):
        return "dispatch"
    return "compute" if made.compute_seconds >= made.memory_seconds or not level else level


def _confidence(made: Estimate) -> Confidence:
    if made.measured is None:
        return Confidence.THEORETICAL
    same = made.measured.quality in (Quality.EXACT, Quality.SIZE_INTERPOLATED)
    return Confidence.CALIBRATED if same else Confidence.INTERPOLATED


def _energy(made: Estimate, target: Target) -> tuple[float | None, float | None, float | None, tuple[str, ...]]:
    """Joules of arithmetic, of traffic, and in all with static power; and what the target has no coefficient for."""
    energy = target.device.energy
    if energy is None:
        return None, None, None, ()
    flop = [(term.precision, flops(term.primitive), energy.per_flop(term.precision)) for term in made.bounds.compute]
    byte = [(term.level.name, term.bytes, energy.per_byte(term.level.name)) for term in made.bounds.memory]
    compute = sum((amount * coefficient for _, amount, coefficient in flop if coefficient is not None), 0.0)
    memory = sum((amount * coefficient for _, amount, coefficient in byte if coefficient is not None), 0.0)
    missing = dict.fromkeys(name for name, _, coefficient in (*flop, *byte) if coefficient is None)
    static = (energy.idle_watts or 0.0) * made.seconds
    return compute, memory, compute + memory + static, tuple(missing)


# -- bodies -----------------------------------------------------------------------------------------------------------


def _with_bodies(own: Cost, launched: Sequence[tuple[Cost, int]]) -> Cost:
    """Return what an operation costs that launches kernels: each so many times, beside what it does itself."""
    parts = [(own, 1), *((cost, times) for cost, times in launched if times)]
    whole = correlated_sum((part.work_class, t * part.seconds, t * part.low, t * part.high) for part, t in parts)
    longest = max(parts, key=lambda part: part[0].seconds * part[1])[0]
    return replace(
        longest,
        seconds=whole.seconds,
        low=whole.low,
        high=whole.high,
        std=whole.std,
        compute_seconds=sum((t * part.compute_seconds for part, t in parts), 0.0),
        memory_seconds=sum((t * part.memory_seconds for part, t in parts), 0.0),
        dispatch_seconds=sum((t * part.dispatch_seconds for part, t in parts), 0.0),
        joules=_joules((part.joules, t) for part, t in parts),
        compute_joules=_joules((part.compute_joules, t) for part, t in parts),
        memory_joules=_joules((part.memory_joules, t) for part, t in parts),
        energy_missing=tuple(dict.fromkeys(name for part, _ in parts for name in part.energy_missing)),
        unknown=tuple(dict.fromkeys(reason for part, _ in parts for reason in part.unknown)),
        efficiency=None,
        efficiency_std=None,
        quality=None,
        beside=own,
    )


def _joules(terms: Iterable[tuple[float | None, int]]) -> float | None:
    known = [joules * times for joules, times in terms if joules is not None]
    return sum(known) if known else None


# -- the whole graph --------------------------------------------------------------------------------------------------


def critical_path(graph: Graph) -> float:
    """Seconds of the slowest chain of dependent kernels."""
    finish: dict[Op, float] = {}
    for op in nx.topological_sort(graph.nx):
        cost = op.facts.get(Cost)
        started = max((finish[producer] for producer in graph.nx.predecessors(op)), default=0.0)
        finish[op] = started + (cost.seconds if cost else 0.0)
    return max(finish.values(), default=0.0)

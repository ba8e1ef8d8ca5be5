"""Gives every kernel the target's best evidence: a time from measurements, and how close they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..calibration.kernel import Kernel, operation_type
from ..calibration.measure.described import Described
from ..calibration.prediction import Prediction, Quality
from ..calibration.roofline import Bounds, Roofline
from ..ir import Fact, Graph, Kind, Op, TensorType, kind_of
from ..ir.primitives import Copy
from ..targets import Target
from .base import Context, Pass
from .bodies import Bodies, launches, launches_of
from .evidence import BEST, Predictor, find_evidence
from .fuse import Layout, kernel_ops, main_op, pattern_of
from .lower import Work
from .precision import precision_of
from .weights import weight_bytes

__all__ = [
    "Calibrate", "Calibration", "Match", "described", "efficiency_of", "is_free", "kernel_of", "together",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """How well one primitive of a kernel matches what was measured.

    ``entry`` names the measurement nearest to it, ``efficiency`` is the share of its roofline that it reaches, ``std``
    that figure's standard deviation; ``proxy`` is the operation type that stands, or could stand, in its stead.
    """

    operation_type: str
    quality: Quality
    entry: str = ""
    efficiency: float | None = None
    std: float | None = None
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class Calibration(Fact, key="calibration"):
    """A kernel's time from evidence: log-normal with the median ``seconds`` and ``std`` of the logarithm.

    ``curve`` is the operation type whose curve was used, ``entry`` the measurement nearest to it, ``neighbours`` how
    many lie near. ``matches`` has one for each of the kernel's primitives, in their order.
    """

    seconds: float
    std: float
    quality: Quality
    curve: str
    entry: str
    neighbours: int
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Calibrate(Pass):
    """Attach to every kernel what measurements of the target say of its time, and how closely they match it.

    ``evidence=best`` takes the user's own measurements, else those shipped; ``evidence=FILE`` those of a file;
    ``evidence=none`` leaves it at first principles.
    """

    name = "calibrate"
    requires = ("work",)
    provides = ("calibrated",)
    invalidates = ("cost",)
    evidence: str = BEST

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Calibration` to every kernel whose work is known; without evidence, to none.

        Raises:
            CalibrationError: the evidence cannot be used.
        """
        precision = context.precision or precision_of(graph)
        wanted = (precision, self.evidence)
        if wanted not in context.read_evidence:
            context.read_evidence[wanted] = find_evidence(context.target, *wanted)
        found = context.evidence = context.read_evidence[wanted]
        for launch in launches(graph):
            launch.op.facts.discard(Calibration)
        for remark in found.remarks:
            context.warn("calibrate", remark)
        if found.predictor is None:
            return
        for op, fact in _calibrations(graph, context.target, found.predictor):
            op.facts.add(fact)
            context.count(f"calibrate: {fact.quality.value}")


def _calibrations(graph: Graph, target: Target, predictor: Predictor) -> Iterator[tuple[Op, Calibration]]:
    """Everything is predicted in one call, in the order in which it runs; what is alike is matched once."""
    kernels = {
        launch.op: kernel_of(launch.op, launch.scope)
        for launch in launches(graph)
        if not is_free(launch.op, target) and Bodies not in launch.op.facts and not launch.op.facts[Work].unknown
    }
    predictions = predictor.estimator.predict(tuple(kernels.values()))
    roofline = Roofline.of(target)
    matches: dict[tuple[Kernel, Quality], tuple[Match, ...]] = {}
    for (op, kernel), made in zip(kernels.items(), predictions, strict=True):
        alike = (kernel, made.quality)
        if alike not in matches:
            matches[alike] = _matches(kernel, made, predictor, roofline)
        yield (
            op,
            Calibration(made.seconds, made.std, made.quality, made.curve, made.entry, made.neighbours, matches[alike]),
        )


def _matches(kernel: Kernel, made: Prediction, predictor: Predictor, roofline: Roofline) -> tuple[Match, ...]:
    """How each primitive matches; what was measured exactly was measured with all that is in it."""
    whole: tuple[float | None, float | None] = (None, None)
    if made.quality is Quality.EXACT:
        whole = efficiency_of(roofline.bounds(kernel), made.seconds, made.std)
    matches = []
    for primitive in kernel.primitives:
        found = predictor.match(primitive)
        if made.quality is Quality.EXACT and found.quality is not Quality.EXACT:
            matches.append(Match(operation_type(primitive), made.quality, made.entry, *whole))
        else:
            matches.append(
                Match(operation_type(primitive), found.quality, found.entry, found.efficiency, found.std, found.proxy)
            )
    return tuple(matches)


def efficiency_of(bounds: Bounds, seconds: float, std: float) -> tuple[float | None, float | None]:
    """Return the share of its roofline that a kernel of ``seconds`` reaches, and that figure's standard deviation.

    ``std`` is that of the logarithm of ``seconds``; dispatch is taken as known, so all of it is the work's.
    """
    efficiency = bounds.efficiency_at(seconds)
    if efficiency is None:
        return None, None
    return efficiency, efficiency * std * seconds / (seconds - bounds.dispatch_at(seconds))


def kernel_of(op: Op, graph: Graph) -> Kernel:
    """Return what ``op``, a lowered operation of ``graph``, computes and moves.

    A control operation's bodies are left out: their kernels are launched by themselves.
    """
    work = op.facts[Work].beside
    weights = sum(read for value, read in zip(op.operands, work.reads, strict=True) if value and value.is_constant)
    layout = op.facts.get(Layout)
    kernel = Kernel(
        pattern_of(op),
        work.primitives,
        weights,
        sum(work.reads) - weights,
        sum(work.writes),
        swept_bytes=graph.cached(weight_bytes),
        operator=main_op(op).base_name,
        layout=layout.name if layout else "",
        reordered_bytes=layout.reordered_bytes if layout else 0,
    )
    return kernel if work.primitives or kind_of(main_op(op)) is not Kind.LAYOUT else _copied(kernel, op)


def together(op: Op, graph: Graph, target: Target) -> Kernel:
    """Return an operation as it is measured: a control operation with all trips of its bodies, as one kernel."""
    kernel, work = kernel_of(op, graph), op.facts[Work]
    if work.inside is None:
        return kernel
    return replace(
        kernel,
        primitives=work.primitives,
        weight_bytes=kernel.weight_bytes + work.inside.weight_bytes,
        read_bytes=kernel.read_bytes + work.inside.bytes - work.inside.weight_bytes,
        launches=sum(launch.times for launch in launches_of(op, graph) if not is_free(launch.op, target)),
    )


def _copied(kernel: Kernel, op: Op) -> Kernel:
    """A transpose of nothing but axes of one element could be a view; it is launched, and copies, all the same."""
    type = op.result.type
    if not isinstance(type, TensorType) or not type.known or not type.bytes:
        return kernel
    moved = Copy(type.elements or 0, type.dtype, type.elements)
    return replace(kernel, primitives=(moved,), read_bytes=type.bytes, write_bytes=type.bytes)


def is_free(op: Op, target: Target) -> bool:
    """Whether a kernel is a view, and views cost nothing on the target."""
    return target.runtime.views == "free" and all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))


def described(graph: Graph, target: Target) -> Sequence[Described]:
    """Return the kernels that ``target`` launches for a lowered graph, in graph order.

    Views that cost nothing are left out; what they hand on counts as read from where it was made.
    """
    return [_described(op, graph, target) for op in graph.body if not is_free(op, target)]


def _described(op: Op, graph: Graph, target: Target) -> Described:
    inner = kernel_ops(op)
    made = (*(value.name for value in op.results), *(value.name for member in inner for value in member.results))
    return Described(
        together(op, graph, target),
        tuple(dict.fromkeys(made)),
        tuple(dict.fromkeys(origin.name for origin in op.loc.origins)),
        tuple(value.name for value in op.inputs if not value.is_constant),
    )

"""Every operation's work, as primitives and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..ir import (
    CONSTANT,
    INPUT,
    OUTPUT,
    Count,
    Fact,
    Graph,
    Kind,
    Op,
    TensorType,
    Value,
    definition,
    kind_of,
    largest,
    lowering,
    smallest,
    typical,
)
from ..ir.primitives import Primitive, Unknown, flops, repeated
from .base import Context, Pass, PassError
from .bodies import Bodies, Body, bodies_of, nested_bodies
from .quantized import DEQUANTIZE
from .weights import is_weight

__all__ = ["KERNEL", "Inside", "Lower", "Work", "take", "weight_reads"]

KERNEL = "graphs.kernel"
"""Name of the operation that holds a fused kernel's operations in its region."""

QUANTIZED = "quantized"
"""Attribute of a kernel that computes on what its operands are dequantised from."""

_FURTHEST = 64
"""Views of views that are looked through."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the bodies of a control operation do, all their trips together.

    Of the operation's primitives those from ``own`` on are theirs; their kernels move ``bytes``, ``weight_bytes`` of
    them weights'.
    """

    own: int
    bytes: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Work(Fact, key="work"):
    """What an operation or a fused kernel does, whatever it runs on.

    ``reads`` has the bytes read of each operand, ``writes`` of each result: of a fused kernel, what crosses its
    boundary. The primitives of a control operation are its own and those of its bodies, ``inside`` tells them apart.
    """

    primitives: tuple[Primitive, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    inside: Inside | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(primitive.macs for primitive in self.primitives)

    @property
    def flops(self) -> int:
        """Floating-point (or integer) operations, two for each multiply-accumulate."""
        return sum(flops(primitive) for primitive in self.primitives)

    @property
    def bytes(self) -> int:
        """Bytes that cross the boundary, in and out; those that a control operation's bodies move with them."""
        return sum(self.reads) + sum(self.writes) + (self.inside.bytes if self.inside else 0)

    @property
    def beside(self) -> Work:
        """What a control operation does beside its bodies; of any other operation, all of it."""
        return Work(self.primitives[: self.inside.own], self.reads, self.writes) if self.inside else self

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """What could not be counted."""
        return tuple(primitive for primitive in self.primitives if isinstance(primitive, Unknown))


@dataclass(frozen=True)
class Lower(Pass):
    """Lower every operation to primitives: the multiply-accumulates, other arithmetic and bytes of its work."""

    name = "lower"
    requires = ("precision",)
    provides = ("work",)
    invalidates = ("calibrated", "cost")
    needs_numbers = False

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Work` to every operation, inside kernels and bodies too.

        Raises:
            PassError: the context is strict and something cannot be counted.
        """
        for body in reversed(nested_bodies(graph)):
            _lower(body.region)
        _lower(graph)
        for op in graph.body:
            work = op.facts[Work]
            context.count("lower: primitives", len(work.primitives))
            if context.strict and work.unknown:
                raise PassError(
                    f"lower: {work.unknown[0].reason}",
                    op,
                    help="add one with @define (docs/extending.md); without --strict it is reported as unknown",
                )


def _lower(graph: Graph) -> None:
    """Attach its work to every operation of a graph whose bodies have been lowered."""
    for op in graph.body:
        if op.name == KERNEL:
            _lower_kernel(op)
        else:
            op.facts.add(_work(op))
            if op.regions:
                _lower_control(op, bodies_of(op))


def _work(op: Op) -> Work:
    lowered = lowering(op)
    reads = tuple(lowered.reads.get(i, _bytes(value)) for i, value in enumerate(op.operands))
    writes = tuple(lowered.writes.get(i, _bytes(value)) for i, value in enumerate(op.results))
    if kind_of(op) is Kind.VIEW:
        reads, writes = (0,) * len(reads), (0,) * len(writes)
    elif kind_of(op) is Kind.CONTRACTION:
        made = _presence(op)  # an expert that no row is routed to reads no weights
        pairs = zip(op.operands, reads, strict=True)
        reads = tuple(count * made if value is not None and value.is_constant else count for value, count in pairs)
    return Work(lowered.primitives, reads, writes)


def _lower_control(op: Op, bodies: Sequence[Body]) -> None:
    """Add the work of a control operation's bodies to its own: of a choice, that of the branch of most FLOPs."""
    if not bodies:
        return
    sums = [_sum(body.region) for body in bodies]
    choice = [index for index, body in enumerate(bodies) if body.runs.one_of]
    dearest = max(choice, key=lambda index: (typical(sums[index].flops), typical(sums[index].bytes)), default=None)
    op.facts.add(
        Bodies(
            tuple(0 if index in choice and index != dearest else body.times or 0 for index, body in enumerate(bodies)),
            tuple(each.macs for each in sums),
            tuple(each.bytes for each in sums),
        )
    )
    take(op, op.facts[Bodies].times)


def take(op: Op, times: Sequence[int]) -> None:
    """Count the bodies of a lowered control operation: each so many times. What is unknown in any stays unknown."""
    work, bodies = op.facts[Work].beside, bodies_of(op)
    open_trips = dict.fromkeys(Unknown(body.runs.why) for body in bodies if body.times is None)
    own = tuple(dict.fromkeys((*work.primitives, *open_trips))) if open_trips else work.primitives
    inside: list[Primitive] = []
    moved = weights = 0
    for body, count in zip(bodies, times, strict=True):
        each = _sum(body.region)
        counted = [repeated(primitive, count) for primitive in each.primitives if count]
        inside.extend(counted or (each.unknown if body.times != 0 else ()))
        moved, weights = moved + count * each.bytes, weights + count * _weight_bytes(body.region)
    op.facts.add(Work((*own, *inside), work.reads, work.writes, Inside(len(own), moved, weights)))
    op.facts.add(replace(op.facts[Bodies], times=tuple(times)))


def _sum(region: Graph) -> Work:
    """What one run of a body does."""
    works = [op.facts[Work] for op in region.body]
    return Work(
        tuple(primitive for work in works for primitive in work.primitives),
        (sum(work.bytes - sum(work.writes) for work in works),),
        (sum(sum(work.writes) for work in works),),
    )


def _weight_bytes(region: Graph) -> int:
    inside = (op.facts[Work].inside for op in region.body)
    return sum(map(weight_reads, region.body)) + sum(each.weight_bytes for each in inside if each)


def weight_reads(op: Op) -> int:
    """Return the bytes that a lowered operation reads of the weights among its operands."""
    reads = op.facts[Work].reads
    return sum(read for value, read in zip(op.operands, reads, strict=True) if value and is_weight(value, (op,)))


def _presence(op: Op) -> Count:
    """1 where an operation makes something, 0 where its first result is empty; an expression where that is open."""
    type_ = op.results[0].type if op.results else None
    count = type_.elements if isinstance(type_, TensorType) else None
    return 1 if count is None else smallest(1, count)


def _bytes(value: Value | None) -> int:
    """The bytes that a value lies in: of a broadcast view those of what is broadcast."""
    if value is None:
        return 0
    size = value.bytes or 0
    for _ in range(_FURTHEST):
        entry, source = definition(value.op.name), value.op.operand(0)
        if entry is None or not entry.aliases or source is None:
            break
        size, value = smallest(size, source.bytes or 0), source
    return size


def _lower_kernel(kernel: Op) -> None:
    """A kernel's work is its operations' primitives; its traffic is what its region reads from and hands outside."""
    (region,) = kernel.regions
    primitives: list[Primitive] = []
    for op in region.body:
        work = _work(op)
        op.facts.add(_on_integers(op, work) if kernel.attributes.get(QUANTIZED) else work)
        primitives.extend(op.facts[Work].primitives)
    reads = tuple(_read_bytes(region, entry.result) for entry in region.inputs)
    writes = tuple(_written_bytes(exit.operands[0]) for exit in region.outputs)
    kernel.facts.add(Work(tuple(primitives), reads, writes))


def _on_integers(op: Op, work: Work) -> Work:
    """The work of an operation in a kernel that computes on what its operands are dequantised from.

    The dequantisation is none then, but for a scale that rides on the sums.
    """
    if op.name in DEQUANTIZE:
        return replace(work, primitives=())
    sources = (value.op.operand(0) for value in op.inputs if value.op.name in DEQUANTIZE)
    source = next((value for value in sources if value is not None and isinstance(value.type, TensorType)), None)
    if source is None or not isinstance(source.type, TensorType):
        return work
    dtype = source.type.dtype
    return replace(work, primitives=tuple(replace(p, dtype=dtype) for p in work.primitives))


def _read_bytes(region: Graph, value: Value) -> int:
    """Bytes of ``value`` that the region reads, once however many readers there are; views read through."""
    most = 0
    for user, index in region.uses(value):
        if user.name == OUTPUT:
            continue
        through = kind_of(user) is Kind.VIEW and user.results and index == 0  # its other operands are shapes and axes
        most = largest(most, _read_bytes(region, user.results[0]) if through else user.facts[Work].reads[index])
    return most


def _written_bytes(value: Value | None) -> int:
    while value is not None and value.op.name not in (INPUT, CONSTANT) and kind_of(value.op) is Kind.VIEW:
        value = value.op.operand(0)
    if value is None or value.op.name in (INPUT, CONSTANT):
        return 0
    return value.op.facts[Work].writes[value.index]

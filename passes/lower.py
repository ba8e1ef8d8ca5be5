"""Every operation's work, as primitives and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import CONSTANT, INPUT, OUTPUT, Fact, Graph, Kind, Op, Value, kind_of, lowering
from ..ir.primitives import Primitive, Unknown, flops
from .base import Context, Pass, PassError

__all__ = ["KERNEL", "Lower", "Work"]

KERNEL = "graphs.kernel"
"""Name of the operation that holds a fused kernel's operations in its region."""


@dataclass(frozen=True, slots=True)
class Work(Fact, key="work"):
    """What an operation or a fused kernel does, whatever it runs on.

    ``reads`` has the bytes read of each operand, ``writes`` of each result: of a fused kernel, what crosses its
    boundary.
    """

    primitives: tuple[Primitive, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]

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
        """Bytes that cross the boundary, in and out."""
        return sum(self.reads) + sum(self.writes)

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

    def run(self, graph: Graph, context: Context) -> None:
        """Attach :class:`Work` to every operation, inside kernels too.

        Raises:
            PassError: the context is strict and something cannot be counted.
        """
        for op in graph.body:
            if op.name == KERNEL:
                _lower_kernel(op)
            else:
                op.facts.add(_work(op))
            work = op.facts[Work]
            context.count("lower: primitives", len(work.primitives))
            if context.strict and work.unknown:
                raise PassError(
                    f"lower: {work.unknown[0].reason}",
                    op,
                    help="add one with @define (docs/extending.md); without --strict it is reported as unknown",
                )


def _work(op: Op) -> Work:
    lowered = lowering(op)
    reads = tuple(lowered.reads.get(i, _bytes(value)) for i, value in enumerate(op.operands))
    writes = tuple(lowered.writes.get(i, _bytes(value)) for i, value in enumerate(op.results))
    if kind_of(op) is Kind.VIEW:
        reads, writes = (0,) * len(reads), (0,) * len(writes)
    return Work(lowered.primitives, reads, writes)


def _bytes(value: Value | None) -> int:
    return (value.bytes or 0) if value is not None else 0


def _lower_kernel(kernel: Op) -> None:
    """A kernel's work is its operations' primitives; its traffic is what its region reads from and hands outside."""
    (region,) = kernel.regions
    primitives: list[Primitive] = []
    for op in region.body:
        op.facts.add(_work(op))
        primitives.extend(op.facts[Work].primitives)
    reads = tuple(_read_bytes(region, entry.result) for entry in region.inputs)
    writes = tuple(_written_bytes(exit.operands[0]) for exit in region.outputs)
    kernel.facts.add(Work(tuple(primitives), reads, writes))


def _read_bytes(region: Graph, value: Value) -> int:
    """Bytes of ``value`` that the region reads, once however many readers there are; views read through."""
    most = 0
    for user, index in region.uses(value):
        if user.name == OUTPUT:
            continue
        through = kind_of(user) is Kind.VIEW and user.results and index == 0  # its other operands are shapes and axes
        most = max(most, _read_bytes(region, user.results[0]) if through else user.facts[Work].reads[index])
    return most


def _written_bytes(value: Value | None) -> int:
    while value is not None and value.op.name not in (INPUT, CONSTANT) and kind_of(value.op) is Kind.VIEW:
        value = value.op.operand(0)
    if value is None or value.op.name in (INPUT, CONSTANT):
        return 0
    return value.op.facts[Work].writes[value.index]

"""torch's higher-order operators: functions chosen among or repeated, which are regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from ...graph import Op
from ...primitives import Elementwise, Primitive, Unknown, flops
from ...registry import Kind, Lowering, OpDef, Runs, add, lowering
from ..attention import Heads
from ..control import open_trips
from ..reading import dims, integer, normal_axis, ranked, tensor, view

__all__: list[str] = []


def _stated(op: Op) -> list[list[None]]:
    """The program states the types inside."""
    return [[None] * len(region.inputs) for region in op.regions]


def _branches(op: Op) -> Sequence[Runs]:
    return (Runs(1, "its condition is known only when it runs", one_of=True),) * len(op.regions)


def _endless(op: Op) -> Sequence[Runs]:
    """The condition runs once more than the body; neither is known."""
    return (open_trips(op),) * len(op.regions)


def _each(first: Callable[[Op], int]) -> Callable[[Op], Sequence[Runs]]:
    """One trip for each entry of the first operand that is taken apart."""

    def runs(op: Op) -> Sequence[Runs]:
        x = ranked(op, first(op))
        return (open_trips(op) if x is None else Runs(x[1][0], "one for each entry of what it takes apart"),)

    return runs


def _associative(op: Op) -> Sequence[Runs]:
    """A parallel scan combines about two pairs for each entry along its axis (Blelloch 1990)."""
    x = ranked(op, 0)
    if x is None:
        return (open_trips(op),)
    return (Runs(2 * x[1][normal_axis(integer(op, "dim", 0), len(x[1]))], "two pairs for each entry, about"),)


def _control(name: str, runs: Callable[[Op], Sequence[Runs]], doc: str) -> None:
    add(OpDef(f"higher_order.{name}", Kind.CONTROL, view, doc=doc, any_type=True, enter=_stated, runs=runs))


_control("cond", _branches, "One of two branches.")
_control("while_loop", _endless, "A body, until its condition fails.")
_control("scan", _each(lambda op: integer(op, "init", 0)), "A body for each entry.")
_control("map_impl", _each(lambda op: 0), "A body for each entry.")
_control("associative_scan", _associative, "A function of pairs, about two for each entry.")


def _flex(op: Op) -> Iterable[Primitive]:
    """Attention whose scores go through a function, written for one score; masked blocks are counted as the others."""
    q, k, v = dims(op, 0), dims(op, 1), dims(op, 2)
    heads = Heads(prod(q[:-3]), q[-3], k[-3], q[-2], k[-2], q[-1], v[-1], tensor(op, 0).dtype)
    changed = [primitive for inner in op.regions[0].body for primitive in lowering(inner).primitives]
    each = sum(flops(primitive) for primitive in changed)
    yield from heads.primitives()
    if each:
        yield Elementwise("score_mod", prod(q[:-1]) * k[-2], tensor(op, 0).dtype, each)
    yield from (primitive for primitive in changed if isinstance(primitive, Unknown))


add(
    OpDef(
        "higher_order.flex_attention",
        Kind.CONTRACTION,
        lambda op: Lowering(tuple(_flex(op))),
        doc="Attention with a function of each score.",
        any_type=True,
        enter=_stated,
    )
)

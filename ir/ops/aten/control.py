"""torch's higher-order operators: functions chosen among or repeated, which are regions."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ...graph import Op
from ...primitives import Elementwise, Primitive, Unknown, flops
from ...registry import Kind, Lowering, OpDef, add
from ..attention import Heads
from ..control import region_primitives, repeated
from ..reading import dims, integer, normal_axis, tensor

__all__: list[str] = []


def _cond(op: Op) -> Iterable[Primitive]:
    """The dearer branch; what is unknown in the other stays unknown."""
    branches = tuple(map(region_primitives, op.regions))
    dearest = max(branches, key=lambda branch: sum(flops(primitive) for primitive in branch))
    others = [primitive for branch in branches if branch is not dearest for primitive in branch]
    return (*dearest, *(primitive for primitive in others if isinstance(primitive, Unknown)))


def _while(op: Op) -> Iterable[Primitive]:
    return (Unknown(f"the number of trips of {op.label!r} follows from what it computes"),)


def _each(op: Op, carried: int) -> Iterable[Primitive]:
    """One trip for each entry of the first operand that is taken apart."""
    trips = dims(op, carried)[0]
    return (repeated(primitive, trips) for primitive in region_primitives(op.regions[0])) if trips else ()


def _associative(op: Op) -> Iterable[Primitive]:
    """A parallel scan combines about two pairs for each entry along its axis (Blelloch 1990)."""
    shape = dims(op, 0)
    trips = 2 * shape[normal_axis(integer(op, "dim", 0), len(shape))] if shape else 1
    return (repeated(primitive, trips) for primitive in region_primitives(op.regions[0]))


def _flex(op: Op) -> Lowering:
    """Attention whose scores go through a function, written for one score; masked blocks are counted as the others."""
    q, k, v = dims(op, 0), dims(op, 1), dims(op, 2)
    heads = Heads(prod(q[:-3]), q[-3], k[-3], q[-2], k[-2], q[-1], v[-1], tensor(op, 0).dtype)
    scores = prod(q[:-3]) * q[-3] * q[-2] * k[-2]
    changed = region_primitives(op.regions[0]) if op.regions else ()
    each = sum(flops(primitive) for primitive in changed)
    unknown = tuple(primitive for primitive in changed if isinstance(primitive, Unknown))
    work = (Elementwise("score_mod", scores, tensor(op, 0).dtype, each),) if each else ()
    return Lowering((*heads.primitives(), *work, *unknown))




_ENTRIES = (
    OpDef("higher_order.cond", Kind.CONTROL, _cond, doc="The dearer branch.", any_type=True),
    OpDef("higher_order.while_loop", Kind.CONTROL, _while, doc="A body, until its condition fails.", any_type=True),
    OpDef("higher_order.scan", Kind.CONTROL, lambda op: _each(op, integer(op, "init", 0)), doc="A body for each entry."),
    OpDef("higher_order.map_impl", Kind.CONTROL, lambda op: _each(op, 0), doc="A body for each entry."),
    OpDef("higher_order.associative_scan", Kind.CONTROL, _associative, doc="A function of pairs, about two each entry."),
    OpDef("higher_order.flex_attention", Kind.CONTRACTION, _flex, doc="Attention with a function of each score."),
)
for _entry in _ENTRIES:
    add(_entry)

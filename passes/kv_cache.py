"""The caches of a decoder: what a step takes of the steps before it, and hands back with its own entries added.

A cache is recognised by structure, never by name: a graph input that reaches a graph output of its type, but for one
axis, through an operation that continues it (a concatenation, a scatter, an attention operator's past and present),
where the network also reads what it hands back. Views, slices, splits, transposes, branches of ``If`` and fused kernels
on the way are looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ir import INPUT, Graph, Kind, Op, TensorType, Value, definition, kind_of
from .lower import KERNEL

__all__ = ["Cache", "cache_bytes", "cache_values", "caches", "held_in_caches"]

_HANDS_ON = frozenset({"onnx.Gather", "onnx.Slice", "onnx.Split", "onnx.Transpose"})
"""Operators, besides views, that take a cache apart or turn it round."""

_LOOKED_INTO = frozenset({KERNEL, "onnx.If"})
"""Operations whose regions read what is outside as their last operands, and whose results are the regions'."""

_READS_ITS_CACHE = frozenset({Kind.CONTRACTION, Kind.RECURRENT})
"""Kinds of operators that read the cache which they continue: attention."""

_LONGEST_WAY = 256
"""Operations between a cache before the step and after it; decoders have a handful."""

_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache before the step (a graph input's value) and after it (what the graph returns)."""

    past: Value
    present: Value


def caches(graph: Graph) -> tuple[Cache, ...]:
    """Return the graph's caches in the order of its outputs: an analysis for ``graph.cached``."""
    found: dict[Value, Cache] = {}
    for op in graph.outputs:
        (present,) = op.operands
        origin = _origin(graph, present) if present is not None else None
        if present is None or origin is None or not origin.used:
            continue
        if origin.value not in found and _continues(origin.value, present):
            found[origin.value] = Cache(origin.value, present)
    return tuple(found.values())


def cache_bytes(graph: Graph) -> int:
    """Return the bytes of all caches after the step."""
    return sum(cache.present.bytes or 0 for cache in graph.cached(caches))


def held_in_caches(graph: Graph) -> frozenset[Value]:
    """Return the values that caches hold before and after the step, and what the latter are views of."""
    held: set[Value] = set()
    for cache in graph.cached(caches):
        held.add(cache.past)
        value: Value | None = cache.present
        while value is not None and value not in held:
            held.add(value)
            value = value.op.operand(0) if _is_view(value.op) else None
    return frozenset(held)


def cache_values(graph: Graph) -> frozenset[Value]:
    """Return the values that lie in a cache, all views of them included: an analysis for ``graph.cached``."""
    found = set(held_in_caches(graph))
    for op in graph.body if found else ():
        if op.operand(0) in found and _is_view(op):
            found.update(op.results)
    return frozenset(found)


def _is_view(op: Op) -> bool:
    inner = op.regions[0].body if op.name == KERNEL else (op,)
    return bool(inner) and all(kind_of(member) is Kind.VIEW for member in inner)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a value comes from, and how: whether an operation continued it, and the network reads what that made."""

    value: Value
    continued: bool
    used: bool


def _origin(graph: Graph, value: Value) -> _Origin | None:
    """Follow ``value`` back to an input of ``graph``; ``None`` where something else than handing on made it."""
    readers = graph.cached(_readers)
    reader: Op | None = None
    continued = used = read = False
    for _ in range(_LONGEST_WAY):
        if value.op.name == INPUT:
            return _Origin(value, continued, used)
        read = read or any(user is not reader for user in readers.get(value, ()))
        step = _step_back(value)
        if step is None:
            return None
        if step.continued:
            continued, used = True, used or read or step.used
        value, reader = step.value, value.op
    return None


def _readers(graph: Graph) -> dict[Value, set[Op]]:
    """One or two of the operations that read each value; the graph's outputs are none."""
    found: dict[Value, set[Op]] = {}
    for op in graph.body:
        for value in op.inputs:
            readers = found.setdefault(value, set())
            if len(readers) < _ENOUGH:
                readers.add(op)
    return found


def _step_back(value: Value) -> _Origin | None:
    """The operand that ``value`` was made of, where its operation only handed it on, or continued it."""
    op = value.op
    if op.name in _LOOKED_INTO:
        return next(_inside(op, value.index), None)
    entry = definition(op.name)
    for operand, result in entry.caches if entry else ():
        source = _first_filled(op, operand)
        if result == value.index and source is not None:
            return _Origin(source, True, kind_of(op) in _READS_ITS_CACHE)
    source = op.operand(0)
    handed_on = source is not None and (kind_of(op) is Kind.VIEW or op.name in _HANDS_ON)
    return _Origin(source, False, False) if source is not None and handed_on else None


def _first_filled(op: Op, index: int) -> Value | None:
    """The operand ``index``, or the first after it that is no empty constant: what transformers' cache starts with."""
    values = (value for value in op.operands[index:] if value is None or not (value.is_constant and value.bytes == 0))
    return next(values, None)


def _inside(op: Op, index: int) -> Iterator[_Origin]:
    """What result ``index`` comes from in each region that traces it to a value from outside."""
    for region in op.regions:
        made = region.outputs[index].operand(0)
        origin = _origin(region, made) if made is not None else None
        if origin is None:
            continue
        place = len(op.operands) - len(region.inputs) + region.inputs.index(origin.value.op)
        source = op.operand(place)
        if source is not None:
            yield _Origin(source, origin.continued, origin.used)


def _continues(past: Value, present: Value) -> bool:
    """Whether both are of one type but for the extent of one axis."""
    before, after = past.type, present.type
    if not isinstance(before, TensorType) or not isinstance(after, TensorType) or before.dtype is not after.dtype:
        return False
    if before.shape is None or after.shape is None or len(before.shape) != len(after.shape):
        return False
    return sum(a != b for a, b in zip(before.shape, after.shape, strict=True)) <= 1

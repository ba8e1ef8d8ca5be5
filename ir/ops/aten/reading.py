"""Readers that the entries of ATen operators share: arguments with torch's defaults, weights behind views.

Tensor arguments are operands in the order of the operator's schema; all others are attributes of the schema's names,
and those that the source leaves out are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...graph import CONSTANT, Op, Value
from ...primitives import Primitive
from ...registry import Kind, Lowering, OpDef, add, definition
from ...types import DType, TensorType
from ..reading import integer, integers

__all__ = ["enter", "flag", "is_weight", "operands_of", "result_dtype", "spread"]

Lower = Callable[[Op], "Iterable[Primitive] | Lowering"]

_FURTHEST = 64
"""Views between a weight and what reads it, at most."""


def enter(
    names: str, kind: Kind, lower: Lower, doc: str, *, aliases: bool = False, caches: tuple[tuple[int, int], ...] = ()
) -> None:
    """Register one entry for each of some operators, named without their dialect and separated by spaces."""
    for name in names.split():
        add(OpDef(f"aten.{name}", kind, lower, None, None, doc, caches=caches, aliases=aliases))


def flag(op: Op, name: str, default: bool = False) -> bool:
    """Return a boolean argument."""
    value = op.attributes.get(name, default)
    if not isinstance(value, bool | int):
        raise ValueError(f"argument {name!r} of {op.name} is no boolean")
    return bool(value)


def spread(op: Op, name: str, rank: int, default: int = 1) -> tuple[int, ...]:
    """Return an argument that has one number for each spatial axis, or one for all of them."""
    given = op.attributes.get(name)
    if given is None or given == ():
        return (default,) * rank
    values = (integer(op, name, default),) if isinstance(given, int) else integers(op, name, ())
    return values * rank if len(values) == 1 else values


def result_dtype(op: Op) -> DType:
    """Return the element type of the first result."""
    type_ = op.results[0].type
    return type_.dtype if isinstance(type_, TensorType) else DType.UNKNOWN


def operands_of(op: Op) -> tuple[int, ...]:
    """Return the indices of the operands that are there."""
    return tuple(index for index, value in enumerate(op.operands) if value is not None)


def is_weight(op: Op, *indices: int) -> bool:
    """Whether one of these operands is a weight, or a view of one."""
    return any(_is_weight(op.operand(index)) for index in indices)


def _is_weight(value: Value | None) -> bool:
    for _ in range(_FURTHEST):
        if value is None or value.is_constant:
            return value is not None
        entry = definition(value.op.name)
        if value.op.name == CONSTANT or entry is None or entry.kind is not Kind.VIEW:
            return False
        value = value.op.operand(0)
    return False

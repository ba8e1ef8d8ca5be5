"""Open dimensions replaced wherever they occur: in types, attributes and facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .attributes import Dense
from .counts import symbols_of
from .expression import Expression, Symbol
from .types import OptionalType, SequenceType, TensorType, Type

__all__ = ["open_symbols", "substitute"]


def substitute(item: Any, extents: Mapping[str, Any]) -> Any:
    """Return a type, attribute or fact with symbols replaced; the item itself where it has none of them.

    Args:
        item: a type, an attribute value, a fact, or a tuple or mapping of these.
        extents: a number or an expression for the name of each symbol to replace.
    """
    if isinstance(item, Expression):
        return item.substitute(extents)
    if isinstance(item, TensorType):
        return item if item.static or item.shape is None else TensorType(item.dtype, substitute(item.shape, extents))
    if isinstance(item, Dense):
        return Dense(item.type, substitute(item.values, extents)) if item.open else item
    if isinstance(item, tuple):
        changed = tuple(substitute(entry, extents) for entry in item)
        return item if all(a is b for a, b in zip(item, changed, strict=True)) else changed
    if isinstance(item, Mapping):
        return {key: substitute(entry, extents) for key, entry in item.items()}
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return _in_fields(item, extents)
    return item


def _in_fields(item: Any, extents: Mapping[str, Any]) -> Any:
    changed = {}
    for field in dataclasses.fields(item):
        old = getattr(item, field.name)
        new = substitute(old, extents)
        if new is not old:
            changed[field.name] = new
    return dataclasses.replace(item, **changed) if changed else item


def open_symbols(type_: Type) -> tuple[Symbol, ...]:
    """Return the symbols of a type's dimensions, each once, sorted by name."""
    if isinstance(type_, SequenceType | OptionalType):
        return open_symbols(type_.element)
    shape = type_.shape if isinstance(type_, TensorType) else None
    return symbols_of(*(shape or ()))

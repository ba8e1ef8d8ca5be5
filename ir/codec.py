"""Dataclasses to attribute dictionaries and back, by their type hints.

Facts and primitives are frozen dataclasses; printed IR, JSON reports and exported models write them through this one
codec. A field is a scalar, string, enum, dataclass, tagged union of dataclasses, or a tuple or optional of these; a
number of things may be an expression.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, TypeVar

from .attributes import Attribute
from .expression import Expression

__all__ = ["decode", "encode"]

T = TypeVar("T")


def encode(item: object) -> dict[str, Attribute]:
    """Return a dataclass as an attribute dictionary; fields that are ``None`` are left out."""
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}  # type: ignore[arg-type]  # checked by fields()
    encoded = {name: _encode(value) for name, value in fields.items() if value is not None}
    tag = getattr(item, "tag", None)
    return {"tag": tag, **encoded} if isinstance(tag, str) else encoded


def _encode(value: Any) -> Attribute:
    if isinstance(value, Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encode(value)
    if isinstance(value, tuple):
        return tuple(_encode(item) for item in value)
    return typing.cast(Attribute, value)


def decode(cls: type[T], encoded: Mapping[str, Any]) -> T:
    """Return the dataclass that :func:`encode` wrote.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    hints = _hints(typing.cast(Hashable, cls))
    unknown = encoded.keys() - hints.keys() - {"tag"}
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
    try:
        return cls(**{name: _decoder(hints[name])(value) for name, value in encoded.items() if name != "tag"})
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


@cache
def _hints(cls: Hashable) -> dict[str, Any]:
    assert isinstance(cls, type)
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


Decoder = Callable[[Any], Any]


@cache
def _decoder(hint: Any) -> Decoder:
    """What makes a value of a type hint, looked up once: files hold the same few types by the thousand."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        return partial(_decode_union, [arm for arm in typing.get_args(hint) if arm is not type(None)])
    if origin is tuple:
        arms = typing.get_args(hint)
        if len(arms) == 2 and arms[1] is Ellipsis:
            return partial(_decode_all, _decoder(arms[0]))
        return partial(_decode_each, [_decoder(arm) for arm in arms])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint.__getitem__
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return partial(decode, hint)
    return partial(_decode_scalar, hint)


def _decode_all(decoder: Decoder, value: Any) -> Any:
    return tuple(map(decoder, value))


def _decode_each(decoders: list[Decoder], value: Any) -> Any:
    return tuple(decoder(item) for decoder, item in zip(decoders, value, strict=True))


def _decode_scalar(hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, Expression):
        return value
    if isinstance(hint, type) and not isinstance(value, hint):
        raise ValueError(f"expected {hint.__name__}, got {value!r}")
    return value


def _decode_union(arms: list[Any], value: Any) -> Any:
    if isinstance(value, Mapping) and "tag" in value:
        for arm in arms:
            if getattr(arm, "tag", None) == value["tag"]:
                return decode(arm, value)
        raise ValueError(f"no {value['tag']!r} among {', '.join(arm.__name__ for arm in arms)}")
    for arm in arms[:-1]:
        if isinstance(arm, type) and isinstance(value, arm):
            return value
    return _decoder(arms[-1])(value)

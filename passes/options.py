"""A pass's options: its dataclass fields, read from words by their type hints and written back."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from .base import Pass
from .pipeline import PassCall, PipelineError

__all__ = ["Option", "call_of", "instantiate", "options_of"]

_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Option:
    """An option as ``--list-passes`` shows it: its name, its type in words, and its default as pipeline text."""

    name: str
    type: str
    default: str


def options_of(cls: type[Pass]) -> tuple[Option, ...]:
    """Return the options that a pass has."""
    hints = typing.get_type_hints(cls)
    return tuple(
        Option(field.name, _type_name(hints[field.name]), ",".join(_words(_default(field))))
        for field in dataclasses.fields(cls)
    )


def instantiate(cls: type[Pass], call: PassCall) -> Pass:
    """Return the pass with the options of ``call``.

    Raises:
        PipelineError: the pass has no such option, the value is not of its type, or the pass refuses it.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, words in call.options:
        if key not in fields:
            raise PipelineError(*_no_option(cls.name, key, list(fields)))
        try:
            values[key] = _read(hints[key], words)
        except ValueError as error:
            raise PipelineError(f'pass "{cls.name}", option "{key}": {error}') from None
    for name, field in fields.items():
        if name not in values and _default(field) is dataclasses.MISSING:
            raise PipelineError(f'pass "{cls.name}" needs its option "{name}": {cls.name}{{{name}=…}}')
    try:
        return cls(**values)
    except ValueError as error:
        raise PipelineError(f'pass "{cls.name}": {error}') from None


def call_of(step: Pass) -> PassCall:
    """Return a pass as pipeline text has it; options at their default are left out."""
    options = [
        (field.name, tuple(_words(getattr(step, field.name))))
        for field in dataclasses.fields(step)
        if getattr(step, field.name) != _default(field)
    ]
    return PassCall(step.name, tuple(options))


def _no_option(name: str, key: str, known: list[str]) -> tuple[str, str]:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'pass "{name}" has no option "{key}"{hint}', f"it has: {', '.join(known) if known else 'none'}"


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _read(hint: Any, words: tuple[str, ...]) -> Any:
    """The words as a value of the type hint. Raises ``ValueError`` saying what was expected."""
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        return tuple(_read(element, (word,)) for word in words)
    if not words and type(None) in typing.get_args(hint):
        return None
    if len(words) != 1:
        given = f"{len(words)} were given; quote a text that has a comma in it" if words else "none was given"
        raise ValueError(f"takes one value, {given}")
    return _read_word(_without_none(hint), words[0])


def _read_word(hint: Any, word: str) -> Any:
    if hint is bool:
        if word.lower() not in _BOOLEANS:
            raise ValueError(f'expected true or false, got "{word}"')
        return _BOOLEANS[word.lower()]
    if hint in (int, float):
        try:
            return hint(word)
        except ValueError:
            raise ValueError(f'expected {_type_name(hint)}, got "{word}"') from None
    choices = _choices(hint)
    if choices is not None:
        if word not in choices:
            close = difflib.get_close_matches(word, list(choices), n=1)
            also = f'; did you mean "{close[0]}"?' if close else ""
            raise ValueError(f'expected one of {", ".join(choices)}, got "{word}"{also}')
        return choices[word]
    if hint is not str:
        raise TypeError(f"options of type {hint} cannot be written as text")
    return word


def _choices(hint: Any) -> dict[str, Any] | None:
    if typing.get_origin(hint) is Literal:
        return {str(choice): choice for choice in typing.get_args(hint)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {str(member.value): member for member in hint}
    return None


def _without_none(hint: Any) -> Any:
    """The type beside ``None``, which is written as an empty value."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
    if len(arms) != 1:
        raise TypeError(f"options of type {hint} cannot be written as text")
    return arms[0]


def _words(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [word for item in value for word in _words(item)]
    if value is None or value is dataclasses.MISSING:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value.value)] if isinstance(value, Enum) else [str(value)]


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return f"list of {_type_name(typing.get_args(hint)[0])}"
    plain = _without_none(hint)
    choices = _choices(plain)
    if choices is not None:
        return "|".join(choices)
    return {bool: "true|false", int: "a whole number", float: "a number", str: "text"}.get(plain, str(plain))

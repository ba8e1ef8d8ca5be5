"""Symbolic extents of an exported program as ours: torch writes them as sympy expressions, or as those are printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..ir.counts import apply, sum_of, symbols_of
from ..ir.expression import UNKNOWN_DIM, Expression, Symbol
from ..ir.expression_text import ExpressionError, parse_expression
from ..ir.types import Dim

__all__ = ["Names", "dim_of", "dim_of_sympy"]

Names = Mapping[str, str]
"""What the user calls a symbol: ``{"s0": "batch"}``."""

_FROM_DATA = "u"
"""Symbols whose extent follows from data (``u0``) may be zero; torch takes all others to be one or more."""


def dim_of(text: str, names: Names) -> Dim:
    """Return an extent that torch prints as ``text``; :data:`UNKNOWN_DIM` where it is no polynomial or quotient."""
    found = _parsed(text)
    if isinstance(found, int):
        return found
    renamed = {
        symbol.name: Symbol(names.get(symbol.name, symbol.name), int(not symbol.name.startswith(_FROM_DATA)))
        for symbol in symbols_of(found)
    }
    extent: Dim = found.substitute(renamed)
    return extent


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Dim:
    try:
        parsed: Dim = parse_expression(text)
    except ExpressionError:
        return UNKNOWN_DIM
    return parsed


# -- sympy's srepr ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def dim_of_sympy(text: str) -> Dim:
    """Return an extent that a file holds as ``Mul(Integer(8), Symbol('s27', positive=True))``.

    :data:`UNKNOWN_DIM` where it is no polynomial or quotient, or no such text.
    """
    tokens = _TOKEN.findall(text) if len(text) <= _LONGEST else []
    try:
        extent, rest = _read(tokens, 0, 0)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return UNKNOWN_DIM
    return extent if rest == len(tokens) and isinstance(extent, int | Expression) else UNKNOWN_DIM


def _read(tokens: Sequence[str], at: int, depth: int) -> tuple[Any, int]:
    """Read ``Name(argument, …)``, a number or a quoted name; return it and what is next. ``key=value`` is nothing."""
    word = tokens[at]
    if depth > _DEEPEST:
        raise ValueError("too deep")
    if word[0] == "'":
        return word[1:-1], at + 1
    if word.lstrip("-").isdigit():
        return int(word), at + 1
    if tokens[at + 1 : at + 2] != ["("]:
        raise ValueError(f"{word} alone")
    arguments: list[Any] = []
    at += 2
    while tokens[at] != ")":
        if tokens[at + 1] == "=":
            at += 3
        else:
            argument, at = _read(tokens, at, depth + 1)
            arguments.append(argument)
        at += tokens[at] == ","
    return _MADE[word](*arguments), at + 1


def _symbol(name: str) -> Symbol:
    return Symbol(name, int(not name.startswith(_FROM_DATA)))


def _product(*factors: Any) -> Any:
    result: Any = 1
    for factor in factors:
        result = result * factor
    return result


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(exponent, int) or not 0 <= exponent <= _HIGHEST_POWER:
        raise ValueError(f"exponent {exponent}")
    return base**exponent


_LONGEST, _DEEPEST, _HIGHEST_POWER = 4096, 30, 16
_TOKEN = re.compile(r"'[^']*'|-?[0-9]+|[A-Za-z_][A-Za-z_0-9]*|[(),=]|[^\s]")
_MADE: Mapping[str, Callable[..., Any]] = {
    "Symbol": _symbol,
    "Integer": int,
    "Add": lambda *terms: sum_of(terms),
    "Mul": _product,
    "Pow": _power,
    "FloorDiv": lambda a, b: a // b,
    "CleanDiv": lambda a, b: a // b,
    "Mod": lambda a, b: a % b,
    "PythonMod": lambda a, b: a % b,
    "Max": lambda *items: apply("max", items),
    "Min": lambda *items: apply("min", items),
}

"""Symbolic extents of an exported program as ours: torch writes them as sympy expressions, or as those are printed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from ..ir.expression import UNKNOWN_DIM, Symbol, symbols_of
from ..ir.expression_text import ExpressionError, parse_expression
from ..ir.types import Dim

__all__ = ["Names", "dim_of"]

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

"""What is done with numbers and expressions alike: sums, symbols, substitution, functions by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .expression import UNKNOWN_DIM, Expression, Monomial, Number, Symbol, made_of

__all__ = ["apply", "substituted", "sum_of", "symbols_of"]


def symbols_of(*counts: int | Expression) -> tuple[Symbol, ...]:
    """Return the symbols in numbers and expressions, each once, sorted by name."""
    found = {symbol for count in counts if isinstance(count, Expression) for symbol in count.symbols}
    return tuple(sorted(found, key=lambda symbol: symbol.name))


def substituted(count: Any, extents: Mapping[str, Any]) -> Any:
    """Return a number as it is, an expression with its symbols replaced."""
    return count.substitute(extents) if isinstance(count, Expression) else count


def sum_of(counts: Iterable[Any]) -> Any:
    """Return a sum; of many expressions faster than one after another."""
    whole: Number = 0
    terms: dict[Monomial, Number] = {}
    for count in counts:
        if not isinstance(count, Expression):
            whole += count
            continue
        if not count.known:
            return UNKNOWN_DIM
        for monomial, factor in count.terms.items():
            terms[monomial] = terms.get(monomial, 0) + factor
    if not terms:
        return whole
    terms[()] = terms.get((), 0) + whole
    return made_of(terms)


def apply(kind: str, args: tuple[Any, ...]) -> Any:
    """Return the function ``kind`` of numbers and expressions, simplified."""
    from .inequalities import extreme

    if kind == "//":
        return args[0] // args[1]
    if kind == "bit_length":
        return args[0].bit_length()
    return extreme(kind, args)

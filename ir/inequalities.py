"""What holds of expressions for all values of their symbols, and the largest and smallest of several.

An expression is at least zero for certain if all its factors are, once every symbol is written as its least value plus
something. Functions are replaced by what bounds them: a quotient rounded down is at most the quotient, a minimum at
most any of its arguments. This proves much and not everything; what it does not prove stays undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .expression import (
    UNKNOWN_DIM,
    Expression,
    Function,
    Symbol,
    Undecided,
    function_of,
    is_unknown,
    made_of,
)

__all__ = ["equal", "extreme", "largest", "less", "never_negative", "smallest"]

_DEPTH = 6
"""Functions that a proof may replace, one after another."""

_TERM_LIMIT = 64
"""Terms of an expression up to which a proof is tried."""

_ARGUMENT_LIMIT = 64
"""Arguments of a maximum or minimum up to which it is kept."""


def less(a: Any, b: Any) -> bool:
    """Return whether ``a`` < ``b`` for all extents.

    Raises:
        Undecided: for some, or nobody can tell.
    """
    if not is_unknown(a) and not is_unknown(b):
        if never_negative(b - a - 1):
            return True
        if never_negative(a - b):
            return False
    raise Undecided(f"whether {a} < {b} depends on the dimensions that are open")


def equal(a: Any, b: Any) -> bool:
    """Return whether ``a`` = ``b`` for all extents.

    Raises:
        Undecided: for some, or nobody can tell.
    """
    if not is_unknown(a) and not is_unknown(b):
        if a == b:
            return True
        if never_negative(a - b - 1) or never_negative(b - a - 1):
            return False
    raise Undecided(f"whether {a} = {b} depends on the dimensions that are open")


def largest(*counts: Any) -> Any:
    """Return the largest of numbers and expressions, as an expression where it depends on open dimensions."""
    return extreme("max", counts)


def smallest(*counts: Any) -> Any:
    """Return the smallest of numbers and expressions, as an expression where it depends on open dimensions."""
    return extreme("min", counts)


def extreme(kind: str, counts: tuple[Any, ...]) -> Any:
    """Return the ``max`` or ``min`` of numbers and expressions without those that another one always exceeds."""
    if not any(isinstance(count, Expression) for count in counts):
        return max(counts) if kind == "max" else min(counts)
    if any(is_unknown(count) for count in counts):
        return UNKNOWN_DIM
    kept: list[Any] = []
    for count in dict.fromkeys(_flattened(kind, counts)):
        if any(_covers(kind, other, count) for other in kept):
            continue
        kept = [other for other in kept if not _covers(kind, count, other)]
        kept.append(count)
        if len(kept) > _ARGUMENT_LIMIT:
            return UNKNOWN_DIM
    if len(kept) == 1:
        return kept[0]
    return function_of(kind, tuple(sorted(kept, key=lambda count: (isinstance(count, Expression), str(count)))))


def _flattened(kind: str, counts: tuple[Any, ...]) -> Iterator[Any]:
    for count in counts:
        if isinstance(count, Function) and count.kind == kind:
            yield from count.args
        else:
            yield count


def _covers(kind: str, one: Any, other: Any) -> bool:
    return never_negative(one - other if kind == "max" else other - one)


# -- proofs -----------------------------------------------------------------------------------------------------------


def never_negative(count: int | Expression) -> bool:
    """Return whether a number or expression is at least zero for all extents, as far as that can be proved."""
    if not isinstance(count, Expression):
        return count >= 0
    return count.known and _proved(count, _DEPTH)


@lru_cache(maxsize=16384)
def _proved(count: Expression, depth: int) -> bool:
    if len(count.terms) > _TERM_LIMIT:
        return False
    raised = _raised(count)
    if not isinstance(raised, Expression):
        return bool(raised >= 0)
    if all(factor >= 0 for factor in raised.terms.values()):
        return all(_atom_never_negative(atom) for monomial in raised.terms for atom, _ in monomial)
    return depth > 0 and any(_by_bound(count, atom, depth - 1) for atom in _bounded(count))


def _raised(count: Expression) -> Any:
    """The expression with every symbol written as its least value plus one that starts from zero."""
    symbols = {atom for monomial in count.terms for atom, _ in monomial if isinstance(atom, Symbol)}
    if len(count.terms) << sum(symbol.lower > 0 for symbol in symbols) > 4096:
        return count
    shifted = {symbol.name: Symbol(symbol.name, 0) + symbol.lower for symbol in symbols}
    whole: Any = 0
    for monomial, factor in count.terms.items():
        product: Any = factor
        for atom, power in monomial:
            base = shifted[atom.name] if isinstance(atom, Symbol) else atom
            for _ in range(min(power, 16)):
                product = product * base
            if power > 16:
                return count
        whole = whole + product
    return whole


def _atom_never_negative(atom: Expression) -> bool:
    if not isinstance(atom, Function):
        return True
    if atom.kind in ("//", "min"):
        return all(never_negative(arg) for arg in atom.args)
    return atom.kind != "max" or any(never_negative(arg) for arg in atom.args)


def _bounded(count: Expression) -> list[Expression]:
    atoms = {atom: None for monomial in count.terms for atom, _ in monomial}
    return [
        atom for atom in atoms if isinstance(atom, Function) or (isinstance(atom, Symbol) and atom.upper is not None)
    ]


def _by_bound(count: Expression, atom: Expression, depth: int) -> bool:
    """Whether the expression is never negative even with ``atom``, in which it is linear, at its worst."""
    slope, rest = _split(count, atom)
    if slope is None:
        return False
    if never_negative(slope):
        return any(all(_never(slope * low + rest * scale, depth) for low, scale in way) for way in _lower(atom))
    if never_negative(-slope):
        return any(all(_never(slope * high + rest * scale, depth) for high, scale in way) for way in _upper(atom))
    return False


def _never(count: Any, depth: int) -> bool:
    if isinstance(count, Expression):
        return count.known and _proved(count, depth)
    return bool(count >= 0)


def _split(count: Expression, atom: Expression) -> tuple[Any, Any]:
    """The factor of ``atom`` and what is without it; no factor where the expression is not linear in it."""
    slope: dict[Any, Any] = {}
    rest: dict[Any, Any] = {}
    for monomial, factor in count.terms.items():
        powers = dict(monomial)
        power = powers.pop(atom, 0)
        if power > 1:
            return None, None
        (slope if power else rest)[tuple(powers.items())] = factor
    return made_of(slope), made_of(rest)


Way = list[tuple[Any, int]]
"""Bounds, each with what it has been multiplied by, of which all must do."""


def _lower(atom: Expression) -> list[Way]:
    """Ways to bound a function from below."""
    if not isinstance(atom, Function):
        return []
    if atom.kind == "max":
        return [[(arg, 1)] for arg in atom.args]
    if atom.kind == "min":
        return [[(arg, 1) for arg in atom.args]]
    if atom.kind == "//" and isinstance(atom.args[1], int):
        return [[(atom.args[0] - (atom.args[1] - 1), atom.args[1])]]
    return [[(0, 1)]] if _atom_never_negative(atom) else []


def _upper(atom: Expression) -> list[Way]:
    """Ways to bound a function, or a symbol that has an upper bound, from above."""
    if isinstance(atom, Symbol):
        return [[(atom.upper, 1)]]
    if not isinstance(atom, Function):
        return []
    if atom.kind == "min":
        return [[(arg, 1)] for arg in atom.args]
    if atom.kind == "max":
        return [[(arg, 1) for arg in atom.args]]
    if atom.kind == "//" and isinstance(atom.args[1], int):
        return [[(atom.args[0], atom.args[1])]]
    return []

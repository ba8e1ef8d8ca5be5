"""What holds of expressions for all values of their symbols, and the largest and smallest of several.

An expression is at least zero for certain if all its factors are, once every symbol is written as its least value plus
something. Functions are replaced by what bounds them: a quotient rounded down is at most the quotient, a minimum at
most any of its arguments. This proves much and not everything; what it does not prove stays undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import comb, prod
from typing import Any, overload
from zlib import crc32

from .counts import apply
from .expression import (
    UNKNOWN_DIM,
    Expression,
    Function,
    Monomial,
    Number,
    Symbol,
    Undecided,
    function_of,
    is_unknown,
    made_of,
    product,
    terms_of,
)

__all__ = ["equal", "extreme", "largest", "less", "never_negative", "smallest", "typical"]

_TYPICAL = 100

_SAMPLES = 8
"""Points at which a claim is tried before it is proved."""

_DEPTH = 4
"""Functions that a proof may replace, one after another."""

_CLAIMS = 60
"""Claims that one proof may come to."""

_MOST_POWER = 16
"""Powers of one symbol up to which a proof is tried."""

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


def typical(count: int) -> float:
    """Return what a count is ordered by: itself; with dimensions left open, its value where each of them is 100."""
    if not isinstance(count, Expression):
        return float(count)
    return float(count.substitute({symbol.name: _TYPICAL for symbol in count.symbols})) if count.known else 0.0


@overload
def largest(*counts: int) -> int: ...
@overload
def largest(*counts: int | Expression) -> int | Expression: ...
def largest(*counts: Any) -> Any:
    """Return the largest of numbers and expressions, as an expression where it depends on open dimensions."""
    return extreme("max", counts)


@overload
def smallest(*counts: int) -> int: ...
@overload
def smallest(*counts: int | Expression) -> int | Expression: ...
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
    for count in sorted(dict.fromkeys(_flattened(kind, counts)), key=_sampled_sum, reverse=kind == "max"):
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
    above, below = (one, other) if kind == "max" else (other, one)
    tried = zip(_sampled_counts(above), _sampled_counts(below), strict=True)
    return all(a >= b for a, b in tried) and never_negative(above - below)


def _sampled_sum(count: int | Expression) -> Any:
    """What counts are tried in the order of, so that those which cover others come first."""
    return sum(_sampled_counts(count))


@lru_cache(maxsize=16384)
def _sampled_counts(count: int | Expression) -> tuple[Any, ...]:
    """A count at each of the points at which claims are tried."""
    return tuple(_sampled_count(count, sample) for sample in range(_SAMPLES))


# -- proofs -----------------------------------------------------------------------------------------------------------


def never_negative(count: int | Expression) -> bool:
    """Return whether a number or expression is at least zero for all extents, as far as that can be proved."""
    if not isinstance(count, Expression):
        return count >= 0
    return count.known and _never_negative(count)


@lru_cache(maxsize=16384)
def _never_negative(count: Expression) -> bool:
    return _proved(count, _DEPTH, [_CLAIMS])


def _refuted(count: Expression) -> bool:
    """Whether some extents make the expression negative: tried before any proof, since most claims fail at once."""
    for sample in range(_SAMPLES):
        value: Any = 0
        for monomial, factor in count.terms.items():
            term: Any = factor
            for atom, power in monomial:
                term = term * _sampled(atom, sample) ** power
            value = value + term
        if value < 0:
            return True
    return False


@lru_cache(maxsize=65536)
def _sampled(atom: Expression, sample: int) -> Any:
    """A symbol or function at one of a few points: least extents, and small and large ones in several mixtures."""
    if isinstance(atom, Symbol):
        if sample == 0:
            return atom.lower
        spread = crc32(f"{sample}{atom.name}".encode())
        extent = atom.lower + (spread % 5 if spread & 64 else spread % 4001)
        return extent if atom.upper is None else min(extent, _sampled_count(atom.upper, sample))
    if isinstance(atom, Function):
        return apply(atom.kind, tuple(_sampled_count(arg, sample) for arg in atom.args))
    return 0


def _sampled_count(count: int | Expression, sample: int) -> Any:
    if not isinstance(count, Expression):
        return count
    return sum(
        prod((_sampled(atom, sample) ** power for atom, power in monomial), start=factor)
        for monomial, factor in count.terms.items()
    )


def _proved(count: Expression, depth: int, left: list[int]) -> bool:
    left[0] -= 1
    if left[0] < 0 or len(count.terms) > _TERM_LIMIT or _refuted(count):
        return False
    raised = _raised(count)
    if not isinstance(raised, Expression):
        return bool(raised >= 0)
    if all(factor >= 0 for factor in raised.terms.values()):
        return all(_atom_never_negative(atom) for monomial in raised.terms for atom, _ in monomial)
    return depth > 0 and any(_by_bound(count, atom, depth - 1, left) for atom in _bounded(count))


def _raised(count: Expression) -> Any:
    """The expression with every symbol written as its least value plus one that starts from zero."""
    symbols = {atom for monomial in count.terms for atom, _ in monomial if isinstance(atom, Symbol)}
    if len(count.terms) << sum(symbol.lower > 0 for symbol in symbols) > 4096:
        return count
    whole: dict[Monomial, Number] = {}
    for monomial, factor in count.terms.items():
        raised = _raised_monomial(monomial)
        if raised is None:
            return count
        for part, times in raised:
            whole[part] = whole.get(part, 0) + factor * times
    return made_of(whole)


@lru_cache(maxsize=65536)
def _raised_monomial(monomial: Monomial) -> tuple[tuple[Monomial, int], ...] | None:
    """A product of powers multiplied out so; nothing where the powers are high."""
    terms: dict[Monomial, int] = {(): 1}
    for atom, power in monomial:
        if not isinstance(atom, Symbol):
            terms = {product(part, ((atom, power),)): times for part, times in terms.items()}
            continue
        if power > _MOST_POWER:
            return None
        base = Symbol(atom.name, 0)
        powers = {exponent: comb(power, exponent) * atom.lower ** (power - exponent) for exponent in range(power + 1)}
        terms = {
            product(part, ((base, exponent),) if exponent else ()): times * scale
            for part, times in terms.items()
            for exponent, scale in powers.items()
            if scale
        }
    return tuple(terms.items())


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


def _by_bound(count: Expression, atom: Expression, depth: int, left: list[int]) -> bool:
    """Whether the expression is never negative even with ``atom``, in which it is linear, at its worst."""
    slope, rest = _split(count, atom)
    if slope is None:
        return False
    whole = _without_quotient(atom, slope, rest)
    if whole is not None:
        return _never(whole, depth, left)
    if never_negative(slope):
        return any(all(_never(slope * low + rest * scale, depth, left) for low, scale in way) for way in _lower(atom))
    if never_negative(-slope):
        return any(all(_never(slope * high + rest * scale, depth, left) for high, scale in way) for way in _upper(atom))
    return False


def _without_quotient(atom: Expression, slope: Any, rest: Any) -> Any:
    """The very same claim, ``slope * atom + rest >= 0``, with no quotient: ``None`` where there is none.

    For whole numbers, x // d ≤ n says that x ≤ d·n + d - 1, and x // d ≥ n that x ≥ d·n.
    """
    if not isinstance(atom, Function) or atom.kind != "//" or not isinstance(slope, int):
        return None
    above, divisor = atom.args
    share = _rounded_down(rest, abs(slope))
    if share is None or not isinstance(divisor, int):
        return None
    return share * divisor + (divisor - 1) - above if slope < 0 else share * divisor + above


def _rounded_down(count: Any, divisor: int) -> Any:
    """A quotient rounded down, where only a number leaves a remainder; ``None`` where something open may."""
    terms = dict(terms_of(count) or {})
    if not divisor or not all(isinstance(factor, int) for factor in terms.values()):
        return None
    if any(factor % divisor for monomial, factor in terms.items() if monomial):
        return None
    return made_of({monomial: factor // divisor for monomial, factor in terms.items()})


def _never(count: Any, depth: int, left: list[int]) -> bool:
    if isinstance(count, Expression):
        return count.known and _proved(count, depth, left)
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
        least = _least(atom.args[0]) // atom.args[1]
        always: list[Way] = [[(least, 1)]] if least > 0 else []
        return [*always, [(atom.args[0] - (atom.args[1] - 1), atom.args[1])]]
    return [[(0, 1)]] if _atom_never_negative(atom) else []


def _least(count: int | Expression) -> int:
    """What a sum of things that grow is at least, where each of its symbols is; 0 where it may shrink."""
    if not isinstance(count, Expression):
        return count
    whole = 0
    for monomial, factor in count.terms.items():
        if not all(isinstance(atom, Symbol) for atom, _ in monomial) or not isinstance(factor, int):
            return 0
        if monomial and factor < 0:
            return 0
        whole += factor * prod(atom.lower**power for atom, power in monomial if isinstance(atom, Symbol))
    return whole


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

"""Quotients of expressions: exact where the divisor divides, else rounded down, in a form that equal ones share."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from typing import Any

from .expression import (
    UNKNOWN_DIM,
    Expression,
    Function,
    Monomial,
    Number,
    Undecided,
    function_of,
    is_unknown,
    made_of,
    product,
    terms_of,
)

__all__ = ["exact_quotient", "floor_quotient"]

_STEP_LIMIT = 512
"""Terms that a long division may take off before it is given up."""


def exact_quotient(above: Any, below: Any) -> Any:
    """Return a quotient that leaves nothing; numbers divide into fractions.

    Raises:
        Undecided: there is no such polynomial.
    """
    if is_unknown(above) or is_unknown(below):
        return UNKNOWN_DIM
    if not isinstance(below, Expression):
        return above * (1 / Fraction(below))
    found = _divided(_dictionary(above), _dictionary(below))
    if found is None:
        raise Undecided(f"({above}) / ({below}) is no polynomial")
    return made_of(found)


def floor_quotient(above: Any, below: Any) -> Any:
    """Return the quotient rounded down.

    Raises:
        ZeroDivisionError: the divisor is zero.
    """
    if is_unknown(above) or is_unknown(below):
        return UNKNOWN_DIM
    if not isinstance(above, Expression) and not isinstance(below, Expression):
        return above // below
    scale = lcm(*(Fraction(factor).denominator for count in (above, below) for factor in _dictionary(count).values()))
    if scale != 1:
        above, below = above * scale, below * scale
    if not isinstance(below, Expression):
        below = int(below)
        if below == 0:
            raise ZeroDivisionError("an extent divided by zero")
        return _by_number(above, below) if below > 0 else _by_number(-above, -below)
    exact = _divided(_dictionary(above), _dictionary(below))
    if exact is not None and all(Fraction(factor).denominator == 1 for factor in exact.values()):
        return made_of(exact)
    above, below = _without_common(above, below)
    return _by_number(above, below) if not isinstance(below, Expression) else function_of("//", (above, below))


def _dictionary(count: Any) -> dict[Monomial, Number]:
    return dict(terms_of(count) or {})


def _by_number(above: int | Expression, divisor: int) -> Any:
    """Divide by a positive number: what divides is taken out, factors are cancelled, quotients of quotients joined."""
    if divisor == 1 or not isinstance(above, Expression):
        return above // divisor if not isinstance(above, Expression) else above
    if _leading_factor(above) < 0:
        return -_by_number(-above + (divisor - 1), divisor)
    whole: dict[Monomial, Number] = {}
    rest: dict[Monomial, Number] = {}
    for monomial, factor in above.terms.items():
        whole[monomial], rest[monomial] = divmod(factor, divisor)
    return made_of(whole) + _proper(made_of(rest), divisor)


def _leading_factor(above: Expression) -> Number:
    return above.terms[max((monomial for monomial in above.terms if monomial), key=_order)]


def _proper(above: int | Expression, divisor: int) -> Any:
    """The quotient of what has only factors between 0 and the divisor."""
    if not isinstance(above, Expression):
        return above // divisor
    rest = dict(above.terms)
    constant = int(rest.pop((), 0))
    common = gcd(divisor, *(int(factor) for factor in rest.values()))
    if common > 1:
        divisor //= common
        rest = {monomial: int(factor) // common for monomial, factor in rest.items()}
        constant //= common
        return _by_number(made_of(rest) + constant, divisor)
    inner = made_of(rest)
    if isinstance(inner, Function) and inner.kind == "//" and isinstance(inner.args[1], int):
        return _by_number(inner.args[0] + constant * inner.args[1], inner.args[1] * divisor)
    return function_of("//", (inner + constant, divisor))


def _without_common(above: int | Expression, below: int | Expression) -> tuple[Any, Any]:
    """Both divided by the variables and the number that divide every term of both."""
    terms = [*_dictionary(above).items(), *_dictionary(below).items()]
    number = gcd(*(int(factor) for _, factor in terms))
    powers = dict(terms[0][0])
    for monomial, _ in terms[1:]:
        here = dict(monomial)
        powers = {atom: min(power, here[atom]) for atom, power in powers.items() if atom in here}
    common = made_of({tuple(sorted(powers.items(), key=lambda pair: pair[0].key)): number})
    if common == 1:
        return above, below
    return exact_quotient(above, common), exact_quotient(below, common)


# -- long division ----------------------------------------------------------------------------------------------------


def _order(monomial: Monomial) -> list[tuple[str, int]]:
    """The lexicographic order, last variable first: multiplication keeps it, which long division needs."""
    return [(atom.key, power) for atom, power in reversed(monomial)]


def _divided(above: dict[Monomial, Number], below: dict[Monomial, Number]) -> dict[Monomial, Number] | None:
    """The polynomial whose product with ``below`` is ``above``, if there is one."""
    if len(below) > len(above):
        return None
    first, *others = sorted(below, key=_order, reverse=True)
    if not first:
        return {monomial: Fraction(factor) / Fraction(below[first]) for monomial, factor in above.items()}
    found: dict[Monomial, Number] = {}
    rest = dict(above)
    for _ in range(_STEP_LIMIT):
        if not rest:
            return found
        leading = max(rest, key=_order) if others else next(iter(rest))
        quotient = _monomial_quotient(leading, first)
        if quotient is None:
            return None
        factor = Fraction(rest.pop(leading)) / Fraction(below[first])
        found[quotient] = factor
        for other in others:
            met = product(quotient, other)
            left = rest.get(met, 0) - factor * below[other]
            if left:
                rest[met] = left
            else:
                rest.pop(met, None)
    return None


def _monomial_quotient(above: Monomial, below: Monomial) -> Monomial | None:
    """The monomial that gives ``above`` when multiplied by ``below``."""
    powers = dict(above)
    for atom, power in below:
        powers[atom] = powers.get(atom, 0) - power
        if powers[atom] < 0:
            return None
    return tuple((atom, power) for atom, power in powers.items() if power)

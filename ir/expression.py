"""Extents that are not numbers yet: polynomials with integer coefficients over the model's open dimensions.

    batch, seq = Symbol("batch"), Symbol("seq")
    (batch * seq * 768 + 7) // 8            # 96*batch*seq
    (batch * seq).substitute({"batch": 8})  # 8*seq

An expression takes the place of an ``int``: it adds, multiplies, divides and compares, with numbers and with other
expressions, and becomes an ``int`` as soon as nothing is open. What has no polynomial (a quotient that leaves a
remainder, a maximum) is a :class:`Function`, which counts as one more variable. Equal expressions are equal objects by
value; ``==`` asks for that and never raises. ``<`` asks about all values that the symbols can take, and raises
:class:`Undecided` where they differ. Whoever needs a number (``int()``, ``range()``) gets :class:`OpenDimension`.

A polynomial class of a few operations, since a network has tens of thousands of extents: sympy takes a hundred times
as long for each. :func:`graphs.ir.expression_text.parse_expression` reads what sympy prints, and so what frameworks
call symbolic shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, NoReturn

__all__ = [
    "UNKNOWN_DIM", "Count", "Expression", "Function", "Monomial", "Number", "OpenDimension", "Symbol", "Undecided",
    "function_of", "is_unknown", "made_of", "product", "terms_of",
]  # fmt: skip

NODE_LIMIT = 4096
"""Symbols and numbers in an expression up to which it is kept; a larger one becomes :data:`UNKNOWN_DIM`."""

_DEPTH_LIMIT = 24
"""Functions inside functions up to which an expression is kept."""

_BIT_LIMIT = 4096
_DEGREE_LIMIT = 256

Number = int | Fraction
Monomial = tuple[tuple["Expression", int], ...]
Terms = Mapping[Monomial, Number]

Count = int
"""A number of things: an ``int``, or an :class:`Expression` where dimensions are open.

Type checkers see an ``int``, since an expression can do all that counting does with one. What must have a number, such
as a time, is reached only by pipelines in which every dimension has one; an expression that comes there all the same
raises :class:`OpenDimension`.
"""


class OpenDimension(ValueError):
    """A number was needed where there is only an expression."""


class Undecided(OpenDimension):
    """A comparison holds for some values of the open dimensions and not for others."""


class Expression:
    """A polynomial in symbols and functions; see the module. Made by arithmetic, never by hand; do not change one."""

    __slots__ = ("_hash", "depth", "key", "known", "nodes", "terms")

    depth: int
    key: str
    known: bool
    nodes: int
    terms: Terms

    def __init__(self, terms: Terms, nodes: int, depth: int) -> None:
        self.terms = terms
        self.nodes = nodes
        self.depth = depth
        self.known = True
        self.key = ""
        self._hash = hash(frozenset(terms.items()))

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        added = terms_of(other)
        if added is None:
            return NotImplemented
        if not self.known or is_unknown(other):
            return UNKNOWN_DIM
        terms = dict(self.terms)
        for monomial, factor in added.items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return made_of(terms)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if terms_of(other) is None else self + other * -1

    def __rsub__(self, other: Any) -> Any:
        return self * -1 + other

    def __mul__(self, other: Any) -> Any:
        factors = terms_of(other)
        if factors is None:
            return NotImplemented
        if not self.known or is_unknown(other) or len(self.terms) * len(factors) > NODE_LIMIT:
            return UNKNOWN_DIM
        terms: dict[Monomial, Number] = {}
        for left, a in self.terms.items():
            for right, b in factors.items():
                monomial = product(left, right)
                terms[monomial] = terms.get(monomial, 0) + a * b
        return made_of(terms)

    __rmul__ = __mul__

    def __pow__(self, exponent: Any) -> Any:
        if not isinstance(exponent, int) or not 0 <= exponent <= _DEGREE_LIMIT:
            return UNKNOWN_DIM if isinstance(exponent, int | Expression) else NotImplemented
        return prod([self] * exponent)

    def __floordiv__(self, other: Any) -> Any:
        from .quotients import floor_quotient

        return NotImplemented if terms_of(other) is None else floor_quotient(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        from .quotients import floor_quotient

        return NotImplemented if terms_of(other) is None else floor_quotient(other, self)

    def __truediv__(self, other: Any) -> Any:
        """The exact quotient; numbers divide into fractions.

        Raises:
            Undecided: the quotient of two expressions is no polynomial.
        """
        from .quotients import exact_quotient

        return NotImplemented if terms_of(other) is None else exact_quotient(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        from .quotients import exact_quotient

        return NotImplemented if terms_of(other) is None else exact_quotient(other, self)

    def __mod__(self, other: Any) -> Any:
        return NotImplemented if terms_of(other) is None else self - self // other * other

    def __rmod__(self, other: Any) -> Any:
        return NotImplemented if terms_of(other) is None else other - other // self * self

    def __floor__(self) -> Any:
        return self // 1

    def __ceil__(self) -> Any:
        return -(-self // 1)

    def bit_length(self) -> Any:
        """As that of an ``int``: one more than the logarithm to the base 2, rounded down."""
        return function_of("bit_length", (self,))

    # -- comparison ---------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is Expression and type(self) is Expression and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: Any) -> bool:
        return _less(self, other)

    def __le__(self, other: Any) -> bool:
        return not _less(other, self)

    def __gt__(self, other: Any) -> bool:
        return _less(other, self)

    def __ge__(self, other: Any) -> bool:
        return not _less(self, other)

    # -- numbers ------------------------------------------------------------------------------------------------------

    def _no_number(self) -> NoReturn:
        raise OpenDimension(f"{self} is no number: bind its dimensions")

    def __int__(self) -> int:
        self._no_number()

    def __index__(self) -> int:
        self._no_number()

    def __float__(self) -> float:
        self._no_number()

    @property
    def integral(self) -> bool:
        """Whether all coefficients are integers, and so all values."""
        return all(isinstance(factor, int) for factor in self.terms.values())

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols in it, each once, sorted by name; those in their bounds are not counted."""
        found = {symbol for monomial in self.terms for atom, _ in monomial for symbol in atom.symbols}
        return tuple(sorted(found, key=lambda symbol: symbol.name))

    def substitute(self, extents: Mapping[str, Any]) -> Any:
        """Return the expression with symbols replaced by numbers or other expressions; an ``int`` if none is left."""
        from .counts import sum_of

        if not self.known:
            return self
        return sum_of(
            prod((_power(atom.substitute(extents), power) for atom, power in monomial), start=factor)
            for monomial, factor in self.terms.items()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return made_of, (dict(self.terms),)

    def __str__(self) -> str:
        from .expression_text import expression_text

        return expression_text(self)

    def __repr__(self) -> str:
        return f"<{self}>"


class Symbol(Expression):
    """A dimension whose extent the model leaves open; ``--dim NAME=VALUE`` binds it.

    ``lower`` is the least extent that it can have: 1, but 0 for one that depends on data. ``upper`` is the largest,
    where one is known, in terms of other dimensions. The name ``?`` stands for what cannot be expressed: two such need
    not be equal, and all arithmetic with one gives another.
    """

    __slots__ = ("lower", "name", "upper")

    def __init__(self, name: str, lower: int = 1, upper: int | Expression | None = None) -> None:
        self.name = self.key = name
        self.lower = lower
        self.upper = upper
        self.known = name != "?"
        self._hash = hash((name, lower))
        self.nodes = 1
        self.depth = 0
        self.terms = {((self, 1),): 1}

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        return (self,)

    def substitute(self, extents: Mapping[str, Any]) -> Any:
        if self.name in extents:
            return extents[self.name]
        if not isinstance(self.upper, Expression):
            return self
        return Symbol(self.name, self.lower, self.upper.substitute(extents))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Symbol)
            and self.name == other.name
            and self.lower == other.lower
            and self.upper == other.upper
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return Symbol, (self.name, self.lower, self.upper)


class Function(Expression):
    """What is no polynomial: ``//`` (rounded down), ``max``, ``min`` or ``bit_length`` of numbers and expressions."""

    __slots__ = ("args", "kind")

    def __init__(self, kind: str, args: tuple[int | Expression, ...]) -> None:
        from .expression_text import function_text

        self.kind = kind
        self.args = args
        self.known = True
        open_args = [arg for arg in args if isinstance(arg, Expression)]
        self.nodes = 1 + len(args) + sum(arg.nodes for arg in open_args)
        self.depth = 1 + max((arg.depth for arg in open_args), default=0)
        self.key = function_text(kind, args)
        self._hash = hash((kind, args))
        self.terms = {((self, 1),): 1}

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        from .counts import symbols_of

        return symbols_of(*self.args)

    def substitute(self, extents: Mapping[str, Any]) -> Any:
        from .counts import apply, substituted

        return apply(self.kind, tuple(substituted(arg, extents) for arg in self.args))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Function) and self.kind == other.kind and self.args == other.args)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.kind, self.args)


UNKNOWN_DIM = Symbol("?")
"""A dimension that cannot be expressed; two of them need not be equal."""


def _less(one: Any, other: Any) -> bool:
    from .inequalities import less

    return less(one, other)


# -- polynomials ------------------------------------------------------------------------------------------------------


def is_unknown(item: Any) -> bool:
    return isinstance(item, Expression) and not item.known


def terms_of(item: Any) -> Terms | None:
    if isinstance(item, Expression):
        return item.terms
    if isinstance(item, float):
        item = Fraction(item) if item == item and abs(item) < float("inf") else None
    if isinstance(item, int | Fraction):
        return {(): item}
    if hasattr(item, "item") and getattr(item, "shape", None) == ():  # a numpy scalar
        return terms_of(item.item())
    return None


def made_of(terms: dict[Monomial, Number]) -> Any:
    """The number, symbol, function or polynomial of these terms; what is too large is unknown."""
    kept: dict[Monomial, Number] = {}
    nodes = depth = 0
    for monomial, factor in terms.items():
        if factor == 0:
            continue
        if isinstance(factor, Fraction) and factor.denominator == 1:
            factor = factor.numerator
        kept[monomial] = factor
        nodes += 1
        for atom, power in monomial:
            nodes += atom.nodes
            depth = max(depth, atom.depth)
            if power > _DEGREE_LIMIT:
                return UNKNOWN_DIM
        if not -(1 << _BIT_LIMIT) < factor < 1 << _BIT_LIMIT:
            return UNKNOWN_DIM
    if nodes > NODE_LIMIT:
        return UNKNOWN_DIM
    if not kept:
        return 0
    if len(kept) == 1:
        ((monomial, factor),) = kept.items()
        if not monomial:
            return factor
        if factor == 1 and len(monomial) == 1 and monomial[0][1] == 1:
            return monomial[0][0]
    return Expression(kept, nodes, depth)


@lru_cache(maxsize=65536)
def product(left: Monomial, right: Monomial) -> Monomial:
    if not left or not right:
        return left or right
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda pair: pair[0].key))


def _power(base: Any, exponent: int) -> Any:
    return base if exponent == 1 else base**exponent


def function_of(kind: str, args: tuple[int | Expression, ...]) -> Any:
    if any(is_unknown(arg) for arg in args):
        return UNKNOWN_DIM
    deepest = max((arg.depth for arg in args if isinstance(arg, Expression)), default=0)
    if deepest >= _DEPTH_LIMIT or sum(arg.nodes for arg in args if isinstance(arg, Expression)) > NODE_LIMIT:
        return UNKNOWN_DIM
    return Function(kind, args)

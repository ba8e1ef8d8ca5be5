"""Expressions as text and back: Python's syntax, read by a parser of their own that evaluates nothing.

    2*batch*seq**2 + (seq + 1)//2*768 + max(batch, 'past length'{0..4*seq})

Names that are no identifiers stand in single quotes. A symbol's bounds follow in braces where the least extent is not 1
or a largest is known; they are left out where the reader is told of symbols otherwise.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NoReturn

from .counts import apply
from .expression import UNKNOWN_DIM, Expression, Function, Monomial, Number, Symbol

__all__ = ["ExpressionError", "expression_text", "function_text", "parse_expression"]

TEXT_LIMIT = 20_000
"""Characters of text up to which it is read."""

_NESTING_LIMIT = 40
_DIGIT_LIMIT = 400
_EXPONENT_LIMIT = 64
_BIT_LIMIT = 4096

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+)|(?P<name>[A-Za-z_][A-Za-z0-9_.]*(?<!\.))|'(?P<quoted>(?:[^'\\]|\\.)*)'"
    r"|(?P<mark>\*\*|//|\.\.|[-+*/%(),{}]))"
)
_FUNCTIONS = {
    "max": "max", "Max": "max", "min": "min", "Min": "min", "bit_length": "bit_length",
    "floor": "floor", "ceiling": "ceil", "ceil": "ceil", "FloorToInt": "floor", "CeilToInt": "ceil",
    "Mod": "%", "PythonMod": "%", "FloorDiv": "//", "CleanDiv": "//", "CeilDiv": "ceildiv", "IntTrueDiv": "/",
}  # fmt: skip


class ExpressionError(ValueError):
    """The text is no expression."""


# -- writing ----------------------------------------------------------------------------------------------------------


def expression_text(count: Any, bounds: bool = False) -> str:
    """Return the text of a number or expression, with the bounds of its symbols if asked for."""
    if not isinstance(count, Expression):
        return str(count)
    if isinstance(count, Symbol):
        return _symbol_text(count, bounds)
    if isinstance(count, Function):
        return function_text(count.kind, count.args, bounds)
    parts: list[str] = []
    for monomial in sorted(count.terms, key=_written_order):
        text = _term_text(monomial, count.terms[monomial], bounds)
        parts.append(f" - {text[1:]}" if text[0] == "-" and parts else f" + {text}" if parts else text)
    return "".join(parts)


def _written_order(monomial: Monomial) -> tuple[int, list[tuple[str, int]]]:
    """Highest degree first, the constant last."""
    return -sum(power for _, power in monomial), [(atom.key, -power) for atom, power in monomial]


def _term_text(monomial: Monomial, factor: Number, bounds: bool) -> str:
    factors = [_factor_text(atom, bounds) + (f"**{power}" if power > 1 else "") for atom, power in monomial]
    if isinstance(factor, Fraction):
        above = "*".join([*([str(factor.numerator)] if factor.numerator != 1 or not factors else []), *factors])
        return f"{above}/{factor.denominator}"
    if factor == -1 and factors:
        return "-" + "*".join(factors)
    return "*".join([*([str(factor)] if factor != 1 or not factors else []), *factors])


def _factor_text(atom: Expression, bounds: bool) -> str:
    text = expression_text(atom, bounds)
    return f"({text})" if isinstance(atom, Function) and atom.kind == "//" else text


def function_text(kind: str, args: tuple[int | Expression, ...], bounds: bool = False) -> str:
    """Return the text of a function of these."""
    texts = [expression_text(arg, bounds) for arg in args]
    if kind == "//":
        above, below = (
            text if isinstance(arg, Symbol) or (not isinstance(arg, Expression) and arg >= 0) else f"({text})"
            for text, arg in zip(texts, args, strict=True)
        )
        return f"{above}//{below}"
    return f"{kind}({', '.join(texts)})"


def _symbol_text(symbol: Symbol, bounds: bool) -> str:
    plain = IDENTIFIER.fullmatch(symbol.name) and not symbol.name.endswith(".") and symbol.name not in _FUNCTIONS
    name = symbol.name if plain else "'" + re.sub(r"(['\\])", r"\\\1", symbol.name) + "'"
    if not bounds or (symbol.lower == 1 and symbol.upper is None):
        return name
    return f"{name}{{{symbol.lower}..{'' if symbol.upper is None else expression_text(symbol.upper, bounds)}}}"


# -- reading ----------------------------------------------------------------------------------------------------------


def parse_expression(text: str) -> Any:
    """Return the number or expression that ``text`` holds.

    Raises:
        ExpressionError: it holds none, or one that is too large.
    """
    if len(text) > TEXT_LIMIT:
        raise ExpressionError(f"an expression of {len(text)} characters is too long")
    parser = _Parser(text)
    try:
        value = parser.sum()
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise ExpressionError(str(error)) from None
    if parser.kind != "end":
        parser.fail(f"unexpected {parser.token!r}")
    return value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self.kind = self.token = ""
        self._advance()

    def fail(self, message: str) -> NoReturn:
        raise ExpressionError(f"{message} in {self._text[:80]!r}")

    def _advance(self) -> str:
        taken = self.token
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            if self._text[self._position :].strip():
                self.fail(f"unexpected {self._text[self._position :].strip()[0]!r}")
            self.kind, self.token = "end", ""
            return taken
        self._position = match.end()
        self.kind = str(match.lastgroup)
        self.token = match.group(self.kind)
        return taken

    def _accept(self, *marks: str) -> str:
        return self._advance() if self.kind == "mark" and self.token in marks else ""

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            self.fail(f"expected {mark!r}")

    def sum(self) -> Any:
        self._depth += 1
        if self._depth > _NESTING_LIMIT:
            self.fail(f"nested more than {_NESTING_LIMIT} deep")
        value = self._product()
        while mark := self._accept("+", "-"):
            value = value + self._product() if mark == "+" else value - self._product()
        self._depth -= 1
        return value

    def _product(self) -> Any:
        value = self._signed()
        while mark := self._accept("*", "//", "/", "%"):
            other = self._signed()
            if mark == "*":
                value = value * other
            elif mark == "/":
                value = _fraction(value, other)
            else:
                value = value // other if mark == "//" else value % other
        return value

    def _signed(self) -> Any:
        negative = False
        while mark := self._accept("-", "+"):
            negative ^= mark == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Any:
        base = self._atom()
        if not self._accept("**"):
            return base
        if self.kind != "number" or len(self.token) > 3 or int(self.token) > _EXPONENT_LIMIT:
            self.fail("expected a small exponent")
        exponent = int(self._advance())
        if isinstance(base, int) and base.bit_length() * exponent > _BIT_LIMIT:
            self.fail("a number is too large")
        return base**exponent

    def _atom(self) -> Any:
        if self.kind == "number":
            if len(self.token) > _DIGIT_LIMIT:
                self.fail(f"a number of {len(self.token)} digits is too long")
            return int(self._advance())
        if self._accept("("):
            value = self.sum()
            self._expect(")")
            return value
        if self.kind not in ("name", "quoted"):
            self.fail(f"expected a number, a name or a parenthesis, found {self.token!r}")
        quoted = self.kind == "quoted"
        name = self._advance()
        if quoted:
            name = re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)
        elif self._accept("("):
            return self._call(name)
        return self._symbol(name)

    def _symbol(self, name: str) -> Any:
        if name == "?":
            return UNKNOWN_DIM
        lower, upper = 1, None
        if self._accept("{"):
            if self.kind != "number" or len(self.token) > _DIGIT_LIMIT:
                self.fail("expected the least extent")
            lower = int(self._advance())
            self._expect("..")
            if not self._accept("}"):
                upper = self.sum()
                self._expect("}")
        return Symbol(name, lower, upper)

    def _call(self, name: str) -> Any:
        kind = _FUNCTIONS.get(name)
        if kind is None:
            self.fail(f"no function {name!r}")
        args = [self.sum()]
        while self._accept(","):
            args.append(self.sum())
        self._expect(")")
        if kind in ("floor", "ceil", "bit_length"):
            (count,) = args
            return apply(kind, (count,)) if kind == "bit_length" else count // 1 if kind == "floor" else -(-count // 1)
        if kind in ("max", "min"):
            return apply(kind, tuple(args))
        above, below = args
        if kind == "/":
            return _fraction(above, below)
        return above % below if kind == "%" else above // below if kind == "//" else -(-above // below)


def _fraction(above: Any, below: Any) -> Any:
    if isinstance(above, Expression) or isinstance(below, Expression):
        return above / below
    value = Fraction(above) / Fraction(below)
    return value.numerator if value.denominator == 1 else value

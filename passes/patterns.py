"""The language of fusion patterns, and the one matcher for it.

A pattern is written root last-to-run first, as a nested expression over operator names and kinds:

    Relu|Clip?(Add?{c=Conv(x, w, ...), r})

- ``Relu|Clip`` is either operator; a bare name is of the ``onnx`` dialect, ``com.acme.Rotary`` names another, and
  ``@elementwise`` is any operator of that kind.
- ``F(a, b)`` matches operands in order, ``F{a, b}`` in any order; operands that are not written may be anything.
- ``F?(a, …)`` is optional: without it, its first operand pattern is matched in its place.
- A lower-case word binds a value; written again it must be the same value. ``c=F(…)`` binds a result. ``x?`` also fits
  where the operand is left out, and then binds nothing.
- ``const`` is any constant, a number a constant of that value (to 1 %), ``_`` anything.

Operations inside a match, other than its root, may not be read from outside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from math import isclose

from ..ir import Expression, Graph, Kind, Op, Value, kind_of

__all__ = ["Match", "Pattern", "PatternError", "match_at", "parse_pattern", "root_names"]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>@[a-z]+|[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)"
    r"|(?P<mark>[(){}|?=,_]))"
)
_KINDS = frozenset(kind.value for kind in Kind)
_TOLERANCE = 0.01
_MOST_UNORDERED = 4


class PatternError(ValueError):
    """The text is no pattern; the message says where."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Any value; a name that is bound already must be the same value. The empty name matches anything.

    One that is ``optional`` also fits an operand that is left out.
    """

    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Const:
    """A constant; of this value, if one is given."""

    value: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the pattern."""

    names: tuple[str, ...]
    operands: tuple[Pattern, ...] = ()
    ordered: bool = True
    optional: bool = False
    bind: str = ""


Pattern = Bind | Const | Node


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern fits: the operations, root first, and what its names stand for."""

    ops: tuple[Op, ...] = ()
    values: dict[str, Value] = field(default_factory=dict)

    def with_op(self, op: Op) -> Match:
        return Match((*self.ops, op), self.values)

    def with_value(self, name: str, value: Value) -> Match:
        return Match(self.ops, {**self.values, name: value})


# -- reading ----------------------------------------------------------------------------------------------------------


@cache
def parse_pattern(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        PatternError: the text is not one.
    """
    parser = _Parser(text)
    pattern = parser.pattern()
    parser.end()
    return pattern


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._kind = self._token = ""
        self._advance()

    def _advance(self) -> str:
        taken = self._token
        if not self._text[self._position :].strip():
            self._kind = self._token = ""
            return taken
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise PatternError(f"unexpected {self._text[self._position :].strip()[0]!r} in pattern {self._text!r}")
        self._position = match.end()
        self._kind, self._token = str(match.lastgroup), match.group(str(match.lastgroup))
        return taken

    def _accept(self, *tokens: str) -> str:
        return self._advance() if self._kind == "mark" and self._token in tokens else ""

    def end(self) -> None:
        if self._kind:
            raise PatternError(f"unexpected {self._token!r} after the end of pattern {self._text!r}")

    def pattern(self) -> Pattern:
        if self._kind == "number":
            return Const(float(self._advance()))
        if self._accept("_"):
            return Bind("")
        if self._kind != "name":
            raise PatternError(f"expected an operator, a name or a number, found {self._token!r} in {self._text!r}")
        word = self._advance()
        if word == "const":
            return Const()
        if word[0].islower() and "." not in word:
            if not self._accept("="):
                return Bind(word, bool(self._accept("?")))
            node = self.pattern()
            if not isinstance(node, Node):
                raise PatternError(f"{word}= must be followed by an operator in {self._text!r}")
            return Node(node.names, node.operands, node.ordered, node.optional, word)
        return self._node(word)

    def _node(self, word: str) -> Node:
        names = [self._operator(word)]
        while self._accept("|"):
            if self._kind != "name":
                raise PatternError(f"expected an operator after '|', found {self._token!r} in {self._text!r}")
            names.append(self._operator(self._advance()))
        optional = bool(self._accept("?"))
        opening = self._accept("(", "{")
        operands: list[Pattern] = []
        while opening and not self._accept(")" if opening == "(" else "}"):
            if operands and not self._accept(","):
                raise PatternError(f"expected ',' before {self._token!r} in {self._text!r}")
            operands.append(self.pattern())
        if optional and not operands:
            raise PatternError(f"optional {word} needs an operand to stand for in {self._text!r}")
        return Node(tuple(names), tuple(operands), opening != "{", optional)

    def _operator(self, word: str) -> str:
        if word.startswith("@") and word[1:] not in _KINDS:
            raise PatternError(f"no kind {word[1:]!r} in {self._text!r}; there are {', '.join(sorted(_KINDS))}")
        return word if "." in word or word.startswith("@") else f"onnx.{word}"


def root_names(pattern: Pattern) -> frozenset[str]:
    """Names (and ``@kinds``) that the root of a match may have."""
    if not isinstance(pattern, Node):
        return frozenset()
    names = frozenset(pattern.names)
    return names | root_names(pattern.operands[0]) if pattern.optional else names


# -- matching ---------------------------------------------------------------------------------------------------------


def match_at(graph: Graph, pattern: Pattern, root: Op, free: Callable[[Op], bool]) -> Iterator[Match]:
    """Yield every way in which ``pattern`` fits with its root at ``root``.

    ``free`` says whether an operation may still be taken into a kernel.
    """
    for value in root.results[:1]:
        for match in _match(graph, pattern, value, Match(), free):
            if match.ops and match.ops[0] is root and _closed(graph, match):
                yield match


def _closed(graph: Graph, match: Match) -> bool:
    """Whether nothing but the root is read from outside."""
    inside = set(match.ops)
    return all(user in inside for op in match.ops[1:] for user in graph.each_user(op))


def _match(
    graph: Graph, pattern: Pattern, value: Value | None, match: Match, free: Callable[[Op], bool]
) -> Iterator[Match]:
    if value is None:
        if _may_be_absent(pattern):
            yield match
        return
    if isinstance(pattern, Bind):
        bound = match.values.get(pattern.name)
        if not pattern.name or bound is value:
            yield match
        elif bound is None:
            yield match.with_value(pattern.name, value)
        return
    if isinstance(pattern, Const):
        if _is_constant(value, pattern.value):
            yield match
        return
    op = value.op
    same = match.values.get(pattern.bind, value) is value
    if same and _named(op, pattern.names) and (op in match.ops or free(op)):
        extended = match if op in match.ops else match.with_op(op)
        if pattern.bind:
            extended = extended.with_value(pattern.bind, value)
        for order in _orders(pattern, op):
            yield from _match_all(graph, pattern.operands, order, extended, free)
    if pattern.optional:
        yield from _match(graph, pattern.operands[0], value, match, free)


def _may_be_absent(pattern: Pattern) -> bool:
    if isinstance(pattern, Bind):
        return pattern.optional
    return isinstance(pattern, Node) and pattern.optional and _may_be_absent(pattern.operands[0])


def _match_all(
    graph: Graph,
    patterns: Sequence[Pattern],
    values: Sequence[Value | None],
    match: Match,
    free: Callable[[Op], bool],
) -> Iterator[Match]:
    if not patterns:
        yield match
        return
    for partial in _match(graph, patterns[0], values[0], match, free):
        yield from _match_all(graph, patterns[1:], values[1:], partial, free)


def _orders(pattern: Node, op: Op) -> Iterator[tuple[Value | None, ...]]:
    if pattern.ordered:
        missing = len(pattern.operands) - len(op.operands)
        return iter(((*op.operands, *(None,) * missing),))
    values = tuple(op.inputs)
    if len(values) < len(pattern.operands):
        return iter(())
    if len(values) > _MOST_UNORDERED:
        return iter((values,))
    return permutations(values, len(pattern.operands))


def _named(op: Op, names: Sequence[str]) -> bool:
    if op.name in names:
        return True
    return any(name.startswith("@") and kind_of(op) is Kind(name[1:]) for name in names)


def _is_constant(value: Value, wanted: float | None) -> bool:
    if not value.is_constant:
        return False
    if wanted is None:
        return True
    dense = value.constant
    if dense is None or len(dense.values) != 1 or isinstance(dense.values[0], str | Expression):
        return False
    return isclose(dense.values[0], wanted, rel_tol=_TOLERANCE)

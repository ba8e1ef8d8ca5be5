"""The tokens of the text form, and the error that says where they are not what they should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from .errors import GraphsError
from .quoting import STRING_LITERAL, unquote

__all__ = ["DIGIT_LIMIT", "Lexer", "ParseError"]

T = TypeVar("T")

_TOKEN = re.compile(
    rf"""(?P<space>(?:\s+|//[^\n]*)+)
      | (?P<string>{STRING_LITERAL})
      | (?P<value>%(?:[A-Za-z_$.-][A-Za-z0-9_$.-]*|[0-9]+))
      | (?P<opaque>[\#!][A-Za-z_][A-Za-z0-9_.]*)
      | (?P<arrow>->)
      | (?P<dims>(?<=tensor<)(?:[0-9]+|\?|\*)x(?:(?:[0-9]+|\?)x)*(?=[A-Za-z!]))
      | (?P<number>-?(?:0x[0-9A-Fa-f]+|[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?)?))
      | (?P<word>[A-Za-z_][A-Za-z0-9_$.]*)
      | (?P<mark>[()\[\]{{}}<>=,:])""",
    re.VERBOSE,
)
_NESTING_LIMIT = 100

DIGIT_LIMIT = 4000
"""Digits up to which Python reads a number."""


class ParseError(GraphsError, ValueError):
    """The text is not IR; ``line`` and ``column`` (from 1) say where."""

    def __init__(self, message: str, line: int, column: int) -> None:
        self.line = line
        self.column = column
        super().__init__(f"{line}:{column}: {message}")


class Lexer:
    """The current token, its ``kind`` and what to do with it: the part of a parser that knows no grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self.kind = self.token = ""
        self._start = 0
        self._advance()

    def _advance(self) -> str:
        taken = self.token
        while True:
            match = _TOKEN.match(self._text, self._position)
            self._start = self._position
            if match is None:
                self.kind, self.token = "end", ""
                if self._position < len(self._text):
                    self.fail(f"unexpected character {self._text[self._position]!r}")
                return taken
            self._position = match.end()
            if match.lastgroup != "space":
                self.kind, self.token = str(match.lastgroup), match.group()
                return taken

    def fail(self, message: str) -> NoReturn:
        line = self._text.count("\n", 0, self._start) + 1
        raise ParseError(message, line, self._start - (self._text.rfind("\n", 0, self._start) + 1) + 1)

    def _expect(self, token: str) -> None:
        if self.token != token or self.kind == "string":
            self.fail(
                f"expected {token!r}, found {self.token!r}" if self.token else f"expected {token!r} before the end"
            )
        self._advance()

    def _accept(self, token: str) -> bool:
        if self.token != token or self.kind == "string":
            return False
        self._advance()
        return True

    def _take(self, kind: str, what: str) -> str:
        if self.kind != kind:
            self.fail(f"expected {what}, found {self.token!r}")
        return self._advance()

    def _list(self, item: Callable[[], T], close: str) -> list[T]:
        items: list[T] = []
        while not self._accept(close):
            if items:
                self._expect(",")
            items.append(item())
        return items

    def _string(self) -> str:
        if self.kind != "string":
            self.fail(f"expected a string, found {self.token!r}")
        try:
            text = unquote(self.token)
        except UnicodeDecodeError:
            self.fail("the bytes of this string are not UTF-8")
        self._advance()
        return text

    def _integer(self, what: str) -> int:
        if self.kind != "number" or not self.token.isdigit() or len(self.token) > DIGIT_LIMIT:
            self.fail(f"expected {what}, found {self.token!r}")
        return int(self._advance())

    def _enter(self) -> None:
        """Guard against text nested deeper than Python's stack; whoever enters lowers ``_depth`` when it is done."""
        self._depth += 1
        if self._depth > _NESTING_LIMIT:
            self.fail(f"nested more than {_NESTING_LIMIT} deep")

"""Pipeline text: ``name{option=value other=value},name,…``.

A value is one or more comma-separated words; a word with a space, comma, quote, brace or equals sign in it is quoted.
An option without ``=`` is switched on (``=true``), one with nothing after ``=`` has an empty list. What
:func:`parse_pipeline` reads, ``str`` writes back. What names and options mean is known to :mod:`.options`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..ir.errors import GraphsError

__all__ = ["PassCall", "Pipeline", "PipelineError", "parse_pipeline"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_WORD = re.compile(r"""[^\s,{}="\\]+""")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE = re.compile(r"\s*")


class PipelineError(GraphsError):
    """The text is no pipeline, or names a pass or option that there is not."""


@dataclass(frozen=True, slots=True)
class PassCall:
    """One pass of a pipeline as written: its name and, for each option, the words of its value."""

    name: str
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        options = " ".join(f"{key}={','.join(_quote(word) for word in words)}" for key, words in self.options)
        return f"{self.name}{{{options}}}" if options else self.name


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes in the order they run."""

    calls: tuple[PassCall, ...]

    def __str__(self) -> str:
        return ",".join(str(call) for call in self.calls)


def parse_pipeline(text: str) -> Pipeline:
    """Return the pipeline that ``text`` holds.

    Raises:
        PipelineError: the text is no pipeline; the message points at the character.
    """
    return _Reader(text).pipeline()


def _quote(word: str) -> str:
    if _WORD.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Reader:
    """Recursive descent over the text, one function per construct."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def pipeline(self) -> Pipeline:
        self._skip()
        if self._at == len(self._text):
            return Pipeline(())
        calls = [self._call()]
        while self._accept(","):
            calls.append(self._call())
        if self._at < len(self._text):
            raise self._error('expected "," or the end')
        return Pipeline(tuple(calls))

    def _call(self) -> PassCall:
        name = self._name("the name of a pass")
        options: dict[str, tuple[str, ...]] = {}
        if self._accept("{"):
            while not self._accept("}"):
                key = self._name('an option or "}"')
                if key in options:
                    raise self._error(f'option "{key}" is given twice')
                options[key] = self._words() if self._accept("=") else ("true",)
        return PassCall(name, tuple(options.items()))

    def _words(self) -> tuple[str, ...]:
        """The words after ``=``, which follow it at once: ``a= b`` is an empty list and an option ``b``."""
        words: list[str] = []
        word = self._word()
        while word is not None:
            words.append(word)
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
            word = self._word()
            if word is None:
                raise self._error('expected a value after ","')
        self._skip()
        return tuple(words)

    def _word(self) -> str | None:
        if quoted := _QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            return word[0]
        if self._text.startswith('"', self._at):
            raise self._error("this quote is never closed")
        return None

    def _name(self, what: str) -> str:
        self._skip()
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise self._error(f"expected {what}")
        self._at = match.end()
        return match[0]

    def _accept(self, mark: str) -> bool:
        """Take ``mark`` if it comes next; a space before it does not count, one after ``=`` does."""
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        if mark != "=":
            self._skip()
        return True

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _error(self, message: str) -> PipelineError:
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return PipelineError(
            f'pipeline "{self._text}", column {self._at + 1}: {message}, found {found}',
            help="write it as --passes='name{option=value other=value},name'",
        )

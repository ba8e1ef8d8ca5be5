"""What can be wrong with a description of hardware or software, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ..ir.errors import GraphsError

__all__ = ["TargetError", "Where", "suggestion"]


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file; lines and columns count from 1, and 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`file:line`, the form in which a constant's origin is shown."""
        return f"{self.file}:{self.line}" if self.line else self.file


class TargetError(GraphsError):
    """A target that cannot be used; prints as `file:line:column: path.to.key: what is wrong`.

    `help` names the way out where there is one, without the word "help:" before it.
    """

    def __init__(self, message: str, where: Where | None = None, path: str = "", help: str | None = None) -> None:
        self.message = message
        self.where = where
        self.path = path
        super().__init__(str(self), help or "")

    def __str__(self) -> str:
        place = ""
        if self.where is not None:
            place = f"{self.where.file}:"
            place += f"{self.where.line}:{self.where.column}: " if self.where.line else " "
        return f"{place}{self.path + ': ' if self.path else ''}{self.message}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known word, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""

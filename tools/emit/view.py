"""How a report is to be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["View"]


def _silent(message: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class View:
    """What the user said of the output; formats made for programs ignore what does not concern them.

    ``coverage`` asks for the account of what the figures stand on beside them. ``path`` is the file that the output
    goes to, ``None`` for standard output; ``warn`` is told what the user should know of it.
    """

    width: int = 120
    color: bool = False
    order: str = "time"
    by: str = "kernel"
    top: int | None = None
    wide: bool = False
    quiet: bool = False
    coverage: bool = False
    path: Path | None = None
    warn: Callable[[str], None] = _silent

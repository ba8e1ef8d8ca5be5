"""A claim about networks, and what checking it on one of them found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Claim", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One network's figures, in the order of the claim's columns, and what contradicts the claim."""

    model: str
    figures: tuple[str | int | float, ...]
    faults: tuple[str, ...] = ()


def _nothing_more(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    return "", ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim: what it says, how one network is checked, and what all of them together must show.

    ``overall`` returns a summary of the figures and the faults that only the whole set can show.
    """

    name: str
    says: str
    columns: tuple[str, ...]
    check: Callable[[Path], Row]
    overall: Callable[[Sequence[Row]], tuple[str, tuple[str, ...]]] = _nothing_more

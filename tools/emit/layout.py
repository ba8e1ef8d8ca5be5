"""Tables that fit: columns with a rank, the lowest of which go first where the width does not suffice for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import click
from rich.cells import cell_len

from ..terminal import visible

__all__ = ["GAP", "INDENT", "Column", "fitted", "rendered", "shortened", "styled"]

GAP = 2
INDENT = 2
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Column:
    """A column with its cells. ``rank`` 0 is always kept; the higher, the sooner it goes. ``styles`` is one per cell.

    A column with a ``least`` width may be shortened to it, its cells losing their middle, before others are dropped.
    """

    title: str
    cells: tuple[str, ...]
    rank: int
    right: bool = True
    styles: tuple[str, ...] = ()
    least: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(map(visible, self.cells)))

    @cached_property
    def width(self) -> int:
        return max(map(cell_len, (self.title, *self.cells)))


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit, in their order: ranks go from the highest down; then what may be shortened is."""
    kept = list(columns)
    while _least(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return _shortened(kept, width)


def _least(columns: Sequence[Column]) -> int:
    widths = (min(column.width, column.least or column.width) for column in columns)
    return INDENT + GAP * (len(columns) - 1) + sum(widths)


def _shortened(columns: list[Column], width: int) -> list[Column]:
    """The columns with what is too wide cut down: room that is left is shared among those, the least needy first."""
    spare = max(0, width - _least(columns))
    wide = sorted((c for c in columns if c.least and c.width > c.least), key=lambda c: c.width - c.least)
    cut: dict[int, Column] = {}
    for number, column in enumerate(wide):
        room = min(column.width, column.least + spare // (len(wide) - number))
        spare -= room - column.least
        cells = tuple(shortened(cell, room) for cell in column.cells)
        cut[id(column)] = Column(column.title, cells, column.rank, column.right, column.styles, column.least)
    return [cut.get(id(column), column) for column in columns]


def shortened(text: str, width: int) -> str:
    """The text with its middle left out where it is too long: both ends of a name tell it apart."""
    if cell_len(text) <= width:
        return text
    keep = max(0, width - 1)
    tail = (keep + 1) // 2
    head = keep - tail
    return text[:head] + _ELLIPSIS + text[len(text) - tail :]


def rendered(columns: Sequence[Column], color: bool, label: str = "") -> str:
    """The table's lines; nothing is ever wrapped.

    ``label`` begins the last line, whose first cell is empty, and may reach over the empty cells that follow.
    """
    padded = [_padded(column, color) for column in columns]
    lines = [(" " * GAP).join(cells).rstrip() for cells in zip(*padded, strict=True)]
    if label:
        room = len(lines[-1]) - len(lines[-1].lstrip()) - GAP
        lines[-1] = shortened(label, room) + lines[-1][min(cell_len(label), room) :]
    return "".join(f"{' ' * INDENT}{line}".rstrip() + "\n" for line in lines)


def _padded(column: Column, color: bool) -> list[str]:
    """The title and the cells, all as wide as the widest."""
    width = column.width
    styles = ("bold", *(column.styles or [""] * len(column.cells)))
    texts = []
    for text, style in zip((column.title, *column.cells), styles, strict=True):
        space = " " * (width - cell_len(text))
        shown = styled(text, style, color)
        texts.append(f"{space}{shown}" if column.right else f"{shown}{space}")
    return texts


def styled(text: str, style: str, color: bool) -> str:
    """The text in a style such as ``bold red``, ``dim`` or ``green``, if there is to be colour."""
    if not color or not style or not text:
        return text
    words = set(style.split())
    foreground = next(iter(words - {"bold", "dim"}), None)
    return click.style(text, fg=foreground, bold="bold" in words or None, dim="dim" in words or None)

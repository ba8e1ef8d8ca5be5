"""Tables that fit: columns with a rank, the lowest of which go first where the width does not suffice for all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["GAP", "INDENT", "Column", "fitted", "rendered", "shortened"]

GAP = 2
INDENT = 2
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
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

    @property
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
    spare = max(0, width - _least(columns))
    fitting = []
    for column in columns:
        if not column.least or column.width <= column.least:
            fitting.append(column)
            continue
        room = min(column.width, column.least + spare)
        spare -= room - column.least
        cells = tuple(shortened(cell, room) for cell in column.cells)
        fitting.append(Column(column.title, cells, column.rank, column.right, column.styles, column.least))
    return fitting


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
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True, overflow="crop")
    for number in range(len(columns[0].cells)):
        table.add_row(*(_cell(column, number) for column in columns))
    width = GAP * len(columns) + sum(column.width for column in columns)
    console = Console(
        file=io.StringIO(), width=width, color_system="standard" if color else None, force_terminal=color,
        no_color=not color, highlight=False, markup=False, emoji=False, legacy_windows=False, _environ={},
    )  # fmt: skip
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    if label:
        room = len(lines[-1]) - len(lines[-1].lstrip()) - GAP
        lines[-1] = shortened(label, room) + lines[-1][min(cell_len(label), room) :]
    return "".join(f"{' ' * INDENT}{line}".rstrip() + "\n" for line in lines)


def _cell(column: Column, number: int) -> Text:
    return Text(column.cells[number], style=column.styles[number] if column.styles else "")

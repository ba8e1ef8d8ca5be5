"""A diagram in characters: points with intervals, and a curve, over a logarithmic axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10

__all__ = ["Axis", "Mark", "chart"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800
_POINT, _BAR = "●", "│"
_LABEL = 9
_TICK_GAP = 14


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values; ``text`` writes one, ``logarithmic`` says how they are spaced."""

    low: float
    high: float
    logarithmic: bool
    text: Callable[[float], str]

    @classmethod
    def over(cls, values: Sequence[float], logarithmic: bool, text: Callable[[float], str]) -> Axis:
        """Return the axis that holds all values; one that would have no length is widened."""
        low, high = min(values), max(values)
        if low < high:
            return cls(low, high, logarithmic, text)
        return cls(low / 2, high * 2, logarithmic, text) if low > 0 else cls(low - 1, high + 1, logarithmic, text)

    def place(self, value: float) -> float:
        """Return where a value lies, from 0 at the low end to 1; values outside are at the ends."""
        if self.logarithmic:
            share = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def at(self, share: float) -> float:
        """Return the value at a place."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with its interval."""

    x: float
    y: float
    low: float
    high: float


def chart(
    marks: Sequence[Mark],
    line: Callable[[float], float] | None,
    axes: tuple[Axis, Axis],
    size: tuple[int, int],
) -> str:
    """Return a diagram of ``size`` columns and rows, axes included; ``line`` gives the curve's y for an x."""
    across, up = axes
    columns, rows = max(size[0] - _LABEL - 2, 20), max(size[1] - 2, 4)
    cells = [[" "] * columns for _ in range(rows)]
    if line is not None:
        _draw(cells, line, across, up)
    for mark in marks:
        column = round(across.place(mark.x) * (columns - 1))
        bottom, middle, top = (_row(up.place(y), rows) for y in (mark.low, mark.y, mark.high))
        for row in range(top, bottom + 1):
            if cells[row][column] != _POINT:
                cells[row][column] = _BAR
        cells[middle][column] = _POINT
    lines = []
    for row, cell in enumerate(cells):
        labelled = row in (0, rows - 1) or row == rows // 2
        label = up.text(up.at(1.0 - row / (rows - 1))) if labelled else ""
        lines.append(f"{label:>{_LABEL}} {'┤' if labelled else '│'}{''.join(cell)}".rstrip())
    return "\n".join([*lines, f"{'':{_LABEL}} └{'─' * columns}", _ticks(across, columns)]) + "\n"


def _row(share: float, rows: int) -> int:
    return rows - 1 - round(share * (rows - 1))


def _draw(cells: list[list[str]], line: Callable[[float], float], across: Axis, up: Axis) -> None:
    """Draw a curve in dots of two to a column and four to a row."""
    rows, columns = len(cells), len(cells[0])
    for step in range(2 * columns):
        place = up.place(line(across.at(step / (2 * columns - 1))))
        dot = 4 * rows - 1 - round(place * (4 * rows - 1))
        column, row = step // 2, dot // 4
        old = cells[row][column]
        bits = ord(old) - _BRAILLE if old != " " else 0
        cells[row][column] = chr(_BRAILLE + (bits | _DOTS[dot % 4][step % 2]))


def _ticks(across: Axis, columns: int) -> str:
    count = max(2, min(columns // _TICK_GAP, 6))
    text = [" "] * (columns + _LABEL)
    for tick in range(count):
        share = tick / (count - 1)
        label = across.text(across.at(share))
        start = round(share * (columns - 1)) - (len(label) if tick == count - 1 else len(label) // 2 if tick else 0)
        start = max(start + (tick == count - 1), 0)
        text[start : start + len(label)] = label
    return " " * (_LABEL + 2) + "".join(text).rstrip()

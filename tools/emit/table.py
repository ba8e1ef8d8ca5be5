"""The table: a row for each kernel, most expensive first, then the totals and what they stand on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...passes.report import Report
from ..units import NOTHING, brief, count, duration, intensity, percent, si
from .layout import Column, fitted, rendered
from .modules import module_rows
from .rows import Row, aggregated, kernel_rows, with_bodies, with_shares
from .totals import comparison, headline, one_line, totals
from .view import View

__all__ = ["emit", "table"]

CUT_OFF = 0.01
"""Rows with a smaller share of the time are summed up in one line."""

_LEAST_NAME = 24
_WIDEST = 36
"""Characters of an expression of open dimensions in a cell; the JSON has all of it."""

_BOUND_STYLES = {"compute": "green", "dispatch": "magenta", "unknown": "bold red"}
_MEMORY_STYLE = "yellow"
_EVIDENCE_STYLES = {"measured": "green", "interpolated": "cyan", "extrapolated": "yellow", "proxy": "yellow"}
_FIRST_PRINCIPLES_STYLE = "dim"


def emit(reports: Sequence[Report], view: View) -> str:
    """Return a table for each report and, for several, one that compares them."""
    if view.quiet:
        return "".join(one_line(report) for report in reports)
    tables = "\n".join(table(report, view) for report in reports)
    return tables if len(reports) == 1 else f"{tables}\n{comparison(reports, view)}"


def table(report: Report, view: View) -> str:
    """Return the table of one report, its headline and totals included."""
    rows, rest = _chosen(report, view)
    if view.by == "kernel":
        rows = _legible(with_bodies(rows, report, grouped=view.order == "time"), view)
    lines = [headline(report, view), ""]
    if rows or rest:
        mixed = len(report.total.macs_by_precision) > 1
        columns = _columns([*rows, *(replace(row, name="") for row in rest)], view, mixed)
        label = rest[0].name if rest else ""
        lines.append(rendered(columns if view.wide else fitted(columns, view.width), view.color, label))
    return "\n".join(lines) + "\n" + totals(report, view) + (_account(report, view) if view.coverage else "")


def _account(report: Report, view: View) -> str:
    from .coverage import coverage

    return f"\n{coverage(report, view)}"


# -- which rows -------------------------------------------------------------------------------------------------------


def _chosen(report: Report, view: View) -> tuple[list[Row], list[Row]]:
    """The rows to show, and the line that sums up the others, if there are any."""
    by_time = view.order == "time"
    rows = _rows(report, view)
    if by_time and view.by != "module":
        rows.sort(key=lambda row: row.cost, reverse=True)
    rows = with_shares(rows)
    if view.top is not None:
        return _cut(rows, view.top, "more kernels")
    if not by_time or view.by != "kernel":
        return [row for row in rows if view.by != "module" or _matters(row)], []
    small = [row for row in rows if not _matters(row)]
    if len(small) < 2:
        return rows, []
    shown = [row for row in rows if _matters(row)]
    return _cut([*shown, *small], len(shown), f"more kernels below {percent(CUT_OFF).replace('.0', '')} each")


def _rows(report: Report, view: View) -> list[Row]:
    if view.by == "kernel":
        return kernel_rows(report, grouped=view.order == "time")
    return module_rows(report) if view.by == "module" else aggregated(report, view.by)


def _legible(rows: list[Row], view: View) -> list[Row]:
    """The rows without those of bodies that take little, where the order is by time."""
    return [row for row in rows if row.depth == 0 or view.order != "time" or _matters(row)]


def _matters(row: Row) -> bool:
    """Whether a row gets a line of its own: what is unknown always does."""
    return not row.exact or row.share is None or row.share >= CUT_OFF


def _cut(rows: list[Row], length: int, what: str) -> tuple[list[Row], list[Row]]:
    rest = rows[length:]
    if not rest:
        return rows, []
    kernels = sum(row.count for row in rest)
    if kernels == 1:
        what = what.replace("kernels", "kernel").removesuffix(" each")
    return rows[:length], [_rest(rest, f"{kernels} {what}")]


def _rest(rows: Sequence[Row], name: str) -> Row:
    seconds = [row.seconds for row in rows if row.seconds is not None]
    joules = [row.joules for row in rows if row.joules is not None]
    shares = [row.share for row in rows if row.share is not None]
    return Row(
        name=name, pattern="", count=sum(row.count for row in rows), output="",
        macs=sum(row.macs for row in rows), flops=sum(row.flops for row in rows), bytes=sum(row.bytes for row in rows),
        seconds=sum(seconds) if seconds else None, joules=sum(joules) if joules else None, bound="", evidence="",
        exact=all(row.exact for row in rows), share=sum(shares) if shares else None, cumulative=rows[-1].cumulative,
    )  # fmt: skip


# -- which columns ----------------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Row], view: View, mixed: bool) -> list[Column]:
    """All columns that say something, with the rank in which they go on narrow terminals.

    ``mixed`` says that multiply-accumulates run in several precisions: each row then tells its own.
    """

    def column(title: str, rank: int, cell: Callable[[Row], str], right: bool = True) -> Column:
        return Column(title, tuple(map(cell, rows)), rank, right)

    by_kernel = view.by == "kernel"
    timed = any(row.seconds is not None for row in rows)
    powered = all(row.joules is not None for row in rows)
    calibrated = any(row.evidence in _EVIDENCE_STYLES for row in rows)
    names = tuple("  " * row.depth + row.name for row in rows)
    columns = [
        Column(view.by, names, 0, right=False, least=_LEAST_NAME),
        Column("pattern", tuple(row.pattern for row in rows), 4 if by_kernel else 13, right=False, least=20),
        column("×", 6, lambda row: str(row.count) if row.name and (row.count != 1 or not by_kernel) else ""),
        column("output", 8, lambda row: row.output, right=False),
        column("MACs", 5, lambda row: _bounded(row, brief(count(row.macs), _WIDEST))),
        column("FLOPs", 7, lambda row: _bounded(row, brief(count(row.flops), _WIDEST))),
        column("precision", 5, lambda row: row.precision, right=False),
        column("bytes", 3, lambda row: _bounded(row, brief(si(row.bytes, "B"), _WIDEST))),
        column("AI", 10, lambda row: intensity(row.intensity) if row.flops else NOTHING),
        column("time", 0 if timed else 15, lambda row: _bounded(row, duration(row.seconds)) if timed else ""),
        column("each", 14, lambda row: duration(row.seconds_each)),
        column("share" if timed else "of FLOPs", 1, lambda row: percent(row.share)),
        column("Σ", 11, lambda row: percent(row.cumulative)),
        Column("bound", tuple(row.bound for row in rows), 2, False, tuple(_bound_style(row.bound) for row in rows)),
        column("unit", 15, lambda row: row.unit, right=False),
        column("energy", 9, lambda row: si(row.joules, "J") if powered else ""),
        Column("evidence", tuple(row.evidence for row in rows), 4 if calibrated else 12, False,
               tuple(_evidence_style(row.evidence) for row in rows)),
    ]  # fmt: skip
    hidden = (() if view.wide else ("each", "unit")) + (("Σ",) if view.by == "module" else ())
    hidden += () if view.wide or mixed else ("precision",)
    return [item for item in columns if item.title not in hidden and _says_something(item)]


def _says_something(column: Column) -> bool:
    return not column.rank or any(cell not in ("", NOTHING) for cell in column.cells)


def _bounded(row: Row, text: str) -> str:
    """The figure as a lower bound where something in it could not be counted."""
    return text if row.exact else f"≥ {text.replace(NOTHING, '0')}"


def _bound_style(bound: str) -> str:
    return _BOUND_STYLES.get(bound, _MEMORY_STYLE if bound else "")


def _evidence_style(evidence: str) -> str:
    return _EVIDENCE_STYLES.get(evidence, _FIRST_PRINCIPLES_STYLE if evidence else "")

"""What stands around the table: the headline, the totals, what they rest on, and the comparison of several models."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len

from ...passes.report import Report, Total
from ..units import NOTHING, duration, si
from .layout import INDENT, Column, fitted, rendered, shortened
from .view import View

__all__ = ["comparison", "evidence", "headline", "one_line", "totals"]

_LABEL_WIDTH = 11
_BOLD, _RED, _GREEN, _RESET = "\x1b[1m", "\x1b[1;31m", "\x1b[32m", "\x1b[0m"


def headline(report: Report, view: View) -> str:
    """``resnet50 · 122 ops → 57 kernels · jetson-orin-agx:tensorrt @30W · fp16 · batch 1``"""
    parts = [
        report.model,
        f"{report.source_ops} ops → {_plural(len(report.kernels), 'kernel')}",
        report.target.replace("@", " @"),
        report.precision,
        f"batch {report.batch}" if report.batch is not None else "",
    ]
    line = shortened(" · ".join(part for part in parts if part), view.width)
    return _styled(line, _BOLD, view)


def one_line(report: Report) -> str:
    """The totals in one line, for ``-q``."""
    total = report.total
    at_least = "" if total.exact else "≥ "
    parts = [
        f"{report.model}: {at_least}{duration(total.seconds)}" if total.seconds is not None else f"{report.model}:",
        f"({_interval(total)})" if total.seconds_low is not None else "",
        f"{at_least}{si(total.macs, 'MAC')}",
        f"{at_least}{si(total.flops, 'FLOP')}",
        f"{si(total.bytes, 'B')} moved",
        f"weights {si(total.weight_bytes, 'B')}",
        f"peak {si(total.peak_activation_bytes, 'B')}" if total.peak_activation_bytes is not None else "",
        f"energy {si(total.joules, 'J')}" if total.joules is not None else "",
        total.confidence,
        f"{_plural(len(total.unknown), 'op')} unknown" if total.unknown else "",
    ]
    return f"{parts[0]} {', '.join(part for part in parts[1:] if part)}\n".replace(" (", " (", 1)


def totals(report: Report, view: View) -> str:
    """The lines below the table."""
    total = report.total
    lines = [(label, text) for label, text in _figures(report, total) if text]
    body = "".join(_labelled(label, text, view) for label, text in lines)
    closing = [report.summary] if report.summary else []
    return f"{body}\n{''.join(_paragraph(text, view) for text in closing)}{_unknown(total, view)}"


def _figures(report: Report, total: Total) -> list[tuple[str, str]]:
    at_least = "" if total.exact else "≥ "
    return [
        ("latency", _latency(total, at_least)),
        ("work", f"{at_least}{si(total.macs, 'MAC')} · {at_least}{si(total.flops, 'FLOP')} · {si(total.bytes, 'B')} moved"),
        ("energy", _energy(total, at_least)),
        ("memory", _memory(total)),
        ("evidence", evidence(report)),
    ]


def _latency(total: Total, at_least: str) -> str:
    if total.seconds is None:
        return ""
    text = f"{at_least}{duration(total.seconds)}"
    if total.seconds_low is not None:
        text += f"  (95 %: {_interval(total)})"
    if total.throughput:
        text += f"   {_at_most(total)}{_rate(total.throughput)} inferences/s"
    serial, path = total.serial_seconds, total.critical_path_seconds
    if serial is not None and path is not None and path < serial * 0.999:
        other = f"one after another {duration(serial)}" if total.seconds < serial else f"critical path {duration(path)}"
        text += f"   {other}"
    return text


def _at_most(total: Total) -> str:
    return "" if total.exact else "≤ "


def _rate(throughput: float) -> str:
    return f"{throughput:.3g}" if throughput < 1000 else si(throughput) if throughput >= 1e6 else f"{throughput:,.0f}"


def _interval(total: Total) -> str:
    return f"{duration(total.seconds_low)} – {duration(total.seconds_high)}"


def _energy(total: Total, at_least: str) -> str:
    if total.joules is None:
        return ""
    whole = sum(total.energy.values())
    parts = [f"{name} {100 * joules / whole:.0f} %" for name, joules in total.energy.items() if whole]
    return f"{at_least}{si(total.joules, 'J')}   {', '.join(parts)}".rstrip()


def _memory(total: Total) -> str:
    parts = [f"weights {si(total.weight_bytes, 'B')}"]
    if total.peak_activation_bytes is not None:
        at = f" at {total.peak_at}" if total.peak_at else ""
        parts.append(f"activations peak {si(total.peak_activation_bytes, 'B')}{at}")
    if total.arena_bytes is not None:
        parts.append(f"arena {si(total.arena_bytes, 'B')}")
    return " · ".join(parts)


def evidence(report: Report) -> str:
    """What the time stands on. Without any calibration the word is THEORETICAL."""
    if report.total.seconds is None:
        return ""
    seconds = sum(row.seconds for row in report.coverage)
    parts = [
        f"{row.evidence} {100 * row.seconds / seconds:.0f} %"
        for row in sorted(report.coverage, key=lambda row: -row.seconds)
        if seconds and row.seconds
    ]
    text = f"{', '.join(parts)} of the time" if parts else report.total.confidence
    return text


def _unknown(total: Total, view: View) -> str:
    if total.exact:
        return _paragraph("Nothing unknown.", view, _GREEN)
    counted = Counter((op.operator, op.reason) for op in total.unknown)
    head = f"Unknown: {_plural(len(total.unknown), 'operation')}; every figure marked ≥ is a lower bound."
    lines = [_paragraph(head, view, _RED)]
    for (operator, reason), times in counted.most_common():
        first = next(op.name for op in total.unknown if (op.operator, op.reason) == (operator, reason))
        also = "" if times == 1 else ", …"
        lines.append(_paragraph(f"  {operator} ×{times}: {reason} ({first}{also})", view))
    return "".join(lines)


# -- several models ---------------------------------------------------------------------------------------------------


def comparison(reports: Sequence[Report], view: View) -> str:
    """A line for each model, in the order given."""
    def cells(text: list[str]) -> tuple[str, ...]:
        return tuple(text)

    fastest = min((report.total.seconds for report in reports if report.total.seconds), default=None)
    columns = [
        Column("model", cells([report.model for report in reports]), 0, right=False, least=18),
        Column("kernels", cells([str(len(report.kernels)) for report in reports]), 6),
        Column("MACs", cells([_total(report, si(report.total.macs)) for report in reports]), 2),
        Column("FLOPs", cells([_total(report, si(report.total.flops)) for report in reports]), 8),
        Column("bytes", cells([si(report.total.bytes, "B") for report in reports]), 9),
        Column("weights", cells([si(report.total.weight_bytes, "B") for report in reports]), 4),
        Column("peak", cells([si(report.total.peak_activation_bytes, "B") for report in reports]), 5),
        Column("latency", cells([_total(report, duration(report.total.seconds)) for report in reports]), 0),
        Column("95 %", cells([_interval(report.total) for report in reports]), 7),
        Column("ratio", cells([_ratio(report, fastest) for report in reports]), 1),
        Column("energy", cells([si(report.total.joules, "J") for report in reports]), 3),
        Column("evidence", cells([report.total.confidence for report in reports]), 10, right=False),
    ]
    shown = [column for column in columns if not column.rank or any(cell.strip(f"{NOTHING} ") for cell in column.cells)]
    title = _styled(f"{len(reports)} models", _BOLD, view)
    return f"{title}\n\n{rendered(shown if view.wide else fitted(shown, view.width), view.color)}"


def _total(report: Report, text: str) -> str:
    return text if report.total.exact else f"≥ {text}"


def _ratio(report: Report, fastest: float | None) -> str:
    return f"{report.total.seconds / fastest:.2f}×" if fastest and report.total.seconds else NOTHING


# -- text -------------------------------------------------------------------------------------------------------------


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _styled(text: str, style: str, view: View) -> str:
    return f"{style}{text}{_RESET}" if view.color and style else text


def _labelled(label: str, text: str, view: View) -> str:
    """A label and its text, which goes on below itself where it is too long for one line."""
    room = max(view.width - INDENT - _LABEL_WIDTH, 30)
    first, *others = textwrap.wrap(text, room, break_long_words=False, drop_whitespace=True) or [""]
    head = f"{' ' * INDENT}{_styled(label, _BOLD, view)}{' ' * (_LABEL_WIDTH - cell_len(label))}{first}\n"
    return head + "".join(f"{' ' * (INDENT + _LABEL_WIDTH)}{line}\n" for line in others)


def _paragraph(text: str, view: View, style: str = "") -> str:
    lead = " " * (INDENT + len(text) - len(text.lstrip()))
    lines = textwrap.wrap(text.strip(), max(view.width - len(lead), 30), break_long_words=False)
    return "".join(f"{lead}{_styled(line, style, view)}\n" for line in lines)

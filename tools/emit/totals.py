"""What stands around the table: the headline, the totals, what they rest on, and the comparison of several models."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len

from ...passes.report import Report, Total
from ..terminal import visible
from ..units import NOTHING, duration, rounded, si
from .bodies import control_notes
from .layout import INDENT, Column, fitted, rendered, shortened, styled
from .view import View

__all__ = ["comparison", "evidence", "headline", "labelled", "one_line", "totals"]

THEORETICAL = "THEORETICAL"
_LABEL_WIDTH = 11
_SEPARATOR = " · "
_SAME = 0.999


def headline(report: Report, view: View) -> str:
    """``resnet50 · 122 ops → 57 kernels · jetson-orin-agx:tensorrt @30W · fp16 · batch 1``"""
    parts = [
        report.model,
        f"{_plural(report.source_ops, 'op')} → {_plural(len(report.kernels), 'kernel')}",
        report.target.replace("@", " @"),
        report.precision,
        f"batch {report.batch}" if report.batch is not None else "",
    ]
    line = shortened(visible(" · ".join(part for part in parts if part)), view.width)
    return styled(line, "bold", view.color)


def one_line(report: Report) -> str:
    """The totals in one line, for ``-q``."""
    total = report.total
    at_least = "" if total.exact else "≥ "
    parts = [
        f"{at_least}{duration(total.seconds)} ({_interval(total)})" if total.seconds is not None else "",
        f"{at_least}{si(total.macs, 'MAC')}",
        f"{at_least}{si(total.flops, 'FLOP')}",
        f"{si(total.bytes, 'B')} moved",
        f"weights {si(total.weight_bytes, 'B')}",
        f"KV cache {si(total.kv_cache_bytes, 'B')}" if total.kv_cache_bytes else "",
        f"peak {si(total.peak_activation_bytes, 'B')}" if total.peak_activation_bytes is not None else "",
        f"energy {si(total.joules, 'J')}" if total.joules is not None else "",
        total.confidence,
        f"{_plural(len(total.unknown), 'op')} unknown" if total.unknown else "",
    ]
    return f"{visible(report.model)}: {', '.join(part for part in parts if part)}\n"


def totals(report: Report, view: View) -> str:
    """The lines below the table."""
    figures = [(label, parts) for label, parts in _figures(report) if parts]
    body = "".join(labelled(label, parts, view) for label, parts in figures)
    closing = _paragraph(report.summary, view) if report.summary else ""
    return f"{body}\n{closing}{_open(report, view)}{_unknown(report.total, view)}"


def _open(report: Report, view: View) -> str:
    """Which dimensions figures depend on: those that can be bound, and those that only a run tells."""
    free = [dim.name for dim in report.open_dimensions if not dim.depends_on_data]
    data = [
        f"{dim.name} (at most {si(dim.upper)})" if dim.upper is not None else f"{dim.name} (no bound known)"
        for dim in report.open_dimensions
        if dim.depends_on_data
    ]
    lines = [f"Open: {', '.join(free)}; bind with --dim NAME=VALUE."] if free else []
    lines += [f"Depends on data: {', '.join(data)}."] if data else []
    return "".join(_paragraph(line, view) for line in lines)


def _figures(report: Report) -> list[tuple[str, list[str]]]:
    total = report.total
    at_least = "" if total.exact else "≥ "
    counted = [f"{at_least}{si(total.macs, 'MAC')}{_by_precision(total)}", f"{at_least}{si(total.flops, 'FLOP')}"]
    moved = [f"{at_least}{si(total.bytes, 'B')} moved{_traffic(total)}"]
    return [
        ("latency", _latency(total, at_least)),
        ("work", [*counted, *moved] if total.flops or total.bytes else []),
        ("energy", _energy(total, at_least)),
        ("memory", _memory(total, at_least)),
        ("fits", _fits(total, at_least)),
        ("evidence", evidence(report)),
        *control_notes(report),
    ]


def _traffic(total: Total) -> str:
    """What a decoder's step moves: which of weights and caches it is bound by."""
    if not total.kv_cache_bytes:
        return ""
    weights, caches = total.weight_bytes_read, total.kv_cache_bytes_moved
    rest = total.bytes - weights - caches
    return f" (weights {si(weights, 'B')}, KV cache {si(caches, 'B')}, activations {si(rest, 'B')})"


def _by_precision(total: Total) -> str:
    """``(int8 98 %, fp32 2 %)`` where multiply-accumulates run in several precisions, all of them numbers."""
    parts = total.macs_by_precision
    if len(parts) < 2 or not all(isinstance(macs, int) for macs in (total.macs, *parts.values())):
        return ""
    split = sorted(parts.items(), key=lambda item: -item[1])
    return f" ({', '.join(f'{name} {rounded(macs / total.macs)}' for name, macs in split)})"


def _latency(total: Total, at_least: str) -> list[str]:
    if total.seconds is None:
        return []
    parts = [f"{at_least}{duration(total.seconds)}"]
    if total.seconds_low is not None:
        parts[0] += f" (95 %: {_interval(total)})"
    if total.throughput:
        parts.append(f"{'' if total.exact else '≤ '}{_rate(total.throughput)} inferences/s")
    serial, path = total.serial_seconds, total.critical_path_seconds
    if serial is not None and path is not None and path < serial * _SAME:
        other = f"one after another {duration(serial)}" if total.seconds < serial else f"critical path {duration(path)}"
        parts.append(other)
    return parts


def _rate(throughput: float) -> str:
    if throughput < 1:
        return f"{throughput:.3g}"
    return si(throughput) if throughput < 1000 else f"{throughput:,.0f}"


def _interval(total: Total) -> str:
    """Both ends, the unit once where they share it: ``1.04–1.29 ms``."""
    low, high = duration(total.seconds_low), duration(total.seconds_high)
    number, _, unit = low.partition(" ")
    return f"{number}–{high}" if unit and high.endswith(f" {unit}") else f"{low} – {high}"


def _energy(total: Total, at_least: str) -> list[str]:
    if total.joules is None:
        return []
    whole = sum(total.energy.values())
    split = ", ".join(f"{name} {100 * joules / whole:.0f} %" for name, joules in total.energy.items() if whole)
    missing = f"no coefficient for {', '.join(total.energy_missing)}" if total.energy_missing else ""
    bound = "≥ " if missing else at_least
    return [f"{bound}{si(total.joules, 'J')}", *(part for part in (split, missing) if part)]


def _memory(total: Total, at_least: str) -> list[str]:
    """What an operator that nobody knows makes may have no known size: its bytes are in no sum."""
    parts = [f"weights {si(total.weight_bytes, 'B')}"]
    if total.kv_cache_bytes:
        parts.append(f"KV cache {si(total.kv_cache_bytes, 'B')}")
    if total.peak_activation_bytes is not None:
        at = f" at {total.peak_at}" if total.peak_at else ""
        parts.append(f"activations peak {at_least}{si(total.peak_activation_bytes, 'B')}{at}")
    if total.arena_bytes is not None and total.arena_bytes != total.peak_activation_bytes:
        parts.append(f"arena {at_least}{si(total.arena_bytes, 'B')}")
    return parts


def _fits(total: Total, at_least: str) -> list[str]:
    """What a microcontroller's RAM and flash must hold."""
    made = total.footprint
    if made is None:
        return []
    upkeep = f"{si(made.arena_bytes, 'B')} arena + {si(made.upkeep_bytes, 'B')} interpreter"
    stored = f"{si(made.model_bytes, 'B')} model + {si(made.code_bytes, 'B')} runtime + kernels"
    return [
        f"SRAM {at_least}{_of(made.sram_bytes, made.sram_size)} ({upkeep})",
        f"flash ≥ {_of(made.flash_bytes, made.flash_size)} ({stored})",
    ]


def _of(size: int, whole: int | None) -> str:
    return si(size, "B") if whole is None else f"{si(size, 'B')} of {si(whole, 'B')}"


def evidence(report: Report) -> list[str]:
    """What the time stands on. THEORETICAL is what no measurement of this target supports."""
    if report.total.seconds is None:
        return []
    rows = sorted((row for row in report.coverage if row.seconds), key=lambda row: -row.seconds)
    if {row.evidence for row in rows} <= {THEORETICAL}:
        words = f"{report.total.confidence}: from peak rates and typical efficiencies"
        return [words, "no calibration for this target"]
    seconds = sum(row.seconds for row in rows)
    words = ", ".join(f"{row.evidence} {rounded(row.seconds / seconds)}" for row in rows) + " of the time"
    return [words, *_source(report)]


def _source(report: Report) -> list[str]:
    source = report.evidence
    if source is None or not source.file:
        return []
    return [f"{source.layer}: {Path(source.file).name}" + (f", {source.date[:10]}" if source.date else "")]


def _unknown(total: Total, view: View) -> str:
    if total.exact:
        return _paragraph("Nothing unknown.", view, "green")
    counted = Counter((op.operator, op.reason) for op in total.unknown)
    head = f"Unknown: {_plural(len(total.unknown), 'operation')}; every figure marked ≥ is a lower bound."
    lines = [_paragraph(head, view, "bold red")]
    for (operator, reason), times in counted.most_common():
        first = next(op.name for op in total.unknown if (op.operator, op.reason) == (operator, reason))
        also = "" if times == 1 else ", …"
        lines.append(_paragraph(f"  {operator} ×{times}: {reason} ({first}{also})", view))
    return "".join(lines)


# -- several models ---------------------------------------------------------------------------------------------------


def comparison(reports: Sequence[Report], view: View) -> str:
    """A line for each model, in the order given."""
    fastest = min((report.total.seconds for report in reports if report.total.seconds), default=None)
    columns = [
        Column("model", tuple(report.model for report in reports), 0, right=False, least=18),
        Column("kernels", tuple(str(len(report.kernels)) for report in reports), 6),
        Column("MACs", tuple(_total(report, si(report.total.macs)) for report in reports), 2),
        Column("FLOPs", tuple(_total(report, si(report.total.flops)) for report in reports), 8),
        Column("bytes", tuple(si(report.total.bytes, "B") for report in reports), 9),
        Column("weights", tuple(si(report.total.weight_bytes, "B") for report in reports), 4),
        Column("peak", tuple(si(report.total.peak_activation_bytes, "B") for report in reports), 5),
        Column("latency", tuple(_total(report, duration(report.total.seconds)) for report in reports), 0),
        Column("95 %", tuple(_interval(report.total) for report in reports), 7),
        Column("ratio", tuple(_ratio(report, fastest) for report in reports), 1),
        Column("energy", tuple(si(report.total.joules, "J") for report in reports), 3),
        Column("evidence", tuple(report.total.confidence for report in reports), 10, right=False),
    ]
    shown = [column for column in columns if not column.rank or any(cell.strip(f"{NOTHING} ") for cell in column.cells)]
    title = styled(f"{len(reports)} models", "bold", view.color)
    return f"{title}\n\n{rendered(shown if view.wide else fitted(shown, view.width), view.color)}"


def _total(report: Report, text: str) -> str:
    return text if report.total.exact else f"≥ {text}"


def _ratio(report: Report, fastest: float | None) -> str:
    return f"{report.total.seconds / fastest:.2f}×" if fastest and report.total.seconds else NOTHING


# -- text -------------------------------------------------------------------------------------------------------------


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def labelled(label: str, parts: Sequence[str], view: View) -> str:
    """A label and its parts; a part that does not fit goes to the next line, a part too long for one is broken."""
    room = max(view.width - INDENT - _LABEL_WIDTH, 30)
    lines = [""]
    for part in map(visible, parts):
        joined = f"{lines[-1]}{_SEPARATOR if lines[-1] else ''}{part}"
        if cell_len(joined) <= room:
            lines[-1] = joined
        else:
            broken = textwrap.wrap(part, room, break_long_words=False)
            lines = [*(line for line in lines if line), *broken]
    margin = " " * (INDENT + _LABEL_WIDTH)
    head = f"{' ' * INDENT}{styled(label, 'bold', view.color)}{' ' * (_LABEL_WIDTH - cell_len(label))}"
    return head + f"\n{margin}".join(lines) + "\n"


def _paragraph(text: str, view: View, style: str = "") -> str:
    lead = " " * (INDENT + len(text) - len(text.lstrip()))
    lines = textwrap.wrap(visible(text.strip()), max(view.width - len(lead), 30), break_long_words=False)
    return "".join(f"{lead}{styled(line, style, view.color)}\n" for line in lines)

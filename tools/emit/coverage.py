"""The account of a report's coverage for people: what each kernel stands on, what is at risk, what to measure next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...calibration.prediction import Quality
from ...passes.coverage_report import CoverageReport, KernelCoverage, PrimitiveCoverage, RiskLevel, Status
from ...passes.coverage_reporting import coverage_report
from ...passes.report import Report
from ..terminal import visible
from ..units import NOTHING, count, duration, percent, rounded, si
from .layout import INDENT, Column, fitted, rendered, shortened, styled
from .measured import measured_errors
from .rows import common_name, name_template
from .totals import labelled
from .view import View

__all__ = ["coverage", "emit"]

CUT_OFF = 0.01
"""Kernels with a smaller share of the time are summed up in one line."""

_MOST_GAPS = 3
_LABEL_WIDTH, _LEVEL_WIDTH = 11, 8
_FIXED = "\N{NO-BREAK SPACE}"
_NARROWS = 0.001
"""Share of the total by which a measurement must narrow its interval to be worth a line."""

_STATUS_WORDS = {Status.CALIBRATED: "CALIBRATED", Status.APPROXIMATED: "APPROX", Status.MISSING: "MISSING"}
_STATUS_STYLES = {"CALIBRATED": "green", "APPROX": "yellow", "MISSING": "bold red"}
_RISK_STYLES = {RiskLevel.HIGH: "bold red", RiskLevel.MEDIUM: "yellow", RiskLevel.LOW: "green"}
_QUALITY_WORDS = {
    Quality.EXACT: "measured",
    Quality.SIZE_INTERPOLATED: "interpolated",
    Quality.SIZE_EXTRAPOLATED: "extrapolated",
}


def emit(reports: Sequence[Report], view: View) -> str:
    """Return the account of each report."""
    return "\n".join(coverage(report, view) for report in reports)


def coverage(report: Report, view: View) -> str:
    """Return the account of one report."""
    made = coverage_report(report)
    target = made.target.replace("@", " @")
    head = shortened(visible(f"Calibration coverage: {report.model} on {target}, {made.precision}"), view.width)
    blocks = [
        styled(head, "bold", view.color) + "\n",
        _kernels(made, view),
        _summary(made, view) + _risks(made, view),
        measured_errors(made.measured, view) if made.measured else "",
    ]
    return "\n".join(block for block in blocks if block)


# -- kernels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the table; of a kernel with what is alike, or of a primitive in it."""

    pattern: str
    times: str
    flops: str
    share: str
    status: str
    entry: str
    efficiency: str
    quality: str


def _kernels(made: CoverageReport, view: View) -> str:
    groups = _groups(made.kernels)
    if view.order == "time":
        groups.sort(key=lambda group: -sum(kernel.seconds for kernel in group))
    whole = made.summary.seconds or 1.0
    shared = [(group, sum(kernel.seconds for kernel in group) / whole) for group in groups]
    if view.top is not None:
        shown, rest = shared[: view.top], shared[view.top :]
    elif view.order == "time":
        shown = [row for row in shared if row[1] >= CUT_OFF]
        rest = shared[len(shown) :]
    else:
        shown, rest = shared, []
    lines = [line for group, share in shown for line in _lines(group, share)]
    text = ""
    if lines:
        columns = _columns(lines)
        text = rendered(columns if view.wide else fitted(columns, view.width), view.color)
    if rest:
        kernels = sum(len(group) for group, _ in rest)
        share = percent(sum(share for _, share in rest))
        text += f"{' ' * INDENT}{kernels} more {'kernel' if kernels == 1 else 'kernels'}, {share} of the time\n"
    return text


def _groups(kernels: Sequence[KernelCoverage]) -> list[list[KernelCoverage]]:
    """Kernels that differ in nothing but their names and their place."""
    groups: dict[object, list[KernelCoverage]] = {}
    for kernel in kernels:
        inside = tuple(
            (part.operation_type, part.flops, part.bytes, part.quality, part.entry) for part in kernel.primitives
        )
        likeness = (kernel.pattern, kernel.flops, kernel.bytes, kernel.quality, kernel.entry, inside)
        groups.setdefault(likeness, []).append(kernel)
    return list(groups.values())


def _lines(group: Sequence[KernelCoverage], share: float) -> Iterator[_Line]:
    """The kernel's line; below it, one for each primitive unless the only one says the same."""
    first = group[0]
    proxy = next((part.proxy for part in first.primitives if part.proxy), "")
    yield _Line(
        first.pattern,
        str(len(group)) if len(group) > 1 else "",
        count(sum(kernel.flops for kernel in group)),
        percent(share),
        _STATUS_WORDS[first.status],
        first.entry or (first.primitives[0].entry if len(first.primitives) == 1 else "") or NOTHING,
        _efficiency(first.efficiency),
        _quality(first.quality, proxy if first.quality is not Quality.MISSING else ""),
    )
    if len(first.primitives) < 2:
        return
    for parts in zip(*(kernel.primitives for kernel in group), strict=True):
        yield _part_line(parts)


def _part_line(parts: Sequence[PrimitiveCoverage]) -> _Line:
    first = parts[0]
    names = {part.name for part in parts}
    name = first.name if len(names) == 1 else _common([part.name for part in parts])
    return _Line(
        f"  {name} ({first.operation_type})",
        "",
        count(sum(part.flops for part in parts)),
        "",
        _STATUS_WORDS[first.status],
        first.entry or NOTHING,
        _efficiency(first.efficiency),
        _quality(first.quality, first.proxy),
    )


def _common(names: Sequence[str]) -> str:
    """What the names have in common but for their numbers; the first one where they are not so alike."""
    return common_name(names) if len({name_template(name) for name in names}) == 1 else f"{names[0]}, …"


def _efficiency(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.0f} %"


def _quality(quality: Quality, proxy: str) -> str:
    if quality in _QUALITY_WORDS:
        return _QUALITY_WORDS[quality]
    if proxy:
        return f"proxy: {proxy}"
    return "nothing measured" if quality is Quality.MISSING else "proxy: other operations"


def _columns(lines: Sequence[_Line]) -> list[Column]:
    statuses = tuple(line.status for line in lines)
    styles = tuple(_STATUS_STYLES.get(status, "") for status in statuses)
    columns = [
        Column("pattern", tuple(line.pattern for line in lines), 0, right=False, least=24),
        Column("×", tuple(line.times for line in lines), 3),
        Column("FLOPs", tuple(line.flops for line in lines), 2),
        Column("time", tuple(line.share for line in lines), 4),
        Column("status", statuses, 0, False, styles),
        Column("entry", tuple(line.entry for line in lines), 5, right=False, least=16),
        Column("eff.", tuple(line.efficiency for line in lines), 1),
        Column("quality", tuple(line.quality for line in lines), 1, right=False),
    ]
    return [column for column in columns if not column.rank or any(cell not in ("", NOTHING) for cell in column.cells)]


# -- what follows from it ---------------------------------------------------------------------------------------------


def _summary(made: CoverageReport, view: View) -> str:
    total = made.summary
    ops = [str(total.ops), *(f"{status.value} {n} ({_share(n, total.ops)})" for status, n in total.ops_by.items())]
    work = [si(total.flops, "FLOP"), *_shares(total.flops_by, total.flops)]
    time = [duration(total.seconds), *_shares(total.seconds_by, total.seconds)]
    rows = (("operators", ops), ("FLOPs", work), ("time", time))
    return "".join(labelled(label, parts, view) for label, parts in rows)


def _shares(by: dict[Status, int] | dict[Status, float], whole: float) -> list[str]:
    return [f"{status.value} {_share(part, whole)}" for status, part in by.items() if part]


def _share(part: float, whole: float) -> str:
    return rounded(part / whole) if whole else NOTHING


def _risks(made: CoverageReport, view: View) -> str:
    """A line for each operation type that puts the total at risk; one for all that do not."""
    lines = [
        (_level(risk.level, view), f"{risk.operation_type} ({risk.kernels}): {risk.reason}")
        for risk in made.risks
        if risk.level is not RiskLevel.LOW
    ]
    low = ", ".join(f"{risk.operation_type} ({risk.kernels})" for risk in made.risks if risk.level is RiskLevel.LOW)
    lines += [(_level(RiskLevel.LOW, view), low)] if low else []
    return _listed("risk", lines, _LEVEL_WIDTH, view) + _listed("next", _next(made), 0, view)


def _level(level: RiskLevel, view: View) -> str:
    return styled(f"{level.name:<{_LEVEL_WIDTH}}", _RISK_STYLES[level], view.color)


def _next(made: CoverageReport) -> list[tuple[str, str]]:
    """What to measure: everything where nothing is; else the few operation types that narrow the total most."""
    if made.kernels and all(kernel.status is Status.MISSING for kernel in made.kernels):
        return [("", f"{made.command}   nothing is measured yet")]
    worth = [gap for gap in made.gaps if gap.half_width - gap.half_width_without >= _NARROWS][:_MOST_GAPS]
    effects = [f"±{100 * gap.half_width:.1f} % → ±{100 * gap.half_width_without:.1f} %" for gap in worth]
    width = max(map(len, effects), default=0)
    return [("", f"{effect:<{width}}   {gap.command}") for effect, gap in zip(effects, worth, strict=True)]


def _listed(label: str, lines: Sequence[tuple[str, str]], lead: int, view: View) -> str:
    """A label and a line for each entry; a line too long is broken below its beginning, but no command ever is."""
    margin = INDENT + _LABEL_WIDTH
    room = max(view.width - margin - lead, 30)
    text = ""
    for number, (head, words) in enumerate(lines):
        shown = styled(f"{label:<{_LABEL_WIDTH}}", "bold", view.color) if number == 0 else " " * _LABEL_WIDTH
        broken = [words] if label == "next" else _broken(words, room)
        text += f"{' ' * INDENT}{shown}{head}{broken[0]}\n"
        text += "".join(f"{' ' * (margin + lead)}{line}\n" for line in broken[1:])
    return text


def _broken(words: str, room: int) -> list[str]:
    """The text in lines; a number and its unit stay together."""
    lines = textwrap.wrap(
        visible(words).replace(" %", _FIXED + "%"), room, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_FIXED, " ") for line in lines] or [""]

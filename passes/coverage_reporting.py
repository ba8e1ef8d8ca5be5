"""Builds the account of the coverage: what each kernel stands on, what puts the total at risk, what to measure next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..calibration.kernel import Kernel, operation_type
from ..calibration.prediction import Estimator, Quality
from ..calibration.proxies import proxies_of
from ..ir import Op
from ..ir.errors import GraphsError
from ..ir.primitives import flops
from ..targets import Target, parse_target
from .bodies import launches
from .calibrate import Calibration, Match, is_free, kernel_of
from .cost import Cost
from .coverage_report import (
    CoverageReport,
    Gap,
    KernelCoverage,
    PrimitiveCoverage,
    Risk,
    RiskLevel,
    Status,
    Summary,
)
from .evidence import setting_of
from .intervals import Sum
from .parts import Part, parts_of
from .precision import precision_of
from .report import Report
from .totals import Costed, sum_of

__all__ = ["coverage_report"]

_HIGH = 0.03
_MEDIUM = 0.01
"""Shares of the total that an operation type's interval must reach on either side to be a high or a medium risk."""

_FP32 = "fp32"


@dataclass(frozen=True, slots=True)
class _Row:
    """A kernel of the graph or a body in it, launched so many ``times``, with what is known of each launch."""

    op: Op
    kernel: Kernel
    cost: Cost
    calibration: Calibration | None
    times: int = 1

    @property
    def seconds(self) -> float:
        return self.times * self.cost.seconds

    @property
    def quality(self) -> Quality:
        return self.calibration.quality if self.calibration else Quality.MISSING

    @property
    def costed(self) -> Costed:
        return Costed(self.cost, None if self.quality is Quality.MISSING else self.kernel, self.times)


def coverage_report(report: Report) -> CoverageReport:
    """Return the account of what a report's figures stand on; views that cost nothing are left out.

    Raises:
        GraphsError: the report has no costs to account for.
    """
    graph, context = report.graph, report.context
    if context is None or report.total.seconds is None:
        if report.kernels:
            raise GraphsError(
                f"{report.model}: no coverage to show: nothing was predicted",
                help="the pipeline needs cost: --passes=fuse,lower,cost,coverage",
            )
        return CoverageReport(report.target, "", report.precision, report.target, (), _summary(()), (), ())
    rows = [
        _Row(op, kernel_of(op, launch.scope), cost.beside or cost, op.facts.get(Calibration), launch.times)
        for launch in launches(graph)
        if not is_free(op := launch.op, context.target) and (cost := op.facts.get(Cost))
    ]
    setting = setting_of(context.target, context.precision or precision_of(graph))
    kernels = tuple(_kernel(row) for row in rows)
    types = list(dict.fromkeys(row.kernel.operation_type for row in rows))
    estimator = context.evidence.estimator if context.evidence else None
    sums = _Sums(rows, estimator)
    command = _command(context.target, setting.precision)
    return CoverageReport(
        setting.device,
        setting.mode,
        setting.precision,
        context.target.spec,
        kernels,
        _summary(kernels),
        _risks(rows, types, sums),
        _gaps(rows, types, sums, command),
        command(""),
        report.measured,
    )


# -- kernels ----------------------------------------------------------------------------------------------------------


def _kernel(row: _Row) -> KernelCoverage:
    parts = tuple(parts_of(row.op, row.kernel))
    found = row.calibration.matches if row.calibration else (None,) * len(parts)
    return KernelCoverage(
        row.op.label,
        row.kernel.pattern,
        row.kernel.operation_type,
        row.times * row.kernel.flops,
        row.times * row.kernel.bytes,
        row.seconds,
        row.quality,
        row.calibration.entry if row.calibration else "",
        row.cost.efficiency,
        tuple(_primitive(part, match, row.times) for part, match in zip(parts, found, strict=True)),
    )


def _primitive(part: Part, match: Match | None, times: int) -> PrimitiveCoverage:
    made = match or _unmatched(operation_type(part.primitive))
    return PrimitiveCoverage(
        part.op.label, made.operation_type, times * flops(part.primitive), times * part.bytes, made.quality, made.entry,
        made.efficiency, made.std, made.proxy,
    )  # fmt: skip


def _unmatched(operation_type: str) -> Match:
    """Nothing was measured; what could stand in if it were."""
    proxies = proxies_of(operation_type)
    return Match(operation_type, Quality.MISSING, proxy=proxies[0].name if proxies else "")


def _summary(kernels: Sequence[KernelCoverage]) -> Summary:
    ops = dict.fromkeys(Status, 0)
    work = dict.fromkeys(Status, 0)
    seconds = dict.fromkeys(Status, 0.0)
    order = list(Status)
    for kernel in kernels:
        seconds[kernel.status] += kernel.seconds
        worst: dict[str, Status] = {}
        for primitive in kernel.primitives:
            work[primitive.status] += primitive.flops
            worst[primitive.name] = max(worst.get(primitive.name, order[0]), primitive.status, key=order.index)
        for status in worst.values():
            ops[status] += 1
    return Summary(sum(ops.values()), ops, sum(work.values()), work, sum(seconds.values()), seconds)


# -- what puts the total at risk --------------------------------------------------------------------------------------


class _Sums:
    """Sums of kernels' times with their intervals: of all, of some operation types, of all others."""

    def __init__(self, rows: Sequence[_Row], estimator: Estimator | None) -> None:
        self._rows = rows
        self._estimator = estimator
        self.whole = self._of(lambda row: True)

    def _of(self, wanted: Callable[[_Row], bool]) -> Sum:
        return sum_of([row.costed for row in self._rows if wanted(row)], self._estimator)

    def of(self, operation_type: str) -> Sum:
        """The sum of one operation type."""
        return self._of(lambda row: row.kernel.operation_type == operation_type)

    def without(self, operation_type: str) -> Sum:
        """The sum of all others."""
        return self._of(lambda row: row.kernel.operation_type != operation_type)


def _risks(rows: Sequence[_Row], types: Sequence[str], sums: _Sums) -> tuple[Risk, ...]:
    """One for each operation type, the worst first."""
    whole = sums.whole.seconds
    risks = []
    for name in types:
        of_type = sums.of(name)
        if not of_type.seconds or not whole:
            continue
        members = [row for row in rows if row.kernel.operation_type == name]
        reach = of_type.half_width / whole
        level = RiskLevel.HIGH if reach >= _HIGH else RiskLevel.MEDIUM if reach >= _MEDIUM else RiskLevel.LOW
        share, half_width = of_type.seconds / whole, of_type.half_width / of_type.seconds
        risks.append(Risk(level, name, len(members), share, half_width, _reason(members, share, half_width)))
    return tuple(sorted(risks, key=lambda risk: -risk.share * risk.half_width))


def _reason(members: Sequence[_Row], share: float, half_width: float) -> str:
    """What binds most of the type's time, what most of it stands on, and how much that leaves open."""
    bounds: dict[str, float] = {}
    grounds: dict[str, float] = {}
    for row in members:
        bounds[row.cost.bound] = bounds.get(row.cost.bound, 0.0) + row.seconds
        ground = _ground(row)
        grounds[ground] = grounds.get(ground, 0.0) + row.seconds
    bound = max(bounds, key=bounds.__getitem__)
    binds = {"compute": "bound by compute", "dispatch": "bound by launches", "unknown": "work unknown"}
    words = [binds.get(bound, f"bound by {bound}"), max(grounds, key=grounds.__getitem__)]
    return f"{', '.join(words)}: ±{100 * half_width:.0f} % of {100 * share:.0f} % of the time"


def _ground(row: _Row) -> str:
    made = row.calibration
    if made is None or made.quality is Quality.MISSING:
        return "nothing measured"
    if made.quality is Quality.OP_APPROXIMATED:
        return f"stands on {'other operations' if made.curve == row.kernel.operation_type else made.curve}"
    return {
        Quality.EXACT: "measured", Quality.SIZE_INTERPOLATED: "interpolated in size",
        Quality.SIZE_EXTRAPOLATED: "extrapolated in size",
    }[made.quality]  # fmt: skip


def _gaps(rows: Sequence[_Row], types: Sequence[str], sums: _Sums, command: Callable[[str], str]) -> tuple[Gap, ...]:
    """The operation types that are not calibrated throughout, those first that hold most of the total's interval."""
    whole = sums.whole.seconds
    gaps = []
    for name in types:
        open_ = [row for row in rows if row.kernel.operation_type == name and not _calibrated(row)]
        if not open_ or not whole:
            continue
        gaps.append(
            Gap(
                name,
                len(open_),
                sum(row.times * row.kernel.bytes for row in open_),
                sums.whole.half_width / whole,
                sums.without(name).half_width / whole,
                command(name),
            )
        )
    return tuple(sorted(gaps, key=lambda gap: (gap.half_width_without, gap.operation_type)))


def _calibrated(row: _Row) -> bool:
    return row.quality in (Quality.EXACT, Quality.SIZE_INTERPOLATED)


def _command(target: Target, precision: str) -> Callable[[str], str]:
    """What would measure an operation type on the target, or with an empty text all there is."""
    device, default = parse_target(target.spec).device, target.device.runtimes[:1]
    runtime = f":{target.runtime.name}" if (target.runtime.name,) != tuple(default) else ""
    where = shlex.quote(f"{device}{runtime}" + (f"@{target.mode}" if target.mode else ""))
    tail = f" --target={where}" + (f" --precision={precision}" if precision != _FP32 else "")
    return lambda only: f"graphs-calibrate measure{f' --only={only}' if only else ''}{tail}"

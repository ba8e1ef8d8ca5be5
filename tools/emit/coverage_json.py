"""The account of a report's coverage for programs: one object for one report, an array of them for several."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...passes.coverage_report import CoverageReport, Gap, KernelCoverage, PrimitiveCoverage, Status
from ...passes.coverage_reporting import coverage_report
from ...passes.report import Report
from .json import dumped, measured_record, number
from .view import View

__all__ = ["emit", "record"]


def emit(reports: Sequence[Report], view: View) -> str:
    """Return the account as JSON; what is not known is ``null``."""
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    records = [record(report.model, coverage_report(report), stamp) for report in reports]
    content = records[0] if len(records) == 1 else records
    return dumped(content)


def record(model: str, made: CoverageReport, stamp: str) -> dict[str, Any]:
    """Return the account as plain dictionaries and lists; ``measured`` is there where measurements were given."""
    total = made.summary
    written = {
        "model": model,
        "hardware": made.device,
        "power_mode": made.mode,
        "precision": made.precision,
        "analysis_timestamp": stamp,
        "summary": {
            "total_ops": total.ops,
            "calibrated": total.ops_by[Status.CALIBRATED],
            "approximated": total.ops_by[Status.APPROXIMATED],
            "missing": total.ops_by[Status.MISSING],
            "total_flops": total.flops,
            "calibrated_flops": total.flops_by[Status.CALIBRATED],
            "coverage_percent": total.coverage_percent,
        },
        "subgraphs": [_kernel(kernel) for kernel in made.kernels],
        "gaps": [_gap(gap) for gap in made.gaps],
    }
    return {**written, "measured": measured_record(made.measured)} if made.measured else written


def _kernel(kernel: KernelCoverage) -> dict[str, Any]:
    primitives = [_primitive(part) for part in kernel.primitives]
    return {"id": kernel.name, "pattern": kernel.pattern, "flops": kernel.flops, "primitives": primitives}


def _primitive(part: PrimitiveCoverage) -> dict[str, Any]:
    return {
        "name": part.name,
        "type": part.operation_type,
        "flops": part.flops,
        "bytes": part.bytes,
        "calibration_status": part.status.name,
        "calibration_entry": part.entry or None,
        "measured_efficiency": number(part.efficiency),
        "match_quality": part.quality.name,
        "suggested_proxy": part.proxy or None,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "operation_type": gap.operation_type,
        "count": gap.kernels,
        "total_bytes": gap.bytes,
        "suggested_calibration": gap.command,
    }

"""The account of a report's coverage as a table: a line for each primitive, in graph order (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from ...passes.coverage_report import CoverageReport, KernelCoverage
from ...passes.coverage_reporting import coverage_report
from ...passes.report import Report
from .csv import inert
from .view import View

__all__ = ["COLUMNS", "emit"]

COLUMNS = (
    "model", "hardware", "power_mode", "precision", "subgraph", "pattern", "subgraph_flops", "subgraph_seconds",
    "subgraph_status", "subgraph_entry", "subgraph_efficiency", "name", "type", "flops", "bytes", "calibration_status",
    "calibration_entry", "measured_efficiency", "match_quality", "suggested_proxy",
)  # fmt: skip


def emit(reports: Sequence[Report], view: View) -> str:
    """Return a header and the primitives of every report; a kernel without any has one line of its own."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for report in reports:
        for cells in _rows(report.model, coverage_report(report)):
            writer.writerow(inert(cell) for cell in cells)
    return file.getvalue()


def _rows(model: str, made: CoverageReport) -> Iterator[tuple[str | int | float | None, ...]]:
    for kernel in made.kernels:
        head = (model, made.device, made.mode, made.precision, *_kernel(kernel))
        for part in kernel.primitives:
            yield (
                *head, part.name, part.operation_type, part.flops, part.bytes, part.status.name, part.entry,
                part.efficiency, part.quality.name, part.proxy,
            )  # fmt: skip
        if not kernel.primitives:
            yield (*head, *[None] * (len(COLUMNS) - len(head)))


def _kernel(kernel: KernelCoverage) -> tuple[str | int | float | None, ...]:
    return (
        kernel.name, kernel.pattern, kernel.flops, kernel.seconds, kernel.status.name, kernel.entry, kernel.efficiency
    )  # fmt: skip

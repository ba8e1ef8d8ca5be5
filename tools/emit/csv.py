"""One line for each kernel, in graph order (RFC 4180): for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ...passes.report import KernelReport, Report
from ..terminal import visible
from ..units import shape
from .rows import labels
from .view import View

__all__ = ["COLUMNS", "emit", "inert"]

COLUMNS = (
    "model", "target", "precision", "index", "kernel", "name", "pattern", "kind", "module", "nodes", "output_shape",
    "output_dtype", "macs", "flops", "bytes", "weight_bytes", "flops_per_byte", "seconds", "seconds_low",
    "seconds_high", "compute_seconds", "memory_seconds", "dispatch_seconds", "share", "bound", "unit", "memory",
    "joules", "confidence", "unknown", "seconds_std", "efficiency", "efficiency_std", "evidence", "entry",
    "kv_cache_bytes", "arithmetic_precision",
)  # fmt: skip
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def emit(reports: Sequence[Report], view: View) -> str:
    """Return a header and the kernels of every report; unknown numbers are empty."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for report in reports:
        for label, kernel in zip(labels(report.kernels), report.kernels, strict=True):
            writer.writerow(inert(cell) for cell in _cells(report, label, kernel))
    return file.getvalue()


def _cells(report: Report, label: str, kernel: KernelReport) -> tuple[str | int | float | None, ...]:
    return (
        report.model, report.target, report.precision, kernel.index, label, kernel.name, kernel.pattern, kernel.kind,
        kernel.module, " ".join(kernel.origins), shape(kernel.output).replace("×", "x"), kernel.dtype, kernel.macs,
        kernel.flops, kernel.bytes, kernel.weight_bytes, kernel.intensity, kernel.seconds, kernel.seconds_low,
        kernel.seconds_high, kernel.compute_seconds, kernel.memory_seconds, kernel.dispatch_seconds, kernel.share,
        kernel.bound, kernel.unit, kernel.memory, kernel.joules, kernel.confidence,
        "; ".join(f"{op.operator}: {op.reason}" for op in kernel.unknown), kernel.seconds_std, kernel.efficiency,
        kernel.efficiency_std, kernel.evidence, kernel.entry, kernel.kv_cache_bytes, kernel.arithmetic_precision,
    )  # fmt: skip


def inert(cell: str | int | float | None) -> str | int | float | None:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection).

    What is not printable is written out: a name never takes more than a line.
    """
    if not isinstance(cell, str):
        return cell
    return f"'{visible(cell)}" if cell.startswith(_FORMULA_STARTS) else visible(cell)

"""The report as JSON, in the schema of docs/report.schema.json.

Every number is in SI units, which its key names where the quantity does not (``dispatch_seconds``, ``macs``). What is
not known is ``null``, never zero; NaN and infinities do not occur.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ...passes.report import KernelReport, Report, Total, UnknownOp
from .rows import labels
from .view import View

__all__ = ["SCHEMA", "emit", "record"]

SCHEMA = "graphs.report/1"


def emit(reports: Sequence[Report], view: View) -> str:
    """Return one object for one report, an array for several."""
    records = [record(report) for report in reports]
    content = records[0] if len(records) == 1 else records
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def record(report: Report) -> dict[str, Any]:
    """Return a report as plain dictionaries and lists."""
    from ... import __version__

    named = zip(labels(report.kernels), report.kernels, strict=True)
    return {
        "schema": SCHEMA,
        "generator": f"graphs-opt {__version__}",
        "model": report.model,
        "target": report.target,
        "precision": report.precision,
        "batch": report.batch,
        "pipeline": report.pipeline,
        "source_ops": report.source_ops,
        "summary": report.summary,
        "total": _total(report.total),
        "coverage": [
            {"evidence": row.evidence, "ops": row.ops, "flops": row.flops, "seconds": _number(row.seconds)}
            for row in report.coverage
        ],
        "kernels": [_kernel(label, kernel) for label, kernel in named],
        "diagnostics": [
            {"source": item.source, "message": item.message, "node": item.op} for item in report.diagnostics
        ],
    }


def _total(total: Total) -> dict[str, Any]:
    return {
        "exact": total.exact,
        "macs": total.macs,
        "flops": total.flops,
        "bytes": total.bytes,
        "weight_bytes": total.weight_bytes,
        "peak_activation_bytes": total.peak_activation_bytes,
        "peak_at": total.peak_at,
        "arena_bytes": total.arena_bytes,
        "seconds": _number(total.seconds),
        "seconds_low": _number(total.seconds_low),
        "seconds_high": _number(total.seconds_high),
        "serial_seconds": _number(total.serial_seconds),
        "critical_path_seconds": _number(total.critical_path_seconds),
        "inferences_per_second": _number(total.throughput),
        "joules": _number(total.joules),
        "joules_by_use": {name: _number(joules) for name, joules in total.energy.items()},
        "joules_missing": list(total.energy_missing),
        "confidence": total.confidence,
        "unknown": [_unknown(op) for op in total.unknown],
    }


def _kernel(label: str, kernel: KernelReport) -> dict[str, Any]:
    return {
        "index": kernel.index,
        "label": label,
        "name": kernel.name,
        "pattern": kernel.pattern,
        "kind": kernel.kind,
        "module": kernel.module,
        "nodes": list(kernel.origins),
        "results": list(kernel.results),
        "output_shape": list(kernel.output),
        "output_dtype": kernel.dtype,
        "macs": kernel.macs,
        "flops": kernel.flops,
        "bytes": kernel.bytes,
        "weight_bytes": kernel.weight_bytes,
        "flops_per_byte": _number(kernel.intensity),
        "seconds": _number(kernel.seconds),
        "seconds_low": _number(kernel.seconds_low),
        "seconds_high": _number(kernel.seconds_high),
        "compute_seconds": _number(kernel.compute_seconds),
        "memory_seconds": _number(kernel.memory_seconds),
        "dispatch_seconds": _number(kernel.dispatch_seconds),
        "share": _number(kernel.share),
        "bound": kernel.bound,
        "unit": kernel.unit,
        "memory": kernel.memory,
        "joules": _number(kernel.joules),
        "confidence": kernel.confidence,
        "unknown": [_unknown(op) for op in kernel.unknown],
    }


def _unknown(op: UnknownOp) -> dict[str, str]:
    return {"node": op.name, "operator": op.operator, "reason": op.reason}


def _number(value: float | None) -> float | None:
    """The value, or ``null`` where there is none that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None

"""The report as JSON, in the schema of docs/report.schema.json.

Every number is in SI units, which its key names where the quantity does not (``dispatch_seconds``, ``macs``). What is
not known is ``null``, never zero; NaN and infinities do not occur.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Sequence
from typing import Any

from ...ir import Expression, Symbol, expression_text
from ...passes.coverage_report import MeasuredErrors
from ...passes.footprint import Footprint
from ...passes.report import BodyReport, EvidenceSource, KernelReport, Report, Total, UnknownOp
from ..terminal import HARMFUL
from .rows import labels
from .view import View

__all__ = ["SCHEMA", "dumped", "emit", "measured_record", "number", "record"]

SCHEMA = "graphs.report/1"

_RESERVED = frozenset({"max", "min", "bit_length", *keyword.kwlist})


def emit(reports: Sequence[Report], view: View) -> str:
    """Return one object for one report, an array for several."""
    records = [record(report, view.coverage) for report in reports]
    content = records[0] if len(records) == 1 else records
    return dumped(content)


def dumped(content: object) -> str:
    """Return JSON in which no string has a character that a terminal would obey or no encoding has."""
    return HARMFUL.sub(_escaped, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class _Counts:
    """Numbers as they are, expressions as text over names that are identifiers in any language."""

    def __init__(self, report: Report) -> None:
        self.identifiers: dict[str, str] = {}
        for dim in report.open_dimensions:
            plain = re.sub(r"\W", "_", dim.name, flags=re.ASCII)
            name = plain if re.match(r"[A-Za-z_]", plain) and plain not in _RESERVED else f"_{plain}"
            while name in self.identifiers.values():
                name += "_"
            self.identifiers[dim.name] = name
        self._symbols = {name: Symbol(identifier) for name, identifier in self.identifiers.items()}

    def __call__(self, count: int | Expression | None) -> int | str | None:
        if not isinstance(count, Expression):
            return count
        return expression_text(count.substitute(self._symbols)) if count.known else "?"

    def dimensions(self, report: Report) -> list[dict[str, Any]]:
        return [
            {
                "symbol": self.identifiers[dim.name], "name": dim.name, "least": dim.lower, "most": self(dim.upper),
                "depends_on_data": dim.depends_on_data,
            }
            for dim in report.open_dimensions
        ]  # fmt: skip


def record(report: Report, coverage: bool = False) -> dict[str, Any]:
    """Return a report as plain dictionaries and lists; ``coverage`` adds what puts its accuracy at risk."""
    from ... import __version__

    named = zip(labels(report.kernels), report.kernels, strict=True)
    counts = _Counts(report)
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
        "open_dimensions": counts.dimensions(report),
        "total": _total(report.total, counts),
        "coverage": [
            {"evidence": row.evidence, "ops": row.ops, "flops": counts(row.flops), "seconds": number(row.seconds)}
            for row in report.coverage
        ],
        "evidence": _evidence(report.evidence) if report.evidence else None,
        "accuracy": _accuracy(report) if coverage else None,
        "kernels": [_kernel(label, kernel, counts) for label, kernel in named],
        "bodies": [_body(body, counts) for body in report.bodies],
        "diagnostics": [
            {"source": item.source, "message": item.message, "node": item.op} for item in report.diagnostics
        ],
    }


def _total(total: Total, counts: _Counts) -> dict[str, Any]:
    return {
        "exact": total.exact,
        "macs": counts(total.macs),
        "macs_by_precision": {name: counts(macs) for name, macs in total.macs_by_precision.items()},
        "flops": counts(total.flops),
        "bytes": counts(total.bytes),
        "weight_bytes": counts(total.weight_bytes),
        "weight_bytes_read": counts(total.weight_bytes_read),
        "kv_cache_bytes": counts(total.kv_cache_bytes),
        "kv_cache_bytes_moved": counts(total.kv_cache_bytes_moved),
        "peak_activation_bytes": counts(total.peak_activation_bytes),
        "peak_at": total.peak_at,
        "arena_bytes": counts(total.arena_bytes),
        "footprint": _footprint(total.footprint) if total.footprint else None,
        "seconds": number(total.seconds),
        "seconds_low": number(total.seconds_low),
        "seconds_high": number(total.seconds_high),
        "seconds_std": number(total.seconds_std),
        "serial_seconds": number(total.serial_seconds),
        "critical_path_seconds": number(total.critical_path_seconds),
        "inferences_per_second": number(total.throughput),
        "joules": number(total.joules),
        "joules_by_use": {name: number(joules) for name, joules in total.energy.items()},
        "joules_missing": list(total.energy_missing),
        "confidence": total.confidence,
        "unknown": [_unknown(op) for op in total.unknown],
    }


def _footprint(made: Footprint) -> dict[str, Any]:
    return {
        "sram_bytes": made.sram_bytes,
        "arena_bytes": made.arena_bytes,
        "upkeep_bytes": made.upkeep_bytes,
        "sram_size": made.sram_size,
        "flash_bytes": made.flash_bytes,
        "model_bytes": made.model_bytes,
        "code_bytes": made.code_bytes,
        "flash_size": made.flash_size,
    }


def _kernel(label: str, kernel: KernelReport, counts: _Counts) -> dict[str, Any]:
    return {
        "index": kernel.index,
        "label": label,
        "name": kernel.name,
        "pattern": kernel.pattern,
        "kind": kernel.kind,
        "module": kernel.module,
        "nodes": list(kernel.origins),
        "results": list(kernel.results),
        "output_shape": None if kernel.output is None else [counts(dim) for dim in kernel.output],
        "output_dtype": kernel.dtype,
        "macs": counts(kernel.macs),
        "flops": counts(kernel.flops),
        "bytes": counts(kernel.bytes),
        "weight_bytes": counts(kernel.weight_bytes),
        "kv_cache_bytes": counts(kernel.kv_cache_bytes),
        "flops_per_byte": number(kernel.intensity),
        "seconds": number(kernel.seconds),
        "seconds_low": number(kernel.seconds_low),
        "seconds_high": number(kernel.seconds_high),
        "seconds_std": number(kernel.seconds_std),
        "compute_seconds": number(kernel.compute_seconds),
        "memory_seconds": number(kernel.memory_seconds),
        "dispatch_seconds": number(kernel.dispatch_seconds),
        "share": number(kernel.share),
        "bound": kernel.bound,
        "arithmetic_precision": kernel.arithmetic_precision,
        "unit": kernel.unit,
        "memory": kernel.memory,
        "joules": number(kernel.joules),
        "efficiency": number(kernel.efficiency),
        "efficiency_std": number(kernel.efficiency_std),
        "confidence": kernel.confidence,
        "evidence": kernel.evidence,
        "entry": kernel.entry,
        "neighbours": kernel.neighbours,
        "launches": counts(kernel.launches),
        "unknown": [_unknown(op) for op in kernel.unknown],
    }


def _body(body: BodyReport, counts: _Counts) -> dict[str, Any]:
    named = zip(labels(body.kernels), body.kernels, strict=True)
    return {
        "kernel": body.of,
        "node": body.label,
        "operator": body.operator,
        "depth": body.depth,
        "name": body.name,
        "times": body.times,
        "at_most": body.at_most,
        "counted": body.counted,
        "why": body.why,
        "macs": counts(body.macs),
        "bytes": counts(body.bytes),
        "seconds": number(body.seconds),
        "kernels": [_kernel(label, kernel, counts) for label, kernel in named],
    }


def _evidence(source: EvidenceSource) -> dict[str, Any]:
    return {
        "layer": source.layer,
        "file": source.file or None,
        "setting": source.setting or None,
        "date": source.date or None,
        "fallbacks": list(source.fallbacks),
    }


def _accuracy(report: Report) -> dict[str, Any]:
    from ...passes.coverage_reporting import coverage_report

    made = coverage_report(report)
    risks = [
        {
            "level": risk.level.name, "operation_type": risk.operation_type, "kernels": risk.kernels,
            "share": number(risk.share), "half_width": number(risk.half_width), "reason": risk.reason,
        }
        for risk in made.risks
    ]  # fmt: skip
    gaps = [
        {
            "operation_type": gap.operation_type, "kernels": gap.kernels, "bytes": gap.bytes,
            "half_width": number(gap.half_width), "half_width_without": number(gap.half_width_without),
            "suggested_calibration": gap.command,
        }
        for gap in made.gaps
    ]  # fmt: skip
    measured = measured_record(made.measured) if made.measured else None
    return {"risks": risks, "gaps": gaps, "measured": measured}


def measured_record(errors: MeasuredErrors) -> dict[str, Any]:
    """Return the comparison with measurements as plain dictionaries and lists."""
    operators = [
        {
            "name": row.name, "pattern": row.pattern, "kernels": row.kernels,
            "predicted_seconds": number(row.predicted), "measured_seconds": number(row.measured),
            "error": number(row.error), "share_of_error": number(row.share),
        }
        for row in errors.kernels
    ]  # fmt: skip
    patterns = [
        {
            "pattern": row.pattern, "kernels": row.kernels, "predicted_seconds": number(row.predicted),
            "measured_seconds": number(row.measured), "mean_error": number(row.mean_error),
            "share_of_error": number(row.share),
        }
        for row in errors.patterns
    ]  # fmt: skip
    return {
        "file": errors.file,
        "predicted_seconds": number(errors.predicted),
        "measured_seconds": number(errors.measured),
        "unmatched_kernels": errors.unmatched,
        "operators": operators,
        "patterns": patterns,
    }


def _unknown(op: UnknownOp) -> dict[str, str]:
    return {"node": op.name, "operator": op.operator, "reason": op.reason}


def number(value: float | None) -> float | None:
    """The value, or ``null`` where there is none that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None

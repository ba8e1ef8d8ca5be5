"""Predictions beside measurements: which operators err, and which fusion patterns."""

from __future__ import annotations

from ...passes.coverage_report import MeasuredErrors
from ..units import duration, percent
from .layout import Column, fitted, rendered
from .totals import labelled
from .view import View

__all__ = ["measured_errors"]

_LEAST_SHARE = 0.01
"""Operators with a smaller share of all error are left out."""


def measured_errors(errors: MeasuredErrors, view: View) -> str:
    """Return the sum of it, the operators that err most, and the patterns."""
    whole = f"predicted {duration(errors.predicted)}, measured {duration(errors.measured)}"
    parts = [f"{errors.file}: {whole} ({_signed(errors.predicted / errors.measured - 1)})"]
    if errors.unmatched:
        parts.append(f"no measurement of {errors.unmatched} kernels")
    tables = [rendered(fitted(table, view.width), view.color) for table in (_kernels(errors, view), _patterns(errors))]
    return "\n".join([labelled("measured", parts, view), *tables])


def _kernels(errors: MeasuredErrors, view: View) -> list[Column]:
    rows = [row for row in errors.kernels if row.share >= _LEAST_SHARE][: view.top]
    return [
        Column("operator", tuple(row.name for row in rows), 0, right=False, least=24),
        Column("pattern", tuple(row.pattern for row in rows), 4, right=False, least=16),
        Column("predicted", tuple(duration(row.predicted) for row in rows), 2),
        Column("measured", tuple(duration(row.measured) for row in rows), 2),
        Column("error", tuple(_signed(row.error) for row in rows), 0),
        Column("of all error", tuple(percent(row.share) for row in rows), 1),
    ]


def _patterns(errors: MeasuredErrors) -> list[Column]:
    rows = errors.patterns
    return [
        Column("pattern", tuple(row.pattern for row in rows), 0, right=False, least=24),
        Column("×", tuple(str(row.kernels) for row in rows), 1),
        Column("sum errs by", tuple(_signed(row.predicted / row.measured - 1) for row in rows), 0),
        Column("each by", tuple(f"{100 * row.mean_error:.0f} %" for row in rows), 0),
        Column("of all error", tuple(percent(row.share) for row in rows), 1),
    ]


def _signed(error: float) -> str:
    """``+4.2 %`` is too slow a prediction, ``−4.2 %`` too quick a one."""
    return f"{100 * error:+.1f} %".replace("-", "−")

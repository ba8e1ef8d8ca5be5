"""The error of everything that concerns calibration: evidence that cannot be used, machines that cannot be measured."""

from __future__ import annotations

from ..ir.errors import GraphsError

__all__ = ["CalibrationError"]


class CalibrationError(GraphsError):
    """Evidence cannot be read, written, fitted or used; the message says which and where."""

"""What comes out: one module for each format, each with ``emit(reports, view) -> str | bytes``.

A format is one line of :data:`FORMATS`; its module is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from ...passes.report import Report
    from .view import View

__all__ = ["FORMATS", "companions", "emit"]

FORMATS: dict[str, tuple[str, ...]] = {
    "table": (".txt",),
    "json": (".json",),
    "csv": (".csv",),
    "text": (".mlir", ".ir"),
    "dot": (".dot", ".gv"),
    "onnx": (".onnx",),
    "coverage": (".coverage.txt",),
    "coverage-json": (".coverage.json",),
    "coverage-csv": (".coverage.csv",),
}
"""Each format with the suffixes that ask for it; of several that fit, the longest does."""

_FOR_PEOPLE = frozenset({"table", "coverage"})


def emit(name: str, reports: Sequence[Report], view: View) -> str | bytes:
    """Return reports in a format.

    Raises:
        GraphsError: the format cannot show them (several models in one ONNX file, say).
    """
    emitted: str | bytes = _module(name).emit(reports, view)
    return harmless(emitted, view.color) if isinstance(emitted, str) and name in _FOR_PEOPLE else emitted


def companions(name: str, reports: Sequence[Report], view: View) -> dict[Path, str]:
    """Return the files that go with a format's own: the sidecar of an annotated model."""
    beside = getattr(_module(name), "companions", None)
    found: dict[Path, str] = beside(reports, view) if beside else {}
    return found


def _module(name: str) -> ModuleType:
    return import_module(f".{name.replace('-', '_')}", __name__)

"""What comes out: one module for each format, each with ``emit(reports, view) -> str | bytes``.

A format is one line of :data:`FORMATS`: its module is imported when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...passes.report import Report

__all__ = ["FORMATS", "View", "emit", "format_of"]

FORMATS: dict[str, tuple[str, ...]] = {
    "table": (".txt",),
    "json": (".json",),
    "csv": (".csv",),
    "text": (".mlir", ".ir"),
    "dot": (".dot", ".gv"),
    "onnx": (".onnx",),
}
"""Each format with the suffixes that ask for it."""


@dataclass(frozen=True, slots=True)
class View:
    """How a report is to be shown. Formats made for programs ignore what does not concern them.

    ``path`` is the file that the output goes to, ``None`` for standard output.
    """

    width: int = 120
    color: bool = False
    order: str = "time"
    by: str = "kernel"
    top: int | None = None
    wide: bool = False
    quiet: bool = False
    path: Path | None = None


def format_of(path: Path) -> str | None:
    """Return the format that a file's suffix asks for, ``None`` if none does."""
    return next((name for name, suffixes in FORMATS.items() if path.suffix.lower() in suffixes), None)


def emit(name: str, reports: Sequence[Report], view: View) -> str | bytes:
    """Return reports in a format.

    Raises:
        GraphsError: the format cannot show them (several models in one ONNX file, say).
    """
    emitted: str | bytes = import_module(f".{name}", __name__).emit(reports, view)
    return emitted

"""The IR itself, with every fact that the passes attached: what the tool reads back."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir import print_graph
from ...passes.report import Report
from .view import View

__all__ = ["emit"]


def emit(reports: Sequence[Report], view: View) -> str:
    """Return the graphs one after another, cut so that ``--split-input-file`` reads them."""
    return "// -----\n".join(print_graph(report.graph) for report in reports)

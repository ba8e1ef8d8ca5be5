"""On what evidence a prediction stands: which share of operators, FLOPs and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import Graph
from .base import Context, Pass
from .bodies import launches
from .cost import Cost
from .fuse import kernel_ops
from .lower import Work
from .report import CoverageRow, evidence_word

__all__ = ["Coverage", "coverage_rows"]

UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Coverage(Pass):
    """Report which share of operators, FLOPs and predicted time stands on which evidence, and what is unknown."""

    name = "coverage"
    requires = ("cost",)
    provides = ("coverage",)

    def run(self, graph: Graph, context: Context) -> None:
        """Count the rows into the statistics, and warn of every operator whose work is unknown."""
        for row in coverage_rows(graph):
            context.count(f"coverage: {row.evidence} operators", row.ops)


def coverage_rows(graph: Graph) -> Sequence[CoverageRow]:
    """One row for each quality of evidence among the kernels' costs, and one for operators whose work is unknown.

    Kernels of bodies count for themselves, as often as they are launched.
    """
    rows: dict[str, CoverageRow] = {}
    for launch in launches(graph):
        work, cost = launch.op.facts.get(Work), launch.op.facts.get(Cost)
        if work is None or cost is None:
            continue
        work, cost = work.beside, cost.beside or cost
        evidence = UNKNOWN if cost.bound == "unknown" else evidence_word(cost.quality, cost.confidence)
        old = rows.get(evidence, CoverageRow(evidence, 0, 0, 0.0))
        rows[evidence] = CoverageRow(
            evidence,
            old.ops + len(kernel_ops(launch.op)),
            old.flops + launch.times * work.flops,
            old.seconds + launch.times * cost.seconds,
        )
    return tuple(rows.values())

"""Every network runs through the whole pipeline, and nothing in it is unknown."""

from __future__ import annotations

from pathlib import Path

import graphs

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM"]

PIPELINE = "fuse,lower,cost,coverage"


def _check(path: Path) -> Row:
    report = graphs.run(PIPELINE, graphs.load(path), target="host:onnxruntime-cpu")
    faults = [f"{op.operator} {op.name!r}: {op.reason}" for op in report.total.unknown]
    faults += [f"kernel {kernel.name!r} has no time" for kernel in report.kernels if not kernel.seconds]
    faults += [f"coverage: {row.ops} operators of unknown work" for row in report.coverage if row.evidence == "UNKNOWN"]
    faults += _untyped(report.graph)
    return Row(label(path), (report.source_ops, len(report.kernels), len(report.total.unknown)), tuple(faults))


def _untyped(graph: graphs.Graph) -> list[str]:
    """Tensors whose type is not fully known: their work could only be guessed."""
    return [
        f"{value!r} is not fully known"
        for op in graph.walk()
        for value in op.results
        if isinstance(value.type, graphs.TensorType) and not value.type.static
    ]


CLAIM = Claim(
    "unknown",
    f"every network runs through {PIPELINE} with no unknown operator",
    ("operators", "kernels", "unknown"),
    _check,
)

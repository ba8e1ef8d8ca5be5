"""Runs the model in another precision than its file is written in."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import DType, Graph, TensorType
from .base import Context, Pass

__all__ = ["Precision"]

_REAL = frozenset({DType.F64, DType.F32, DType.F16, DType.BF16})


@dataclass(frozen=True)
class Precision(Pass):
    """Give every floating-point value the element type that ``--precision`` names; without it, change nothing."""

    name = "precision"
    requires = ("types",)
    provides = ("precision",)
    invalidates = ("work", "memory", "cost")

    def run(self, graph: Graph, context: Context) -> None:
        """Retype activations and weights; integer and quantised values stay as they are."""
        if context.precision is None:
            return
        for op in graph.walk():
            for value in op.results:
                if isinstance(value.type, TensorType) and value.type.dtype in _REAL:
                    value.type = TensorType(context.precision, value.type.shape)
                    context.count("precision: values retyped")
        graph.revision += 1

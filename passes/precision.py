"""Runs the model in another precision than its file is written in."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import DType, Graph, TensorType, typical
from .base import Context, Pass, PassError

__all__ = ["Precision", "precision_of"]

_REAL = frozenset({DType.F64, DType.F32, DType.F16, DType.BF16})


@dataclass(frozen=True)
class Precision(Pass):
    """Give every floating-point value the element type that ``--precision`` names; without it, change nothing."""

    name = "precision"
    requires = ("types",)
    provides = ("precision",)
    invalidates = ("work", "memory", "calibrated", "cost")
    needs_numbers = False

    def run(self, graph: Graph, context: Context) -> None:
        """Retype activations and weights; integer and quantised values stay as they are.

        Raises:
            PassError: the target's runtime does not take tensors of that precision.
        """
        if context.precision is None:
            return
        runtime = context.target.runtime
        if context.precision.precision not in runtime.precisions:
            raise PassError(
                f"precision: {runtime.name} does not run in {context.precision.precision}",
                help=f"it takes {', '.join(runtime.precisions)}",
            )
        for op in graph.walk():
            for value in op.results:
                if isinstance(value.type, TensorType) and value.type.dtype in _REAL:
                    value.type = TensorType(context.precision, value.type.shape)
                    context.count("precision: values retyped")
        graph.revision += 1


def precision_of(graph: Graph) -> DType | None:
    """The element type of most activations' bytes; ``None`` for a graph without sized values."""
    sizes: dict[DType, float] = {}
    for op in graph.body:
        for value in op.results:
            dtype = getattr(value.type, "dtype", None)
            if isinstance(dtype, DType) and (size := typical(value.bytes or 0)) > 0:
                sizes[dtype] = sizes.get(dtype, 0) + size
    return max(sizes, key=sizes.__getitem__, default=None)

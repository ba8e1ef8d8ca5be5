"""Which kernels ``fuse`` predicts, and how like they are to those of onnxruntime's own optimised graph.

Kernels match on their kind and the shape of their first output. Four conventions make the two lists comparable:

- views are left out on both sides: they launch a kernel that moves nothing, and which of two equal shapes a chain of
  reshapes passes through says nothing about cost;
- onnxruntime's softmax is a kind of its own in the oracle; here it is a normalisation;
- a transpose that follows a convolution in the blocked layout vanishes into the reorder that takes the blocked result
  apart. The fused kernel's result is the transposed one; the convolution that runs is listed with its own;
- slices and gathers that take a value apart become one split on both sides. Gathers drop the axis that they index, so
  the runtime puts a Squeeze (a view) behind the split, and the oracle gives the shape behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from execution import Executed
from kernels import Kernel, executed_kernels, f1

import graphs
from graphs.ir import Graph, Kind, Op, Value, kind_of
from graphs.passes.fuse import kernel_ops, main_op

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "Key", "agreement", "is_view", "key_of_executed", "predicted_kernels", "predicted_key"]

LEAST_ON_AVERAGE = 0.95
LEAST_ON_EACH = 0.85

Key = tuple[str, tuple[int, ...] | None]


def predicted_kernels(path: Path) -> list[Key]:
    """Kind and first output's shape of every kernel that ``fuse`` forms for onnxruntime on this machine."""
    graph = graphs.run("fuse", graphs.load(path), target="host:onnxruntime-cpu").graph
    return [predicted_key(graph, op) for op in graph.body if not is_view(op)]


def predicted_key(graph: Graph, op: Op) -> Key:
    """Kind and first output's shape of one kernel."""
    return _kind(op), _shape(graph, op)


def is_view(op: Op) -> bool:
    """Whether a kernel moves nothing."""
    return all(kind_of(member) is Kind.VIEW for member in kernel_ops(op))


def _kind(op: Op) -> str:
    kind = op.attributes.get("kind")
    return kind if isinstance(kind, str) else kind_of(main_op(op)).value


def _shape(graph: Graph, op: Op) -> tuple[int, ...] | None:
    type = _first_output(graph, op).type
    return tuple(type.dims) if isinstance(type, graphs.TensorType) else None


def _first_output(graph: Graph, op: Op) -> Value:
    last = kernel_ops(op)[-1]
    if last.name == "onnx.Transpose" and _kind(op) == Kind.CONTRACTION.value:
        return next(last.inputs)
    users = [user for user, _ in graph.uses(op.results[0])]
    if op.name == "onnx.Split" and [user.name for user in users] == ["onnx.Squeeze"]:
        return users[0].results[0]
    return op.results[0]


def key_of_executed(kernel: Kernel) -> Key:
    """The same of a kernel that ran."""
    return ("normalization" if kernel.kind == "softmax" else kernel.kind), kernel.shape


def agreement(path: Path, shapes: dict[str, Executed] | None = None) -> tuple[float, int, int]:
    """F1 of the predicted kernels, and how many were predicted and run."""
    predicted = predicted_kernels(path)
    executed = [key_of_executed(kernel) for kernel in executed_kernels(path, shapes) if not kernel.is_view]
    return f1(predicted, executed), len(predicted), len(executed)


def _check(path: Path) -> Row:
    score, predicted, executed = agreement(path)
    faults = (f"F1 {score:.3f} is below {LEAST_ON_EACH}",) if score < LEAST_ON_EACH else ()
    return Row(label(path), (predicted, executed, round(score, 3)), faults)


def _overall(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    scores = [float(row.figures[2]) for row in rows]
    average, least = mean(scores), min(rows, key=lambda row: row.figures[2])
    faults = (f"mean F1 {average:.3f} is below {LEAST_ON_AVERAGE}",) if average < LEAST_ON_AVERAGE else ()
    return f"mean F1 {average:.3f}, least {least.figures[2]:.3f} ({least.model})", faults


CLAIM = Claim(
    "kernels",
    f"F1 of the predicted kernels against the optimised graph: ≥ {LEAST_ON_AVERAGE} on average, ≥ {LEAST_ON_EACH} each",
    ("predicted", "run", "F1"),
    _check,
    _overall,
)

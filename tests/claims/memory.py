"""Peak activation memory equals a brute-force account of which values are live, over executed order and shapes.

What is the same on both sides:

- nothing is shared: no views, no writing in place, no alignment; the ``memory`` pass does these on top;
- a value lives from the operation that makes it to its last reader, graph inputs from the start, graph outputs to the
  end; a value that nobody reads lives while it is made;
- initialisers, shapes, and what follows from these alone are no activations and their operations no steps: a runtime
  computes them when it loads the model.

Two orders are checked: the file's, and the one in which onnxruntime runs the unoptimised graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from execution import Executed, executed_order, executed_shapes
from liveness import order_of_steps, peak_activation_memory

import graphs
from graphs.frontends.onnx import load_onnx
from graphs.passes.memory import plan_memory
from graphs.passes.simplify import fold_constants

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "brute_force_peak", "in_order", "planned_peak"]


def in_order(model: onnx.ModelProto, steps: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """The model with its nodes stored in the order of ``steps``; the rest comes as soon as its inputs are made."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    made = {name: step for step, node in enumerate(steps) for name in node.output if name}
    places = [(step, 0, node) for step, node in enumerate(steps)]
    for index, node in enumerate(model.graph.node):
        if made.keys().isdisjoint(node.output):
            after = max((made.get(name, -1) for name in node.input), default=-1)
            places.append((after, index + 1, node))
            made.update((name, after) for name in node.output)
    del copy.graph.node[:]
    copy.graph.node.extend(node for *_, node in sorted(places, key=lambda place: place[:2]))
    return copy


def planned_peak(model: onnx.ModelProto) -> int:
    """The ``memory`` pass's peak of the unfused network, nothing shared, in the order that the nodes are stored in."""
    graph = graphs.run("shape", load_onnx(model), in_place=True).graph
    fold_constants(graph)
    return plan_memory(graph, views=False, in_place=False, alignment=1).peak_bytes


def brute_force_peak(
    model: onnx.ModelProto, types: Mapping[str, Executed], executed: Sequence[str] | None = None
) -> tuple[int, onnx.ModelProto]:
    """The oracle's peak over the order of a run, by default the file's, and the model with its nodes in that order."""
    steps = order_of_steps(model.graph, executed)
    return peak_activation_memory(model.graph, types, steps).nbytes, in_order(model, steps)


def _check(path: Path) -> Row:
    model, types = onnx.load(path, load_external_data=False), executed_shapes(path)
    figures, faults = [], []
    for order, executed in (("the file's order", None), ("the executed order", executed_order(path))):
        expected, ordered = brute_force_peak(model, types, executed)
        planned = planned_peak(ordered)
        figures.append(planned)
        if planned != expected:
            faults.append(f"{planned} bytes in {order}, by brute force {expected}")
    return Row(label(path), tuple(figures), tuple(faults))


CLAIM = Claim(
    "memory",
    "peak activation memory equals a brute-force account over executed shapes, in file order and in executed order",
    ("bytes in file order", "in executed order"),
    _check,
)

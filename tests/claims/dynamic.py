"""Every value of a network whose inputs are open has, once they are bound, the type that onnxruntime's run shows.

A dimension may stay open only where its extent follows from data: the value descends from an operator whose result's
extents do. Every other open dimension is a fault, as is every type that differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from execution import Executed, executed_shapes

import graphs
from graphs.ir import Type

from .shapes import inferred_types, type_faults

__all__ = ["DATA_DEPENDENT", "Comparison", "compare", "depending_on_data", "open_inputs", "when_bound"]

DATA_DEPENDENT = frozenset({"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
"""Operators whose results' extents follow from the values of their operands, or may."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many values there are, how many of them agree or are rightly open, and what is wrong with the others."""

    values: int
    equal: int
    open: int
    faults: tuple[str, ...]


def depending_on_data(path: Path) -> set[str]:
    """Names of the values that descend from an operator of :data:`DATA_DEPENDENT`."""
    found: set[str] = set()
    for node in onnx.load(path, load_external_data=False).graph.node:
        if node.op_type in DATA_DEPENDENT or found.intersection(node.input):
            found.update(node.output)
    return found


def _agrees_where_known(type: Type | None, value: Executed) -> bool:
    """Whether a type says nothing that the run contradicts."""
    if not isinstance(type, graphs.TensorType) or value.elements is not None:
        return False
    known = type.shape if type.shape is not None else value.shape
    if len(known) != len(value.shape):
        return False
    bound = graphs.TensorType(
        type.dtype, tuple(a if isinstance(a, int) else b for a, b in zip(known, value.shape, strict=True))
    )
    return not type_faults({"": bound}, {"": value})


def compare(
    inferred: Mapping[str, Type], executed: Mapping[str, Executed], depending_on_data: Collection[str] = ()
) -> Comparison:
    """Compare two accounts of the same values."""
    faults, still_open = [], 0
    for name, value in executed.items():
        found = type_faults(inferred, {name: value})
        if found and name in depending_on_data and _agrees_where_known(inferred.get(name), value):
            still_open += 1
            continue
        faults.extend(found)
    wrong = len({fault.split(" is ")[0] for fault in faults})
    return Comparison(len(executed), len(executed) - still_open - wrong, still_open, tuple(faults))


def when_bound(path: Path, dims: Mapping[str, int]) -> Comparison:
    """Bind a network's open dimensions, run it, and compare the type of every value."""
    executed = executed_shapes(path, dims=dims)
    return compare(inferred_types(path, dims), executed, depending_on_data(path))


def open_inputs(path: Path, opened: Path, names: Collection[str]) -> Path | None:
    """Write the network with those dimensions of its inputs open that go by these names; ``None`` if it has none.

    Every first axis is ``batch``; images have ``height`` and ``width``, rows of tokens a ``seq``. What the file says of
    other values' types is left out, since it holds only for the extents that it was made with.
    """
    model = onnx.load(path, load_external_data=False)
    provided = {tensor.name for tensor in model.graph.initializer}
    found = False
    for value in model.graph.input:
        type = value.type.tensor_type
        if value.name in provided:
            continue
        for dim, name in zip(type.shape.dim, _AXES.get(len(type.shape.dim), _AXES[1]), strict=False):
            if name in names and (name != "seq" or type.elem_type == onnx.TensorProto.INT64):
                dim.dim_param, found = name, True
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    if not found:
        return None
    onnx.save(model, opened)
    return opened


_AXES = {1: ("batch",), 2: ("batch", "seq"), 4: ("batch", "", "height", "width")}

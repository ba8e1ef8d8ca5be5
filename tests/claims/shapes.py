"""Every value's type is the one that onnxruntime produces when it runs the network.

The network runs unoptimised, so that all of its values exist. What ``shape`` folds away is compared as well: the type a
value had when its operation was erased.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from execution import Executed, executed_shapes

import graphs
from graphs.ir import Op, SequenceType, Type
from graphs.ir.onnx_types import dtype_of

from .claim import Claim, Row
from .models import label

__all__ = ["CLAIM", "inferred_types", "type_faults"]


def _as_executed(type: Type) -> str:
    """A type in the words that an executed value's is told in."""
    if isinstance(type, graphs.TensorType):
        return f"{type.dtype.name} {list(type.shape) if type.shape is not None else 'of unknown rank'}"
    return str(type)


def _executed(value: Executed) -> str:
    import numpy as np
    import onnx

    if value.dtype == "object":
        return f"{graphs.DType.STRING.name} {list(value.shape)}"
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return f"{dtype_of(number).name} {list(value.shape)}"


@contextmanager
def _recorded(graph: graphs.Graph, types: dict[str, Type]) -> Iterator[None]:
    """Keep the types of the values that are erased meanwhile."""
    erase = graph.erase

    def recording(op: Op) -> None:
        types.update((value.name, value.type) for value in op.results)
        erase(op)

    graph.erase = recording  # type: ignore[method-assign]  # of this one graph
    try:
        yield
    finally:
        del graph.erase


def inferred_types(path: Path, dims: Mapping[str, int] | None = None) -> dict[str, Type]:
    """The type of every value by name, those folded away included, with the inputs' open dimensions bound."""
    graph, types = graphs.load(path), dict[str, Type]()
    with _recorded(graph, types):
        graphs.run("shape", graph, dims=dims, in_place=True)
    types.update((value.name, value.type) for value in graph.values())
    return types


def type_faults(inferred: Mapping[str, Type], executed: Mapping[str, Executed]) -> list[str]:
    """How two accounts of the same values differ; a sequence is told by its elements' type where they share one."""
    faults = []
    for name, value in executed.items():
        type = inferred.get(name)
        if type is None:
            faults.append(f"{name!r} is in no graph")
        elif isinstance(type, SequenceType) or value.elements is not None:
            element = type.element if isinstance(type, SequenceType) else type
            apart = {_executed(item) for item in value.elements or ()} - {_as_executed(element)}
            faults += [f"{name!r} is a sequence of {_as_executed(element)}, runs as one of {found}" for found in apart]
        elif _as_executed(type) != _executed(value):
            faults.append(f"{name!r} is {_as_executed(type)}, runs as {_executed(value)}")
    return faults


def _check(path: Path) -> Row:
    executed = executed_shapes(path)
    faults = type_faults(inferred_types(path), executed)
    return Row(label(path), (len(executed), len(faults)), tuple(faults))


CLAIM = Claim(
    "shapes",
    "every value's element type and shape are those onnxruntime produces when it runs",
    ("values", "differ"),
    _check,
)

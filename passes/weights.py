"""Which constants are weights: what a network learned, not the shapes, axes and bounds that say what is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..ir import CONSTANT, INPUT, Attribute, DType, Graph, Kind, Op, Value, kind_of
from .bodies import nested_bodies

__all__ = ["folded_attributes", "is_weight", "weight_bytes"]

_NO_WEIGHT = "computed"
"""Marks a constant that was folded from shapes and the like alone: a mask, positions."""

_SAME_AS = "elements_of"
"""Names the weight whose elements a folded constant has in another layout."""

_SHAPE_TYPES = frozenset({DType.I64, DType.I32, DType.BOOL})
"""What shapes, axes, indices and conditions are made of. Narrower integers are quantised weights and zero points."""

_READ_BIASES = frozenset({Kind.CONTRACTION, Kind.QUANTIZATION})
"""Kinds of operations that read no shapes: their 32-bit constants are quantised biases."""


def is_weight(value: Value, readers: Iterable[Op] = ()) -> bool:
    """Whether a constant is a weight: any but small ones of a type that shapes have, and what follows from those.

    ``readers`` are operations that read it: what products and conversions read of 32-bit integers are biases.
    """
    if not value.is_constant or _NO_WEIGHT in value.op.attributes:
        return False
    if value.constant is None or value.constant.type.dtype not in _SHAPE_TYPES:
        return True
    if value.constant.type.dtype is not DType.I32:
        return False
    members = (member for op in readers for member in (op, *(inner for region in op.regions for inner in region.body)))
    return any(kind_of(member) in _READ_BIASES for member in members)


def weight_bytes(graph: Graph) -> int:
    """Bytes of all weights that something reads, in bodies of control operations too: for ``graph.cached``.

    A weight that several operations read counts once, also where one of them reads it transposed.
    """
    found = dict(_weights(graph))
    outside = {value.name: value.constant for value in graph.values() if value.constant is not None}
    for number, body in enumerate(nested_bodies(graph)):
        captured = {entry.result.name for entry in body.region.inputs}
        copies = {
            value.name for value in body.region.values() if value.constant and value.constant == outside.get(value.name)
        }
        for name, size in _weights(body.region):
            if name not in captured and name not in copies:
                found[number, name] = size
    return sum(found.values())


def _weights(graph: Graph) -> Iterator[tuple[object, int]]:
    """The name and size of each weight that something reads, those that a body captures among them."""
    for op in graph.ops:
        if op.name in (CONSTANT, INPUT) and graph.nx.succ[op]:
            for value in op.results:
                if is_weight(value, graph.users(op)):
                    yield op.attributes.get(_SAME_AS, value.name), value.bytes or 0


def folded_attributes(op: Op) -> dict[str, Attribute]:
    """Return what to remember of an operation that is folded: whether its result is a weight, and of which elements."""
    weights = [value for value in op.inputs if is_weight(value)]
    if not weights:
        return {_NO_WEIGHT: True}
    if len(weights) == 1 and kind_of(op) in (Kind.LAYOUT, Kind.VIEW) and weights[0].bytes == op.results[0].bytes:
        (weight,) = weights
        return {_SAME_AS: weight.op.attributes.get(_SAME_AS, weight.name)}
    return {}

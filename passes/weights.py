"""Which constants are weights: what a network learned, not the shapes, axes and bounds that say what is computed."""

from __future__ import annotations

from ..ir import CONSTANT, Attribute, DType, Graph, Kind, Op, Value, kind_of

__all__ = ["folded_attributes", "is_weight", "weight_bytes"]

_NO_WEIGHT = "computed"
"""Marks a constant that was folded from shapes and the like alone: a mask, positions."""

_SAME_AS = "elements_of"
"""Names the weight whose elements a folded constant has in another layout."""

_SHAPE_TYPES = frozenset({DType.I64, DType.I32, DType.BOOL})
"""What shapes, axes, indices and conditions are made of. Narrower integers are quantised weights and zero points."""


def is_weight(value: Value) -> bool:
    """Whether a constant is a weight: any but small ones of a type that shapes have, and what follows from those."""
    if not value.is_constant or _NO_WEIGHT in value.op.attributes:
        return False
    return value.constant is None or value.constant.type.dtype not in _SHAPE_TYPES


def weight_bytes(graph: Graph) -> int:
    """Bytes of all weights that something reads: an analysis for ``graph.cached``.

    A weight that several operations read counts once, also where one of them reads it transposed.
    """
    found: dict[object, int] = {}
    for op in graph.ops:
        if op.name == CONSTANT and graph.nx.succ[op]:
            for value in op.results:
                if is_weight(value):
                    found[op.attributes.get(_SAME_AS, value.name)] = value.bytes or 0
    return sum(found.values())


def folded_attributes(op: Op) -> dict[str, Attribute]:
    """Return what to remember of an operation that is folded: whether its result is a weight, and of which elements."""
    weights = [value for value in op.inputs if is_weight(value)]
    if not weights:
        return {_NO_WEIGHT: True}
    if len(weights) == 1 and kind_of(op) in (Kind.LAYOUT, Kind.VIEW) and weights[0].bytes == op.results[0].bytes:
        (weight,) = weights
        return {_SAME_AS: weight.op.attributes.get(_SAME_AS, weight.name)}
    return {}

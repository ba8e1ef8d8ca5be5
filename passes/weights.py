"""Which constants are weights: what a network learned, not the shapes, axes and bounds that say what is computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..ir import CONSTANT, INPUT, Attribute, DType, Graph, Kind, Op, Value, kind_of
from .bodies import nested_bodies

__all__ = ["folded_attributes", "follows_from_shapes", "is_stored", "is_weight", "weight_bytes"]

_FOLDED_FROM = "folded_from"
"""Says of a constant that was computed which of the file's weights it was made of, with their bytes; maybe of none."""

_SHAPE_TYPES = frozenset({DType.I64, DType.I32, DType.BOOL})
"""What shapes, axes, indices and conditions are made of. Narrower integers are quantised weights and zero points."""

_READ_BIASES = frozenset({Kind.CONTRACTION, Kind.QUANTIZATION})
"""Kinds of operations that read no shapes: their 32-bit constants are quantised biases."""


def is_weight(value: Value, readers: Iterable[Op] = ()) -> bool:
    """Whether a constant is a weight, or made of some: masks and positions, which follow from shapes, are not.

    ``readers`` are operations that read it: what products and conversions read of 32-bit integers are biases.
    """
    return value.is_constant and bool(_origins(value, readers))


def is_stored(value: Value) -> bool:
    """Whether a constant holds as many bytes of the file's weights as it has itself: no scalar that was spread out."""
    return value.is_constant and value.bytes is not None and sum(_origins(value, ()).values()) >= value.bytes


def follows_from_shapes(value: Value) -> bool:
    """Whether a value is a constant that says what is computed: small, with its values kept, or folded from such."""
    return value.is_constant and (value.constant is not None or _FOLDED_FROM in value.op.attributes)


def weight_bytes(graph: Graph) -> int:
    """Bytes of the file's weights that something reads, in bodies of control operations too: for ``graph.cached``.

    A weight that several operations read counts once, whatever was made of it when constants were folded.
    """
    found: dict[object, int] = {name: size for _, name, size in _weights(graph)}
    outside = {value.name: value.constant for value in graph.values() if value.constant is not None}
    for number, body in enumerate(nested_bodies(graph)):
        captured = {entry.result.name for entry in body.region.inputs}
        copies = {
            value.name for value in body.region.values() if value.constant and value.constant == outside.get(value.name)
        }
        for value, name, size in _weights(body.region):
            if value.name not in captured and value.name not in copies:
                found[number, name] = size
    return sum(found.values())


def _weights(graph: Graph) -> Iterator[tuple[Value, str, int]]:
    """Each constant that something reads, captured ones among them, with the name and size of each weight in it."""
    for op in graph.ops:
        if op.name in (CONSTANT, INPUT) and graph.nx.succ[op]:
            for value in op.results:
                if value.is_constant:
                    yield from ((value, name, size) for name, size in _origins(value, graph.users(op)).items())


def folded_attributes(values: Iterable[Value]) -> dict[str, Attribute]:
    """Return what a constant is to remember that was made of ``values``: the weights in them."""
    return {_FOLDED_FROM: {name: size for value in values for name, size in _origins(value, ()).items()}}


def _origins(value: Value, readers: Iterable[Op]) -> dict[str, int]:
    """The file's weights that a value consists of, with their bytes; nothing of one that is no constant."""
    if not value.is_constant:
        return {}
    known = value.op.attributes.get(_FOLDED_FROM)
    if isinstance(known, Mapping):
        return {name: size for name, size in known.items() if isinstance(size, int)}
    shape_type = value.constant is not None and value.constant.type.dtype in _SHAPE_TYPES
    return {value.name: value.bytes or 0} if not shape_type or _is_bias(value, readers) else {}


def _is_bias(value: Value, readers: Iterable[Op]) -> bool:
    if value.constant is None or value.constant.type.dtype is not DType.I32:
        return False
    members = (member for op in readers for member in (op, *(inner for region in op.regions for inner in region.body)))
    return any(kind_of(member) in _READ_BIASES for member in members)

"""Merges gathers and slices that together take a value apart into one split.

Several ``Gather`` with one index each and ``Slice`` along one axis that cover the axis exactly read their operand once
if they run as one ``Split`` (and views that drop the axis, for gathers), whoever else reads it. Source of the
behaviour: onnxruntime ``core/optimizer/gather_fusion.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import CONSTANT, Dense, DType, Expression, Graph, Location, Op, TensorType, Value

__all__ = ["split_siblings"]


@dataclass(frozen=True, slots=True)
class _Part:
    """One reader and what it takes of its operand: positions ``start`` to ``end`` of ``axis``."""

    op: Op
    axis: int
    start: int
    end: int


def split_siblings(graph: Graph) -> int:
    """Replace every complete set of sibling gathers and slices by one split; return how many sets there were."""
    merged = 0
    for value in list(graph.values()):
        readers = graph.users(value.op) if value.op in graph and len(value.op.results) == 1 else []
        if (
            len(readers) < 2
            or not isinstance(value.type, TensorType)
            or not value.type.known
            or not value.type.elements
        ):
            continue
        parts = [part for op in readers if (part := _part(op, value))]
        for axis in dict.fromkeys(part.axis for part in parts):
            along = sorted((part for part in parts if part.axis == axis), key=lambda part: part.start)
            if len(along) > 1 and _covers(along, value.type.dims[axis]):
                _split(graph, value, along)
                merged += 1
                break
    return merged


def _part(op: Op, value: Value) -> _Part | None:
    if not op.operands or op.operands[0] is not value or not isinstance(value.type, TensorType):
        return None
    if op.name == "onnx.Gather":
        index, axis = _scalar(op.operand(1)), op.attributes.get("axis", 0)
        if index is None or not isinstance(axis, int) or not value.type.dims:
            return None
        axis %= len(value.type.dims)
        if isinstance(value.type.dims[axis], Expression):
            return None
        start = index % value.type.dims[axis]
        return _Part(op, axis, start, start + 1)
    if op.name == "onnx.Slice":
        return _slice(op, value.type)
    return None


def _slice(op: Op, type: TensorType) -> _Part | None:
    starts, ends, axes = (_scalar(op.operand(index)) for index in (1, 2, 3))
    step = _scalar(op.operand(4)) if op.operand(4) is not None else 1
    if starts is None or ends is None or axes is None or step != 1 or not type.dims:
        return None
    axis = axes % len(type.dims)
    extent = type.dims[axis]
    if isinstance(extent, Expression):
        return None
    clamp = [min(max(bound + extent if bound < 0 else bound, 0), extent) for bound in (starts, ends)]
    return _Part(op, axis, clamp[0], clamp[1])


def _scalar(value: Value | None) -> int | None:
    dense = value.constant if value is not None else None
    if dense is None or len(dense.values) != 1 or not isinstance(dense.values[0], int):
        return None
    return dense.values[0]


def _covers(parts: Sequence[_Part], extent: int) -> bool:
    """Whether the parts, in order, lie side by side along their axis, from its start to its end."""
    bounds = [0, *(part.end for part in parts)]
    return bounds[-1] == extent and all(part.start == bound for part, bound in zip(parts, bounds, strict=False))


def _split(graph: Graph, value: Value, parts: Sequence[_Part]) -> None:
    assert isinstance(value.type, TensorType)
    axis, dims = parts[0].axis, value.type.dims
    first = parts[0].op
    types = [TensorType(value.type.dtype, (*dims[:axis], p.end - p.start, *dims[axis + 1 :])) for p in parts]
    results = [(f"{part.op.results[0].name}.split", type) for part, type in zip(parts, types, strict=True)]
    loc = Location.union(part.op.loc for part in parts)
    split = graph.add("onnx.Split", [value], results, {"axis": axis}, loc=loc, before=first)
    for part, piece in zip(parts, split.results, strict=True):
        old = part.op.results[0]
        name = old.name
        if old.type != piece.type:
            axes = Dense.of(DType.I64, (1,), (axis,))
            constant = graph.add(CONSTANT, [], [(f"{name}.axes", axes.type)], {"value": axes}, loc=loc, before=first)
            view = graph.add("onnx.Squeeze", [piece, constant.result], [(name, old.type)], loc=loc, before=first)
            piece = view.result
        graph.replace(part.op, [piece])
        graph.rename(piece, name)

"""Moves transposes towards the outputs until they meet and cancel, as layout-aware runtimes do.

An elementwise operation whose operands are all transposed alike runs on the untransposed ones, and one transpose
follows it; the same for a split or a squeeze of a transposed value. Two transposes in a row become one, or none.
Source of the behaviour: onnxruntime ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import CONSTANT, Dense, DType, Graph, Kind, Op, TensorType, Type, Value, kind_of
from .weights import folded_attributes

__all__ = ["push_transposes"]

TRANSPOSE = "onnx.Transpose"
Permutation = tuple[int, ...]

_TAKES = frozenset({"onnx.Gather", "onnx.Slice"})
_ALONG_AN_AXIS = frozenset({"onnx.Split", "onnx.Squeeze"}) | _TAKES


def push_transposes(graph: Graph) -> int:
    """Push, merge and cancel transposes; return how many operations changed."""
    changed = 0
    for op in graph.body:
        if op not in graph:
            continue
        if op.name == TRANSPOSE:
            changed += _merge_with_producer(graph, op)
        elif op.name in _ALONG_AN_AXIS:
            changed += _push_along_axis(graph, op)
        elif kind_of(op) is Kind.ELEMENTWISE and len(op.results) == 1 and not op.regions:
            changed += _push(graph, op)
    for op in reversed(graph.body):
        if op.name == TRANSPOSE and not graph.users(op):
            graph.erase(op)
    return changed


def permutation(op: Op) -> Permutation:
    """A transpose's permutation, reversal where it is not written; empty where it is none of its operand's axes."""
    source, perm = op.operand(0), op.attributes.get("perm")
    rank = source.type.rank if source is not None and isinstance(source.type, TensorType) else None
    if rank is None:
        return ()
    if not isinstance(perm, tuple):
        return tuple(reversed(range(rank)))
    axes = tuple(axis for axis in perm if isinstance(axis, int))
    return axes if sorted(axes) == list(range(rank)) else ()


def _merge_with_producer(graph: Graph, op: Op) -> bool:
    """``T(T(x))`` becomes one transpose or none; a reshape between them may add or drop dimensions of extent 1."""
    source = op.operand(0)
    if source is None:
        return False
    if source.op.name == "onnx.Reshape" and len(graph.users(source.op)) == 1:
        moved = _before_reshape(graph, source.op)
        source = moved if moved is not None else source
    if source.op.name != TRANSPOSE:
        return False
    origin = source.op.operand(0)
    inner, outer = permutation(source.op), permutation(op)
    if origin is None or not outer or len(inner) != len(outer):
        return False
    combined = tuple(inner[axis] for axis in outer)
    if combined == tuple(range(len(combined))):
        graph.replace(op, [origin])
    else:
        _replace(graph, op, graph.add(TRANSPOSE, [origin], [_result(op)], {"perm": combined}, loc=op.loc, before=op))
    return True


def _before_reshape(graph: Graph, reshape: Op) -> Value | None:
    """``Reshape(T(x))`` that only adds or drops unit dimensions, as ``T(Reshape(x))``; the new value, if it is one."""
    source, type = reshape.operand(0), reshape.result.type
    if source is None or source.op.name != TRANSPOSE or not isinstance(type, TensorType) or not type.known:
        return None
    origin = source.op.operand(0)
    if origin is None or not isinstance(origin.type, TensorType) or not origin.type.known:
        return None
    perm, before, after = permutation(source.op), origin.type.dims, type.dims
    if not perm:
        return None
    moved = [axis for axis in perm if before[axis] != 1]
    wide = [axis for axis, extent in enumerate(after) if extent != 1]
    if [before[axis] for axis in moved] != [after[axis] for axis in wide]:
        return None
    unit = [axis for axis, extent in enumerate(after) if extent == 1]
    placed = [*unit, *(wide[moved.index(axis)] for axis in sorted(moved))]
    shape = tuple(after[axis] for axis in placed)
    name, loc = reshape.result.name, reshape.loc
    extents = Dense.of(DType.I64, (len(shape),), shape)
    constant = graph.add(CONSTANT, [], [(f"{name}.shape", extents.type)], {"value": extents}, loc=loc, before=reshape)
    view = graph.add(
        reshape.name,
        [origin, constant.result],
        [(f"{name}.view", TensorType(type.dtype, shape))],
        loc=loc,
        before=reshape,
    )
    order = tuple(placed.index(axis) for axis in range(len(after)))
    turned = graph.add(TRANSPOSE, [view.result], [(name, type)], {"perm": order}, loc=source.op.loc, before=reshape)
    graph.replace(reshape, [turned.result])
    graph.rename(turned.result, name)
    return turned.result


def _result(op: Op) -> tuple[str, Type]:
    return op.result.name, op.result.type


def _replace(graph: Graph, op: Op, new: Op) -> None:
    """Put ``new``, with one result each, in the place of ``op`` and under its results' names."""
    names = [value.name for value in op.results]
    graph.replace(op, list(new.results))
    for value, name in zip(new.results, names, strict=True):
        graph.rename(value, name)


def _push_along_axis(graph: Graph, op: Op) -> bool:
    """Split, squeeze, slice or index ``T(x)`` before it is transposed: smaller pieces then are."""
    source = op.operand(0)
    if source is None or source.op.name != TRANSPOSE:
        return False
    users = graph.users(source.op)
    if len(users) > 1 and not all(user.name in _TAKES for user in users):
        return False
    origin, perm = source.op.operand(0), permutation(source.op)
    if origin is None or not perm or any(not isinstance(v.type, TensorType) or not v.type.known for v in op.results):
        return False
    if op.name in ("onnx.Split", "onnx.Gather"):
        axis = op.attributes.get("axis", 0)
        if not isinstance(axis, int):
            return False
        push = _push_split if op.name == "onnx.Split" else _push_gather
        return push(graph, op, origin, perm, axis % len(perm))
    index = 1 if op.name == "onnx.Squeeze" else 3
    axes = value.constant if (value := op.operand(index)) is not None else None
    if axes is None:
        return False
    named = [int(axis) % len(perm) for axis in axes.values]
    if op.name == "onnx.Slice":
        return _push_slice(graph, op, origin, perm, named)
    merges = any(user.name == TRANSPOSE for user in graph.users(op))
    return merges and _push_squeeze(graph, op, origin, perm, named)


def _push_gather(graph: Graph, op: Op, origin: Value, perm: Permutation, axis: int) -> bool:
    index = op.operand(1)
    if index is None or not isinstance(index.type, TensorType) or index.type.shape != ():
        return False
    taken = perm[axis]
    order = tuple(source - (source > taken) for source in perm if source != taken)
    piece = (f"{op.result.name}.untransposed", _untransposed_type(op.result.type, order))
    attributes = {**op.attributes, "axis": taken}
    gather = graph.add(op.name, [origin, index], [piece], attributes, loc=op.loc, before=op)
    _replace(graph, op, graph.add(TRANSPOSE, [gather.result], [_result(op)], {"perm": order}, loc=op.loc, before=op))
    return True


def _push_slice(graph: Graph, op: Op, origin: Value, perm: Permutation, axes: Sequence[int]) -> bool:
    moved = Dense.of(DType.I64, (len(axes),), (perm[axis] for axis in axes))
    wanted = (f"{op.result.name}.axes", moved.type)
    constant = graph.add(CONSTANT, [], [wanted], {"value": moved}, loc=op.loc, before=op)
    operands = [origin, *op.operands[1:3], constant.result, *op.operands[4:]]
    piece = (f"{op.result.name}.untransposed", _untransposed_type(op.result.type, perm))
    cut = graph.add(op.name, operands, [piece], op.attributes, loc=op.loc, before=op)
    _replace(graph, op, graph.add(TRANSPOSE, [cut.result], [_result(op)], {"perm": perm}, loc=op.loc, before=op))
    return True


def _push_split(graph: Graph, op: Op, origin: Value, perm: Permutation, axis: int) -> bool:
    pieces = [(f"{v.name}.untransposed", _untransposed_type(v.type, perm)) for v in op.results]
    attributes = {**op.attributes, "axis": perm[axis]}
    split = graph.add(op.name, [origin, *op.operands[1:]], pieces, attributes, loc=op.loc, before=op)
    turned = [
        graph.add(TRANSPOSE, [piece], [(value.name, value.type)], {"perm": perm}, loc=op.loc, before=op).result
        for piece, value in zip(split.results, op.results, strict=True)
    ]
    names = [value.name for value in op.results]
    graph.replace(op, turned)
    for value, name in zip(turned, names, strict=True):
        graph.rename(value, name)
    return True


def _push_squeeze(graph: Graph, op: Op, origin: Value, perm: Permutation, dropped: Sequence[int]) -> bool:
    gone = {perm[axis] for axis in dropped}
    kept = [axis for axis in range(len(perm)) if axis not in gone]
    order = tuple(kept.index(perm[axis]) for axis in range(len(perm)) if axis not in dropped)
    type, name = op.result.type, op.result.name
    axes = Dense.of(DType.I64, (len(gone),), sorted(gone))
    constant = graph.add(CONSTANT, [], [(f"{name}.axes", axes.type)], {"value": axes}, loc=op.loc, before=op)
    piece = (f"{name}.untransposed", _untransposed_type(type, order))
    view = graph.add(op.name, [origin, constant.result], [piece], op.attributes, loc=op.loc, before=op)
    _replace(graph, op, graph.add(TRANSPOSE, [view.result], [_result(op)], {"perm": order}, loc=op.loc, before=op))
    return True


def _untransposed_type(type: Type, perm: Permutation) -> Type:
    assert isinstance(type, TensorType)
    return TensorType(type.dtype, tuple(type.dims[perm.index(axis)] for axis in range(len(perm))))


def _push(graph: Graph, op: Op) -> bool:
    """``op(T(a), T(b), c)`` becomes ``T(op(a, b, T⁻¹(c)))`` for constant ``c``, where that takes a transpose away."""
    moving = [value for value in op.inputs if not value.is_constant]
    if not moving or any(value.op.name != TRANSPOSE for value in moving):
        return False
    perms = {permutation(value.op) for value in moving}
    type = op.result.type
    if len(perms) != 1 or not isinstance(type, TensorType) or not type.known or type.rank is None:
        return False
    perm = perms.pop()
    shaped = [value for value in op.inputs if value.bytes != _element_bytes(value)]
    if len(shaped) < 2 or len(perm) != type.rank or any(value.op.operand(0) is None for value in moving):
        return False
    if all(len(graph.users(value.op)) > 1 for value in moving):
        return False
    operands = [_untransposed(graph, value, perm, op) if value is not None else None for value in op.operands]
    result = (f"{op.result.name}.untransposed", _untransposed_type(type, perm))
    plain = graph.add(op.name, operands, [result], op.attributes, loc=op.loc, before=op)
    loc = moving[0].op.loc
    _replace(graph, op, graph.add(TRANSPOSE, [plain.result], [_result(op)], {"perm": perm}, loc=loc, before=op))
    return True


def _element_bytes(value: Value) -> int | None:
    """Bytes of one element: a value of this size is a scalar, whatever its rank."""
    return (value.type.dtype.bits + 7) // 8 if isinstance(value.type, TensorType) else None


def _untransposed(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value | None:
    if not value.is_constant:
        return value.op.operand(0)
    if not isinstance(value.type, TensorType) or not value.type.known:
        return value
    padded = (1,) * (len(perm) - len(value.type.dims)) + value.type.dims
    shape = tuple(padded[perm.index(axis)] for axis in range(len(perm)))
    if shape == padded:
        return value
    result = (f"{value.name}.untransposed", TensorType(value.type.dtype, shape))
    return graph.add(CONSTANT, [], [result], folded_attributes([value]), loc=value.op.loc, before=before).result

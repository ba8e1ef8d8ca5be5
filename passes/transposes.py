"""Moves transposes towards the outputs until they meet and cancel, as layout-aware runtimes do.

An elementwise operation whose operands are all transposed alike runs on the untransposed ones, and one transpose follows
it. Two transposes in a row become one, or none. A transpose that only moves dimensions of extent 1 is a view.
Source of the behaviour: onnxruntime ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import CONSTANT, DType, Dense, Graph, Kind, Op, TensorType, Value, kind_of

__all__ = ["push_transposes"]

TRANSPOSE = "onnx.Transpose"
Permutation = tuple[int, ...]


def push_transposes(graph: Graph) -> int:
    """Push, merge and cancel transposes; return how many operations changed."""
    changed = 0
    for op in graph.body:
        if op not in graph:
            continue
        if op.name == TRANSPOSE:
            changed += _merge_with_producer(graph, op)
        elif kind_of(op) is Kind.ELEMENTWISE and len(op.results) == 1 and not op.regions:
            changed += _push(graph, op)
    for op in graph.body:
        if op.name == TRANSPOSE and (not graph.users(op) or _moves_nothing(op)):
            changed += _as_view(graph, op)
    return changed


def permutation(op: Op) -> Permutation:
    """A transpose's permutation; reversal where it is not written."""
    perm = op.attributes.get("perm")
    if isinstance(perm, tuple):
        return tuple(axis for axis in perm if isinstance(axis, int))
    rank = op.result.type.rank if isinstance(op.result.type, TensorType) else None
    return tuple(reversed(range(rank or 0)))


def _merge_with_producer(graph: Graph, op: Op) -> bool:
    source = op.operand(0)
    if source is None or source.op.name != TRANSPOSE:
        return False
    origin = source.op.operand(0)
    inner, outer = permutation(source.op), permutation(op)
    if origin is None or len(inner) != len(outer):
        return False
    combined = tuple(inner[axis] for axis in outer)
    if combined == tuple(range(len(combined))):
        graph.replace(op, [origin])
    else:
        result = (op.result.name, op.result.type)
        merged = graph.add(TRANSPOSE, [origin], [result], {"perm": combined}, loc=op.loc, before=op)
        name = op.result.name
        graph.replace(op, [merged.result])
        graph.rename(merged.result, name)
    return True


def _push(graph: Graph, op: Op) -> bool:
    """``op(T(a), T(b), c)`` becomes ``T(op(a, b, T⁻¹(c)))`` for constant ``c``."""
    moving = [value for value in op.inputs if not value.is_constant]
    if not moving or any(value.op.name != TRANSPOSE for value in moving):
        return False
    perms = {permutation(value.op) for value in moving}
    type = op.result.type
    if len(perms) != 1 or not isinstance(type, TensorType) or not type.static or type.rank is None:
        return False
    perm = perms.pop()
    if len(perm) != type.rank or any(value.op.operand(0) is None for value in moving):
        return False
    operands = [_untransposed(graph, value, perm, op) if value is not None else None for value in op.operands]
    shape = tuple(type.dims[perm.index(axis)] for axis in range(len(perm)))
    name = op.result.name
    plain = graph.add(
        op.name, operands, [(f"{name}.untransposed", TensorType(type.dtype, shape))], op.attributes, loc=op.loc, before=op
    )
    moved = graph.add(TRANSPOSE, [plain.result], [(name, type)], {"perm": perm}, loc=moving[0].op.loc, before=op)
    graph.replace(op, [moved.result])
    graph.rename(moved.result, name)
    return True


def _untransposed(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value | None:
    if not value.is_constant:
        return value.op.operand(0)
    if not isinstance(value.type, TensorType) or not value.type.static:
        return value
    padded = (1,) * (len(perm) - len(value.type.dims)) + value.type.dims
    shape = tuple(padded[perm.index(axis)] for axis in range(len(perm)))
    if shape == padded:
        return value
    result = (f"{value.name}.untransposed", TensorType(value.type.dtype, shape))
    return graph.add(CONSTANT, [], [result], loc=value.op.loc, before=before).result


def _moves_nothing(op: Op) -> bool:
    """Whether only dimensions of extent 1 change places."""
    source = op.operand(0)
    if source is None or not isinstance(source.type, TensorType) or not source.type.static:
        return False
    return _ascending([axis for axis in permutation(op) if source.type.dims[axis] != 1])


def _ascending(axes: Sequence[int]) -> bool:
    return all(a < b for a, b in zip(axes, axes[1:], strict=False))


def _as_view(graph: Graph, op: Op) -> bool:
    if not graph.users(op):
        graph.erase(op)
        return True
    type, name = op.result.type, op.result.name
    assert isinstance(type, TensorType)
    extents = Dense.of(DType.I64, (len(type.dims),), type.dims)
    shape = graph.add(CONSTANT, [], [(f"{name}.shape", extents.type)], {"value": extents}, loc=op.loc, before=op)
    view = graph.add("onnx.Reshape", [op.operands[0], shape.result], [(name, type)], loc=op.loc, before=op)
    graph.replace(op, [view.result])
    graph.rename(view.result, name)
    return True

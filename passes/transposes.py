"""Moves transposes behind their readers where that costs less, until they meet and merge, as layout-aware runtimes do.

A transpose goes from the operands that are transposed alike, has to be put on the others, and on the results unless
they lead to another transpose that it will meet. The cost is the number of dimensions. Two transposes in a row become
one, or none. Source of the behaviour: onnxruntime ``core/optimizer/transpose_optimization``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..ir import CONSTANT, OUTPUT, Dense, DType, Graph, Op, TensorType, Type, Value
from .quantized import DEQUANTIZE
from .simplify import RESHAPE, join_views
from .transposed_operators import TRANSPOSE, Permutation, Turned, inverted, movable, permutation, turned
from .weights import folded_attributes

__all__ = ["push_transposes", "put_transposed", "transpose"]

_MOST_SWEEPS = 10
"""How often the runtime goes through a graph at most."""


def push_transposes(graph: Graph) -> int:
    """Move transposes until none can be moved at a gain; return how many moves there were."""
    moves = 0
    for _ in range(_MOST_SWEEPS):
        moved = join_views(graph) + _sweep(graph)
        if not moved:
            break
        moves += moved
    return moves


def _sweep(graph: Graph) -> int:
    leading = _leading_to_transposes(graph)
    moves = sum(_moved(graph, op, leading) for op in graph.body if op in graph)
    for op in reversed(graph.body):
        if (op.name == TRANSPOSE or op.name in DEQUANTIZE) and not graph.users(op):
            graph.erase(op)
    return moves


def _leading_to_transposes(graph: Graph) -> set[str]:
    """Names of the values behind which a transpose stands, with nothing between that could not be moved across."""
    leading: set[str] = set()
    for op in reversed(graph.body):
        if op.name == TRANSPOSE:
            leading.add(op.operands[0].name if op.operands[0] else "")
        elif op.name != RESHAPE and any(value.name in leading for value in op.results):
            leading.update(value.name for index in movable(op) if (value := op.operand(index)) is not None)
    return leading


def _moved(graph: Graph, op: Op, leading: Collection[str]) -> bool:
    """Move the first transpose that pays behind ``op``, or merge it with ``op``."""
    if op.name == TRANSPOSE:
        return _merge(graph, op, permutation(op))
    indices = movable(op)
    for index in indices:
        value = op.operand(index)
        perm = permutation(value.op) if value is not None and value.op.name == TRANSPOSE else ()
        if value is None or not perm or perm == tuple(range(len(perm))):
            continue
        if op.name == RESHAPE and _goes(graph, value) and _merge(graph, op, _transposing(op)):
            return True
        new = turned(op, perm)
        if new is not None and (new.always or _cost(graph, op, indices, perm, leading, new) < 0):
            return _push(graph, op, indices, perm, new)
    return False


def _transposing(reshape: Op) -> Permutation:
    """The permutation that a reshape comes to if it moves dimensions of one element and no others, else nothing."""
    source, result = reshape.operand(0), reshape.result
    if source is None or not isinstance(source.type, TensorType) or not isinstance(result.type, TensorType):
        return ()
    before, after = source.type.shape, result.type.shape
    if before is None or after is None or sorted(map(str, before)) != sorted(map(str, after)):
        return ()
    wide = [[axis for axis, extent in enumerate(shape) if extent != 1] for shape in (before, after)]
    if [before[axis] for axis in wide[0]] != [after[axis] for axis in wide[1]]:
        return ()
    kept, added = iter(wide[0]), iter(axis for axis, extent in enumerate(before) if extent == 1)
    return tuple(next(added if extent == 1 else kept) for extent in after)


def _merge(graph: Graph, op: Op, outer: Permutation) -> bool:
    """A transpose by ``outer`` of a transposed value becomes one transpose or none."""
    source = op.operand(0)
    if source is None or source.op.name != TRANSPOSE:
        return False
    origin, inner = source.op.operand(0), permutation(source.op)
    if origin is None or not outer or len(inner) != len(outer):
        return False
    combined = tuple(inner[axis] for axis in outer)
    if combined == tuple(range(len(combined))):
        graph.replace(op, [origin])
    else:
        name, type_ = op.result.name, op.result.type
        one = graph.add(TRANSPOSE, [origin], [(name, type_)], {"perm": combined}, loc=op.loc, before=op)
        graph.replace(op, [one.result])
        graph.rename(one.result, name)
    if not graph.users(source.op):
        graph.erase(source.op)
    return True


# -- what a move costs ------------------------------------------------------------------------------------------------


def _cost(
    graph: Graph, op: Op, indices: Collection[int], perm: Permutation, leading: Collection[str], new: Turned
) -> int:
    cost = sum(_operand_cost(graph, value, perm) for index in indices if (value := op.operand(index)) is not None)
    if cost < 0 and not new.free and not any(value.name in leading and _meets(graph, value) for value in op.results):
        cost += max(_extents(value) for value in op.results)
    return cost


def _meets(graph: Graph, value: Value) -> bool:
    """Whether a transpose that is left on ``value``, which leads to another, is thought to meet that one.

    It is not where the graph returns the value, nor, as onnxruntime 1.32 shows, behind a squeeze that several read.
    """
    users = [user for user, _ in graph.uses(value)]
    several = len(users) > 1 and value.op.name in ("onnx.Squeeze", "onnx.Unsqueeze")
    return not several and all(user.name != OUTPUT for user in users)


def _operand_cost(graph: Graph, value: Value, perm: Permutation) -> int:
    if value.is_constant or _dequantized_constant(value) or not _extents(value):
        return 0
    if value.op.name != TRANSPOSE:
        return _extents(value)
    return -_extents(value) if permutation(value.op) == perm and _goes(graph, value) else 0


def _goes(graph: Graph, value: Value) -> bool:
    """Whether every reader is of the operators that a transpose can be moved behind."""
    return all(movable(user) for user in graph.each_user(value.op))


def _extents(value: Value) -> int:
    """Dimensions of more than one element."""
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return sum(1 for extent in shape or () if extent != 1)


# -- moving -----------------------------------------------------------------------------------------------------------


def _push(graph: Graph, op: Op, indices: Collection[int], perm: Permutation, new: Turned) -> bool:
    if any(not _fits(value.type, len(new.results)) for value in op.results):
        return False
    operands = list(op.operands)
    for index in indices:
        value = operands[index]
        if value is not None and not _fits(value.type):
            return False
    for index in indices:
        value = operands[index]
        operands[index] = _untransposed(graph, value, perm, op) if value is not None else None
    for index, numbers in new.integers.items():
        operands.extend([None] * (index + 1 - len(operands)))
        operands[index] = _integers(graph, f"{op.results[0].name}.operand{index}", numbers, op)
    put_transposed(graph, op, new, operands)
    return True


def _fits(type_: Type, rank: int | None = None) -> bool:
    return isinstance(type_, TensorType) and type_.known and rank in (None, type_.rank)


def _untransposed(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value:
    """``value`` as it is before a transpose by ``perm``."""
    source = value.op.operand(0) if value.op.name == TRANSPOSE and permutation(value.op) == perm else None
    if source is not None:
        return source
    assert isinstance(value.type, TensorType)
    if value.type.elements == 1:
        return value
    if value.is_constant:
        return _turned_constant(graph, value, perm, before)
    if _dequantized_constant(value) and len(graph.uses(value)) == 1:
        integers = value.op.operands[0]
        assert integers is not None
        operands = [_turned_constant(graph, integers, perm, before), *value.op.operands[1:]]
        result = (f"{value.name}.turned", _turned_type(value.type, perm))
        return graph.add(value.op.name, operands, [result], value.op.attributes, loc=value.op.loc, before=before).result
    return transpose(graph, _of_rank(graph, value, len(perm), before), inverted(perm), before)


def _of_rank(graph: Graph, value: Value, rank: int, before: Op) -> Value:
    """``value`` with dimensions of one element put in front of its own."""
    assert isinstance(value.type, TensorType)
    added = rank - len(value.type.dims)
    if not added:
        return value
    axes = _integers(graph, f"{value.name}.axes", range(added), before)
    result = (f"{value.name}.wide", TensorType(value.type.dtype, (1,) * added + value.type.dims))
    return graph.add("onnx.Unsqueeze", [value, axes], [result], loc=value.op.loc, before=before).result


def _dequantized_constant(value: Value) -> bool:
    source, scale = value.op.operand(0), value.op.operand(1)
    if value.op.name not in DEQUANTIZE or source is None or scale is None or not source.is_constant:
        return False
    return isinstance(scale.type, TensorType) and scale.type.elements == 1


def _turned_constant(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value:
    """What a constant is before a transpose by ``perm``: the runtime turns it when it loads the model."""
    assert isinstance(value.type, TensorType)
    result = (f"{value.name}.turned", _turned_type(value.type, perm))
    return graph.add(CONSTANT, [], [result], folded_attributes([value]), loc=value.op.loc, before=before).result


def _turned_type(type_: TensorType, perm: Permutation) -> TensorType:
    padded = (1,) * (len(perm) - len(type_.dims)) + type_.dims
    return TensorType(type_.dtype, tuple(padded[axis] for axis in inverted(perm)))


def _integers(graph: Graph, name: str, numbers: Sequence[int], before: Op) -> Value:
    dense = Dense.of(DType.I64, (len(numbers),), numbers)
    return graph.add(CONSTANT, [], [(name, dense.type)], {"value": dense}, loc=before.loc, before=before).result


def put_transposed(graph: Graph, op: Op, new: Turned, operands: Sequence[Value | None]) -> None:
    """Put ``new`` on ``operands`` in the place of ``op``, and a transpose on each result."""
    names, perm = [value.name for value in op.results], new.results
    plain = [(f"{value.name}.untransposed", _turned(value.type, inverted(perm))) for value in op.results]
    made = graph.add(new.operator, operands, plain, new.attributes, loc=op.loc, before=op)
    still = perm == tuple(range(len(perm)))
    results = [value if still else transpose(graph, value, perm, op) for value in made.results]
    graph.replace(op, results)
    for value, name in zip(results, names, strict=True):
        graph.rename(value, name)


def transpose(graph: Graph, value: Value, perm: Permutation, before: Op) -> Value:
    """``value`` transposed: by a transpose that exists already, else by a new one."""
    for user in graph.users(value.op):
        if user.name == TRANSPOSE and user.operand(0) is value and permutation(user) == perm:
            return user.result
    result = (f"{value.name}.turned", _turned(value.type, perm))
    return graph.add(TRANSPOSE, [value], [result], {"perm": perm}, loc=before.loc, before=before).result


def _turned(type_: Type, perm: Permutation) -> Type:
    assert isinstance(type_, TensorType)
    return TensorType(type_.dtype, tuple(type_.dims[axis] for axis in perm))

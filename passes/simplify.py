"""What a runtime does to a graph before it forms kernels: folds constants, drops no-ops, merges equal operations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ..ir import CONSTANT, INPUT, OUTPUT, Attribute, Dense, DType, Graph, Kind, Location, Op, TensorType, Value, kind_of
from ..ir.ops.conversion import operands_read
from .weights import folded_attributes

__all__ = ["RESHAPE", "drop_dead", "drop_no_ops", "fold_constants", "join_views", "merge_equal"]

RESHAPE = "onnx.Reshape"
_VIEWS = frozenset({RESHAPE, "onnx.Squeeze", "onnx.Unsqueeze"})


def fold_constants(graph: Graph, keep: Collection[str] = (), by_type: bool = False) -> int:
    """Turn every operation that reads only constants into a constant of its result's type; return how many.

    The runtime computes those once, when it loads the model, but for the operators that it is to ``keep`` (``aten.*``:
    all of a dialect). Values are not computed here: types suffice. With ``by_type`` an operand of which only the type
    is read need be no constant.
    """
    folded, kept = 0, frozenset(keep)
    for op in graph.body:
        if op.results and not op.regions and not _is_one_of(op, kept) and _foldable(op, by_type):
            results = [(value.name, value.type) for value in op.results]
            known = folded_attributes(operands_read(op))
            constants = [graph.add(CONSTANT, [], [result], known, loc=op.loc, before=op).result for result in results]
            graph.replace(op, constants)
            for constant, (name, _) in zip(constants, results, strict=True):
                graph.rename(constant, name)
            folded += 1
    return folded


def _is_one_of(op: Op, names: frozenset[str]) -> bool:
    return op.name in names or f"{op.dialect}.*" in names


def _foldable(op: Op, by_type: bool) -> bool:
    return (
        all(value.is_constant for value in (operands_read(op) if by_type else op.inputs))
        and all(isinstance(value.type, TensorType) and value.type.known for value in op.results)
        and kind_of(op) is not Kind.OPAQUE
    )


def drop_no_ops(graph: Graph, names: Iterable[str]) -> int:
    """Remove operations that hand their first operand on: ``names``, where the type stays and nothing else is read."""
    dropped = 0
    wanted = frozenset(names)
    for op in graph.body:
        source = op.operand(0)
        if op.name not in wanted or source is None or not op.results or source.type != op.results[0].type:
            continue
        if any(graph.uses(value) for value in op.results[1:]):
            continue
        if source.op.name == INPUT and any(user.name == OUTPUT for user in graph.each_user(op)):
            continue
        graph.replace(op, [source, *op.results[1:]])
        dropped += 1
    return dropped


def join_views(graph: Graph) -> int:
    """Make one reshape of two in a row, also where together they change nothing; return how many went.

    Squeezes are reshapes as well. Source: onnxruntime ``core/optimizer/reshape_fusion.cc``, contiguous reshapes.
    """
    joined = 0
    for op in graph.body:
        inner = op.operand(0) if op.name in _VIEWS else None
        if inner is None or inner.op.name not in _VIEWS or len(graph.uses(inner)) > 1:
            continue
        source = inner.op.operand(0)
        if source is not None and isinstance(op.result.type, TensorType) and op.result.type.known:
            _put_reshape(graph, op, source, op.result.type)
            graph.erase(inner.op)
            joined += 1
    return joined


def _put_reshape(graph: Graph, op: Op, source: Value, type_: TensorType) -> None:
    """Put a reshape of ``source`` in the place of ``op``."""
    name = op.result.name
    shape = Dense.of(DType.I64, (len(type_.dims),), type_.dims)
    constant = graph.add(CONSTANT, [], [(f"{name}.shape", shape.type)], {"value": shape}, loc=op.loc, before=op)
    view = graph.add(RESHAPE, [source, constant.result], [(name, type_)], loc=op.loc, before=op)
    graph.replace(op, [view.result])
    graph.rename(view.result, name)


def merge_equal(graph: Graph) -> int:
    """Merge operations of the same name, operands and attributes (common subexpressions); return how many went."""
    seen: dict[object, Op] = {}
    twins: dict[Op, list[Location]] = {}
    for op in graph.body:
        if op.regions or not op.results or not op.operands:
            continue
        key = (op.name, op.operands, len(op.results), _hashable(op.attributes))
        first = seen.setdefault(key, op)
        if first is not op:
            twins.setdefault(first, [first.loc]).append(op.loc)
            graph.replace(op, list(first.results))
    for first, locations in twins.items():
        first.loc = Location.union(locations)
    return sum(len(locations) - 1 for locations in twins.values())


def _hashable(attributes: Mapping[str, Attribute]) -> object:
    return tuple((key, _hashable_item(value)) for key, value in sorted(attributes.items()))


def _hashable_item(value: Attribute) -> object:
    if isinstance(value, Mapping):
        return _hashable(value)
    return tuple(map(_hashable_item, value)) if isinstance(value, tuple) else value


def drop_dead(graph: Graph, keep: Collection[str] = ()) -> int:
    """Remove operations whose results nothing reads; return how many. Inputs stay, unused constants go.

    What has no results, or writes in place, is there for its effect: it writes a variable, or a module's buffer. A
    runtime that runs all that a program says is to ``keep`` the operators that it is written in.
    """
    kept = frozenset(keep)
    removed = 0
    for op in reversed(graph.ops):
        effect = not op.results or op.attributes.get("inplace") is True or _is_one_of(op, kept)
        if op.name != INPUT and not effect and not graph.users(op):
            graph.erase(op)
            removed += op.name != CONSTANT
    return removed

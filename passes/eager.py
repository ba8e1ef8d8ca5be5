"""What an eager framework makes of a file's operations: some are views there, others launch a kernel more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..ir import Attribute, Graph, Kind, Op, TensorType, Value, kind_of
from ..ir.ops.eager import BIAS, STRIDED
from .weights import is_stored

__all__ = ["add_biases_apart", "make_strided_views"]

_TRANSPOSE, _GATHER = "onnx.Transpose", "onnx.Gather"


def make_strided_views(graph: Graph, copies: Callable[[Op], bool], free: Callable[[Op], bool]) -> int:
    """Make views of transposes, and of gathers of one element of an axis, and return of how many.

    A transpose moves its operand after all where a reader ``copies`` what is not contiguous, or takes single elements
    of an axis from it: the projections of an attention, which are brought into order first.
    """
    made = 0
    for op in graph.body:
        if op in graph and free(op) and (_selects(op) or (op.name == _TRANSPOSE and not _is_copied(op, graph, copies))):
            results = [(value.name, value.type) for value in op.results]
            view = graph.add(STRIDED, op.operands[:1], results, _permutation(op), loc=op.loc, before=op)
            _take_over(graph, op, view)
            made += 1
    return made


def _permutation(op: Op) -> dict[str, Attribute]:
    return {"perm": op.attributes["perm"]} if "perm" in op.attributes else {}


def _is_copied(op: Op, graph: Graph, copies: Callable[[Op], bool]) -> bool:
    return any(copies(reader) or reader.name == _GATHER for reader in _readers(op.result, graph))


def _readers(value: Value, graph: Graph) -> Iterator[Op]:
    """The operations that read a value, through views."""
    for user, _ in graph.uses(value):
        if user.results and kind_of(user) is Kind.VIEW:
            yield from _readers(user.result, graph)
        else:
            yield user


def _selects(op: Op) -> bool:
    """Whether an operation takes one element of an axis."""
    indices = op.operand(1) if op.name == _GATHER else None
    return indices is not None and isinstance(indices.type, TensorType) and indices.type.shape == ()


def add_biases_apart(graph: Graph, operators: Collection[str], free: Callable[[Op], bool]) -> int:
    """Take biases that are weights out of operators that have them as third operand, into kernels after them.

    Zeros that an exporter made for a bias that is not there stay. Returns how many biases there were.
    """
    taken = 0
    for op in graph.body:
        bias = op.operand(2) if op.name in operators and len(op.operands) > 2 and free(op) else None
        if bias is None or not is_stored(bias):
            continue
        (result,) = op.results
        readers = graph.uses(result)
        graph.set_operand(op, 2, None)
        first = min((user for user, _ in readers), key=lambda user: user.order, default=None)
        added = graph.add(BIAS, [result, bias], [(result.name, result.type)], loc=op.loc, before=first)
        for user, index in readers:
            graph.set_operand(user, index, added.result)
        taken += 1
    return taken


def _take_over(graph: Graph, op: Op, view: Op) -> None:
    names = [value.name for value in op.results]
    graph.replace(op, view.results)
    for value, name in zip(view.results, names, strict=True):
        graph.rename(value, name)

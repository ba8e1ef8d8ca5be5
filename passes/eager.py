"""What an eager framework makes of a file's operations: some are views there, others launch a kernel more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from ..ir import Attribute, Graph, Kind, Op, TensorType, Value, kind_of
from ..ir.ops.eager import BIAS, STRIDED
from ..ir.ops.reading import constant_integers
from .weights import is_stored

__all__ = ["add_biases_apart", "make_strided_views"]

_TRANSPOSE, _GATHER, _EXPAND = "onnx.Transpose", "onnx.Gather", "onnx.Expand"
_SLICE, _SPLIT, _PARTS, _PART = "onnx.Slice", "onnx.Split", "onnx.SplitToSequence", "onnx.SequenceAt"
_RESHAPES = frozenset({"onnx.Reshape", "onnx.Flatten"})
_PRODUCTS = frozenset({"onnx.MatMul", "onnx.Gemm"})
_STEPS = 4
"""The operand of a slice that has its steps."""


def make_strided_views(graph: Graph, copies: Callable[[Op], bool], free: Callable[[Op], bool]) -> int:
    """Make views of what only changes how a tensor is read, and return of how many operations.

    Those are slices, parts of a split, gathers of one element of an axis, transposes and expansions. The latter two
    move their operand after all where a reader ``copies`` what is not contiguous; an expansion also where it is
    reshaped, which strides of zero do not allow; a transpose also where a reader takes single elements of an axis from
    it: the projections of an attention, which are brought into order first. One of a single batch that a matrix product
    reads itself is read as it lies.
    """
    made = 0
    for op in graph.body:
        source = _viewed(op, graph, copies) if op in graph and free(op) else None
        if source is None:
            continue
        results = [(value.name, value.type) for value in op.results]
        view = graph.add(STRIDED, [source], results, _permutation(op), loc=op.loc, before=op)
        parts = op.operand(0)
        _take_over(graph, op, view)
        if parts is not None and parts.op.name == _PARTS and not graph.uses(parts):
            graph.erase(parts.op)
        made += 1
    return made


def _viewed(op: Op, graph: Graph, copies: Callable[[Op], bool]) -> Value | None:
    """What an operation is a view of, if it is one."""
    source = op.operand(0)
    if source is None:
        return None
    if op.name == _PART:
        return source.op.operand(0) if source.op.name == _PARTS else None
    if op.name == _SPLIT or _selects(op) or (op.name == _SLICE and _goes_forward(op)):
        return source
    if op.name == _EXPAND:
        reshaped = any(user.name in _RESHAPES for user, _ in graph.uses(op.result))
        return None if reshaped or any(copies(reader) for reader in _readers(op.result, graph)) else source
    if op.name != _TRANSPOSE:
        return None
    return None if _is_copied(op, graph, copies) else source


def _goes_forward(op: Op) -> bool:
    """Whether a slice has no negative step, which would reverse its operand: no stride does that in PyTorch."""
    steps = op.operand(_STEPS)
    return steps is None or all(step > 0 for step in constant_integers(steps) or (-1,))


def _permutation(op: Op) -> dict[str, Attribute]:
    return {"perm": op.attributes["perm"]} if "perm" in op.attributes else {}


def _is_copied(op: Op, graph: Graph, copies: Callable[[Op], bool]) -> bool:
    beside = {user for user, _ in graph.uses(op.result)} if _is_one_batch(op.result) else set()
    return any(
        (copies(reader) and not (reader in beside and reader.name in _PRODUCTS)) or reader.name == _GATHER
        for reader in _readers(op.result, graph)
    )


def _is_one_batch(value: Value) -> bool:
    """Whether matrices lie in it as one batch, which a product reads in whichever order their rows and columns are.

    Several axes of matrices are merged into one, for which a transpose is copied (ATen/native/LinearAlgebra.cpp, matmul
    and bmm).
    """
    shape = value.type.shape if isinstance(value.type, TensorType) else None
    return shape is not None and sum(extent != 1 for extent in shape[:-2]) <= 1


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

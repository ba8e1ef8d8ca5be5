"""ATen's operators that fetch or put elements by index."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Copy, Elementwise, Gather, Primitive, Reduction, Scan
from ...registry import Kind, Lowering
from ..reading import dims, elements, integer, normal_axis, size, tensor
from .reading import enter, flag, operands_of, result_dtype

__all__: list[str] = []


def _bytes(count: int, op: Op) -> int:
    return (count * tensor(op, 0).dtype.bits + 7) // 8


def _fetch(op: Op, rows: int, row_elements: int) -> Lowering:
    return Lowering((Gather(rows, row_elements, tensor(op, 0).dtype),), {0: _bytes(rows * row_elements, op)})


def _embedding(op: Op) -> Lowering:
    return _fetch(op, size(op, 1), dims(op, 0)[-1])


enter("embedding", Kind.GATHER, _embedding, "One row for each index; no others are read.")


def _embedding_bag(op: Op) -> Lowering:
    rows, width = size(op, 1), dims(op, 0)[-1]
    fetched = _fetch(op, rows, width)
    weighted = 1 + (op.operand(3) is not None)
    summed = Reduction("sum", rows * width, elements(op), tensor(op, 0).dtype, weighted)
    return Lowering((*fetched.primitives, summed), fetched.reads)


enter(
    "embedding_bag _embedding_bag _embedding_bag_forward_only",
    Kind.GATHER,
    _embedding_bag,
    "One row for each index, and each bag's rows summed.",
)


def _along(op: Op) -> Lowering:
    """Indices of rows along ``dim``."""
    shape = dims(op, 0)
    axis = normal_axis(integer(op, "dim", 0), len(shape))
    rows = prod(shape[:axis]) * size(op, 1)
    return _fetch(op, rows, elements(op) // max(1, rows))


enter("index_select", Kind.GATHER, _along, "One piece for each index and position before ``dim``.")


def _single(op: Op) -> Lowering:
    return _fetch(op, elements(op), 1)


enter("gather take take_along_dim masked_select", Kind.GATHER, _single, "One element for each index.")


def _index(op: Op) -> Lowering:
    """Operands after the first are index tensors, one for each axis from the front, absent where an axis is whole."""
    indexed = [index for index in operands_of(op) if index > 0]
    whole = dims(op, 0)[max(indexed, default=0) :]
    row = prod(whole) if indexed == list(range(1, len(indexed) + 1)) else 1
    return _fetch(op, elements(op) // max(1, row), row)


enter("index _unsafe_index", Kind.GATHER, _index, "One piece for each tuple of indices.")


# -- putting ----------------------------------------------------------------------------------------------------------


def _put(source: int, adds: Callable[[Op], bool]) -> Callable[[Op], Lowering]:
    """Operand ``source`` is put into a copy of operand 0, or into operand 0 itself where the call writes in place."""

    def lower(op: Op) -> Lowering:
        updates = op.operand(source)
        count = size(op, source) if updates is not None else size(op, min(1, len(op.operands) - 1))
        dtype, inside = tensor(op, 0).dtype, flag(op, "inplace")
        copied = () if inside else (Copy(elements(op), dtype),)
        added = (Elementwise("add", count, dtype),) if adds(op) else ()
        work = (*copied, Gather(count, 1, dtype), *added)
        return (
            Lowering(work, {0: 0}, {0: min(_bytes(count, op), op.results[0].bytes or 0)}) if inside else Lowering(work)
        )

    return lower


_INTO = "A copy, none where it is written in place, and one element put for each index."
enter("scatter", Kind.GATHER, _put(2, lambda op: "reduce" in op.attributes), _INTO)
enter("scatter_add scatter_reduce", Kind.GATHER, _put(2, lambda op: True), _INTO)
enter("index_copy index_fill masked_scatter put", Kind.GATHER, _put(2, lambda op: False), _INTO, caches=((0, 0),))
enter("index_add index_reduce", Kind.GATHER, _put(2, lambda op: True), _INTO)


def _index_put(op: Op) -> Lowering:
    return _put(max(operands_of(op)), lambda op: flag(op, "accumulate"))(op)


enter("index_put _index_put_impl _unsafe_index_put", Kind.GATHER, _index_put, _INTO, caches=((0, 0),))


# -- finding ----------------------------------------------------------------------------------------------------------


def _nonzero(op: Op) -> tuple[Primitive, ...]:
    return (Scan("nonzero", size(op, 0), tensor(op, 0).dtype),)


enter(
    "nonzero nonzero_static argwhere nonzero_numpy", Kind.SCAN, _nonzero, "A comparison for each element, one by one."
)


def _counted(op: Op) -> tuple[Primitive, ...]:
    return (Scan("bincount", size(op, 0), result_dtype(op)),)


enter("bincount histc", Kind.SCAN, _counted, "An addition for each element.")
enter(
    "isin",
    Kind.ELEMENTWISE,
    lambda op: (Elementwise("equal", elements(op), tensor(op, 0).dtype, size(op, 1) if len(op.operands) > 1 else 1),),
    "A comparison with each of the others for each element.",
)

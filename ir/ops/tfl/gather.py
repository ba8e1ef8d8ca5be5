"""Operators of TFLite that fetch or put elements by index, and tables."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from ...graph import Op
from ...primitives import Copy, Elementwise, Gather, Primitive, Reduction, Scan
from ...registry import Kind, Lowering, OpDef, add, define
from ...types import Dim, DType, TensorType, Type
from ..gather import fetched_rows, put_rows
from ..reading import (
    FOLD_ELEMENTS,
    UNKNOWN_DIM,
    Array,
    constant_dims,
    constant_number,
    dims,
    elements,
    integer,
    largest,
    normal_axis,
    ranked,
    same_type,
    size,
    tensor,
    typed,
    with_shape,
)
from .stages import SCALE_OPS, is_quantized, result_type

__all__: list[str] = []


# -- fetching ---------------------------------------------------------------------------------------------------------


def _axes(op: Op, rank: int, indices: int) -> tuple[int, int]:
    """The axis that is gathered along, and how many axes before it are batches."""
    batch = integer(op, "batch_dims", 0)
    return normal_axis(integer(op, "axis", 0), rank), batch + indices if batch < 0 else batch


def _gather_types(op: Op) -> tuple[Type, ...] | None:
    x, indices = ranked(op, 0), ranked(op, 1)
    if x is None or indices is None:
        return None
    axis, batch = _axes(op, len(x[1]), len(indices[1]))
    return with_shape(op, (*x[1][:axis], *indices[1][batch:], *x[1][axis + 1 :]))


def _evaluate_gather(op: Op, x: Array, indices: Array) -> Array | None:
    if indices.dtype == object or integer(op, "batch_dims", 0) or indices.size * max(1, x.size) > FOLD_ELEMENTS * 16:
        return None
    return np.asarray(np.take(x, indices, axis=integer(op, "axis", 0)), dtype=x.dtype)


@define("tfl.GATHER", kind=Kind.GATHER, infer=_gather_types, evaluate=_evaluate_gather)
def gather(op: Op) -> Lowering:
    """One piece for each index and position before ``axis``."""
    shape, indices = dims(op, 0), dims(op, 1)
    axis, batch = _axes(op, len(shape), len(indices))
    return fetched_rows(op, prod(shape[:axis]) * prod(indices[batch:]), prod(shape[axis + 1 :]))


def _gather_nd_types(op: Op) -> tuple[Type, ...] | None:
    x, indices = ranked(op, 0), ranked(op, 1)
    if x is None or indices is None or not indices[1] or not isinstance(indices[1][-1], int):
        return None
    return with_shape(op, (*indices[1][:-1], *x[1][indices[1][-1] :]))


@define("tfl.GATHER_ND", kind=Kind.GATHER, infer=_gather_nd_types)
def gather_nd(op: Op) -> Lowering:
    """One piece for each index tuple."""
    rows = prod(dims(op, 1)[:-1])
    return fetched_rows(op, rows, elements(op) // largest(1, rows))


def _lookup_types(op: Op) -> tuple[Type, ...] | None:
    ids, table, result = ranked(op, 0), ranked(op, 1), op.results[0].type
    if ids is None or table is None or not isinstance(result, TensorType):
        return None
    return (TensorType(result.dtype, (*ids[1], *table[1][1:])),)


@define("tfl.EMBEDDING_LOOKUP", kind=Kind.GATHER, infer=_lookup_types)
def embedding_lookup(op: Op) -> Lowering:
    """One row of the table for each number; of a quantised table to floats, each element scaled."""
    rows, results, table = size(op, 0), elements(op), tensor(op, 1)
    scaled = is_quantized(table.dtype) and result_type(op).dtype.is_float
    work = (Elementwise("dequantize", results, result_type(op).dtype, SCALE_OPS),) if scaled else ()
    fetched = Gather(rows, results // largest(1, rows), table.dtype)
    return Lowering((fetched, *work), {1: (results * table.dtype.bits + 7) // 8})


@define("tfl.EMBEDDING_LOOKUP_SPARSE", kind=Kind.GATHER)
def embedding_lookup_sparse(op: Op) -> Lowering:
    """One row for each number, weighted and added to the others of its group (two for each element)."""
    table = tensor(op, 4)
    row, rows = prod(table.dims[1:]), size(op, 0)
    work = Reduction("sum", rows * row, elements(op), table.dtype, 2)
    return Lowering((Gather(rows, row, table.dtype), work), {4: (rows * row * table.dtype.bits + 7) // 8})


@define("tfl.CONCAT_EMBEDDINGS", kind=Kind.GATHER)
def concat_embeddings(op: Op) -> Iterable[Primitive]:
    """Rows of several tables side by side."""
    rows = size(op, 0) if op.operands else 0
    return (Gather(rows, elements(op) // largest(1, rows), result_type(op).dtype),)


@define("tfl.HASHTABLE_LOOKUP", kind=Kind.GATHER, any_type=True)
def hashtable_lookup(op: Op) -> Lowering:
    """A binary search among the keys for each number, and the row found."""
    keys, rows, values = size(op, 1), size(op, 0), tensor(op, 2)
    row = prod(values.dims[1:])
    search = Scan("search", rows, tensor(op, 1).dtype, largest(1, keys.bit_length()))
    bound = (rows * row * values.dtype.bits + 7) // 8
    return Lowering((search, Gather(rows, row, values.dtype)), {2: bound})


# -- putting ----------------------------------------------------------------------------------------------------------


def _shaped_types(op: Op) -> tuple[Type, ...] | None:
    """The shape that operand 2 (of SPARSE_TO_DENSE operand 1) gives, of the updates' element type."""
    shape_at, updates_at = (1, 2) if op.base_name == "SPARSE_TO_DENSE" else (2, 1)
    shape, updates = constant_dims(op.operand(shape_at)), typed(op, updates_at)
    return None if shape is None or updates is None else with_shape(op, shape, updates.dtype)


@define("tfl.SCATTER_ND", kind=Kind.GATHER, infer=_shaped_types)
def scatter_nd(op: Op) -> Iterable[Primitive]:
    """Zeros, and each update added where its index tuple says."""
    rows, count, dtype = prod(dims(op, 0)[:-1]), size(op, 1), tensor(op, 1).dtype
    return (Copy(elements(op), dtype), Gather(rows, count // largest(1, rows), dtype), Elementwise("add", count, dtype))


@define("tfl.SPARSE_TO_DENSE", kind=Kind.GATHER, infer=_shaped_types)
def sparse_to_dense(op: Op) -> Iterable[Primitive]:
    """A fill, and one element put for each index."""
    dtype = tensor(op, 2).dtype
    return (Copy(elements(op), dtype), Gather(dims(op, 0)[0] if dims(op, 0) else 1, 1, dtype))


@define("tfl.DYNAMIC_UPDATE_SLICE", kind=Kind.GATHER, infer=same_type)
def dynamic_update_slice(op: Op) -> Iterable[Primitive]:
    """A copy, and the update put in its place row by row."""
    update = dims(op, 1)
    return put_rows(op, 1, prod(update[:-1]))


# -- finding ----------------------------------------------------------------------------------------------------------


def _one_hot_types(op: Op) -> tuple[Type, ...] | None:
    indices, on = ranked(op, 0), typed(op, 2)
    if indices is None or on is None:
        return None
    depth = constant_number(op.operand(1))
    axis = normal_axis(integer(op, "axis", -1), len(indices[1]) + 1)
    extent: Dim = UNKNOWN_DIM if depth is None else int(depth)
    return (TensorType(on.dtype, (*indices[1][:axis], extent, *indices[1][axis:])),)


@define("tfl.ONE_HOT", kind=Kind.GATHER, infer=_one_hot_types)
def one_hot(op: Op) -> Iterable[Primitive]:
    """A fill, and one element put for each index."""
    dtype = tensor(op, 2).dtype
    return (Copy(elements(op), dtype), Gather(size(op, 0), 1, dtype))


def _where_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else (TensorType(DType.I64, (UNKNOWN_DIM, len(x[1]))),)


@define("tfl.WHERE", kind=Kind.SCAN, infer=_where_types, any_type=True)
def where(op: Op) -> Lowering:
    """One comparison for each element, each result after the one before; writes as if all were true."""
    shape = dims(op, 0)
    most, known = prod(shape) * len(shape) * 8, op.results[0].bytes
    return Lowering((Scan("nonzero", prod(shape), tensor(op, 0).dtype),), writes={0: most if known is None else known})


def _unique_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    chosen = DType.I64 if op.attributes.get("idx_out_type") == "INT64" else DType.I32
    return (TensorType(x[0], (UNKNOWN_DIM,)), TensorType(chosen, x[1]))[: len(op.results)]


@define("tfl.UNIQUE", kind=Kind.SCAN, infer=_unique_types, any_type=True)
def unique(op: Op) -> Lowering:
    """A search among those seen so far for each element; writes as if all were different."""
    count, type_ = size(op, 0), tensor(op, 0)
    known = op.results[0].bytes
    written = {0: (type_.bytes or 0) if known is None else known}
    return Lowering((Scan("unique", count, type_.dtype, largest(1, (count - 1).bit_length())),), writes=written)


@define("tfl.LSH_PROJECTION", kind=Kind.GATHER)
def lsh_projection(op: Op) -> Iterable[Primitive]:
    """For each bit of each hash a fingerprint of every input item (about ten operations), weighted and added."""
    hashes, items = size(op, 0), dims(op, 1)[0]
    return (Reduction("hash", hashes * items, hashes, tensor(op, 0).dtype, 12),)


# -- tables and text: what they hold is known only when they run -------------------------------------------------------

_UNCOUNTED = ("HASHTABLE_FIND", "HASHTABLE_IMPORT", "SKIP_GRAM")
for _name in _UNCOUNTED:
    add(OpDef(f"tfl.{_name}", Kind.OPAQUE, None, None, None, "Its work depends on what a table or a text holds."))

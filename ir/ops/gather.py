"""Operators that fetch or put elements by index: an embedding reads the rows it gathers, not the table."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from ..expression import is_unknown
from ..graph import Op
from ..onnx_types import dtype_of
from ..primitives import Copy, Elementwise, Gather, Primitive, Scan
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, TensorType, Type
from .extents import has_expressions
from .reading import (
    FOLD_ELEMENTS,
    UNKNOWN_DIM,
    Array,
    constant_dims,
    constant_number,
    data_dim,
    dim_product,
    dims,
    elements,
    integer,
    largest,
    normal_axis,
    ranked,
    same_type,
    size,
    smallest,
    tensor,
    text,
    typed,
    with_shape,
)

__all__ = ["fetched_rows", "put_rows"]


def _bytes(count: int, dtype: DType) -> int:
    return (count * dtype.bits + 7) // 8


def fetched_rows(op: Op, rows: int, row_elements: int) -> Lowering:
    """Pieces of operand 0 fetched by index: no others are read."""
    dtype = tensor(op, 0).dtype
    return Lowering((Gather(rows, row_elements, dtype),), {0: _bytes(rows * row_elements, dtype)})


# -- fetching ---------------------------------------------------------------------------------------------------------


def _gather_types(op: Op) -> tuple[Type, ...] | None:
    x, indices = ranked(op, 0), ranked(op, 1)
    if x is None or indices is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    return with_shape(op, (*x[1][:axis], *indices[1], *x[1][axis + 1 :]))


def _evaluate_gather(op: Op, x: Array, indices: Array) -> Array | None:
    axis = integer(op, "axis", 0)
    if has_expressions(indices) or indices.size * max(1, x.size) > FOLD_ELEMENTS * 16:
        return None
    return np.asarray(np.take(x, indices, axis=axis), dtype=x.dtype)


@define("onnx.Gather", kind=Kind.GATHER, infer=_gather_types, evaluate=_evaluate_gather)
def gather(op: Op) -> Lowering:
    """One piece for each index and position before ``axis``."""
    shape = dims(op, 0)
    axis = normal_axis(integer(op, "axis", 0), len(shape))
    return fetched_rows(op, prod(shape[:axis]) * size(op, 1), prod(shape[axis + 1 :]))


@define("com.microsoft.TorchEmbedding", kind=Kind.GATHER, infer=_gather_types)
def torch_embedding(op: Op) -> Lowering:
    """One row for each index."""
    return gather(op)


def _indices_types(op: Op) -> tuple[Type, ...] | None:
    indices = ranked(op, 1)
    return None if indices is None else with_shape(op, indices[1])


@define(
    "onnx.GatherElements",
    kind=Kind.GATHER,
    infer=_indices_types,
    evaluate=lambda op, x, indices: np.take_along_axis(x, indices, axis=integer(op, "axis", 0)),
)
def gather_elements(op: Op) -> Lowering:
    """One element for each index."""
    return fetched_rows(op, elements(op), 1)


def _gather_nd_types(op: Op) -> tuple[Type, ...] | None:
    x, indices = ranked(op, 0), ranked(op, 1)
    if x is None or indices is None or not indices[1] or not isinstance(indices[1][-1], int):
        return None
    return with_shape(op, (*indices[1][:-1], *x[1][integer(op, "batch_dims", 0) + indices[1][-1] :]))


def _evaluate_gather_nd(op: Op, x: Array, indices: Array) -> Array | None:
    if integer(op, "batch_dims", 0) or indices.dtype == object:
        return None
    return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))], dtype=x.dtype)


@define(
    "onnx.GatherND", "com.microsoft.GatherND", kind=Kind.GATHER, infer=_gather_nd_types, evaluate=_evaluate_gather_nd
)
def gather_nd(op: Op) -> Lowering:
    """One piece for each index tuple."""
    rows = prod(dims(op, 1)[:-1])
    return fetched_rows(op, rows, elements(op) // largest(1, rows))


def _compress_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    condition = ranked(op, 1)
    tested = condition[1][0] if condition and len(condition[1]) == 1 else UNKNOWN_DIM
    if "axis" not in op.attributes:
        return with_shape(op, (_some_of(op, 0, tested, dim_product(x[1])),))
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    return with_shape(op, (*x[1][:axis], _some_of(op, axis, tested, x[1][axis]), *x[1][axis + 1 :]))


def _some_of(op: Op, axis: int, tested: Dim, extent: Dim) -> Dim:
    """As many as conditions are true: no more than there are conditions, nor elements."""
    known = [dim for dim in (tested, extent) if not is_unknown(dim)]
    return data_dim(op, axis, smallest(*known) if known else UNKNOWN_DIM)


def _kept(op: Op, rows: int, row_elements: int) -> Lowering:
    """As fetched, with as much written."""
    fetched = fetched_rows(op, rows, row_elements)
    return Lowering(fetched.primitives, fetched.reads, fetched.reads)


@define("onnx.Compress", kind=Kind.GATHER, infer=_compress_types, any_type=True)
def compress(op: Op) -> Lowering:
    """One piece for each true condition; all of them where their number is not known."""
    shape, result = dims(op, 0), op.results[0].type
    known = result.elements if isinstance(result, TensorType) else None
    kept = prod(shape) if known is None else known
    if "axis" not in op.attributes:
        return _kept(op, kept, 1)
    axis = normal_axis(integer(op, "axis", 0), len(shape))
    row = prod(shape[axis + 1 :])
    return _kept(op, kept // largest(1, row), row)


def _block_quantized_types(op: Op) -> tuple[Type, ...] | None:
    """As Gather, in the scales' type; 8-bit data of 4-bit elements hold two in each."""
    x, indices, scales = ranked(op, 0), ranked(op, 1), typed(op, 2)
    if x is None or indices is None or scales is None:
        return None
    shape, last = list(x[1]), x[1][-1]
    if x[0] is DType.UI8 and isinstance(last, int):
        shape[-1] = last * (8 // integer(op, "bits", 4))
    axis = normal_axis(integer(op, "gather_axis", 0), len(shape))
    return (TensorType(scales.dtype, (*shape[:axis], *indices[1], *shape[axis + 1 :])),)


@define("com.microsoft.GatherBlockQuantized", kind=Kind.GATHER, infer=_block_quantized_types)
def gather_block_quantized(op: Op) -> Lowering:
    """Quantised rows fetched with their scales and zero points, then expanded: subtract and scale."""
    rows, results, stored = size(op, 1), elements(op), tensor(op, 0)
    packing = 8 // integer(op, "bits", 4) if stored.dtype is DType.UI8 else 1
    whole = max(1, size(op, 0) * packing)
    tables = (index for index in (0, 2, 3) if op.operand(index) is not None)
    return Lowering(
        (
            Gather(rows, results // largest(1, rows), stored.dtype),
            Elementwise("dequantize", results, tensor(op, 2).dtype, 2),
        ),
        {index: (tensor(op, index).bytes or 0) * smallest(results, whole) // whole for index in tables},
    )


def _packed_rows_types(op: Op) -> tuple[Type, ...] | None:
    """Rows of K elements of ``output_dtype`` (com.microsoft.GatherPacked-1)."""
    indices = ranked(op, 1)
    dtype = dtype_of(integer(op, "output_dtype", _BFLOAT16))
    return None if indices is None else (TensorType(dtype, (*indices[1], integer(op, "K", 0))),)


_BFLOAT16 = 16
"""TensorProto's number of the type that GatherPacked returns unless told."""


@define("com.microsoft.GatherPacked", kind=Kind.GATHER, infer=_packed_rows_types)
def gather_packed(op: Op) -> Lowering:
    """Packed rows fetched, then expanded: subtract and scale."""
    rows, row_bytes = size(op, 1), dims(op, 0)[-1]
    expanded = Elementwise("dequantize", elements(op), dtype_of(integer(op, "output_dtype", _BFLOAT16)), 2)
    read = smallest(rows * row_bytes, size(op, 0))
    return Lowering((Gather(rows, row_bytes, tensor(op, 0).dtype), expanded), {0: read})


# -- putting ----------------------------------------------------------------------------------------------------------


def put_rows(op: Op, updates: int, rows: int) -> tuple[Primitive, ...]:
    """The operand copied, then each update put in its place, or combined with what is there."""
    dtype, count = tensor(op, 0).dtype, size(op, updates)
    combined = text(op, "reduction", "none") != "none"
    arithmetic = (Elementwise(text(op, "reduction", "none"), count, dtype),) if combined else ()
    return (Copy(elements(op), dtype), Gather(rows, count // largest(1, rows), dtype), *arithmetic)


@define("onnx.ScatterElements", "onnx.Scatter", kind=Kind.GATHER, infer=same_type, caches=((0, 0),))
def scatter_elements(op: Op) -> Iterable[Primitive]:
    """A copy, and one element put for each index."""
    return put_rows(op, 2, size(op, 2))


def _evaluate_scatter_nd(op: Op, x: Array, indices: Array, updates: Array) -> Array | None:
    if text(op, "reduction", "none") != "none" or indices.dtype == object:
        return None
    result = x.astype(object) if updates.dtype == object else x.copy()
    result[tuple(np.moveaxis(indices, -1, 0))] = updates
    return result


@define("onnx.ScatterND", kind=Kind.GATHER, infer=same_type, evaluate=_evaluate_scatter_nd, caches=((0, 0),))
def scatter_nd(op: Op) -> Iterable[Primitive]:
    """A copy, and one piece put for each index tuple."""
    return put_rows(op, 2, prod(dims(op, 1)[:-1]))


@define("onnx.TensorScatter", kind=Kind.GATHER, infer=same_type, caches=((0, 0),))
def tensor_scatter(op: Op) -> Lowering:
    """New entries written into a cache, in place as the operator's purpose is: the old ones stay where they are."""
    count, dtype = size(op, 1), tensor(op, 0).dtype
    rows = largest(1, dims(op, 1)[0])
    return Lowering((Gather(rows, count // rows, dtype),), {0: 0}, {0: _bytes(count, dtype)})


# -- finding ----------------------------------------------------------------------------------------------------------


def _one_hot_types(op: Op) -> tuple[Type, ...] | None:
    indices, values = ranked(op, 0), typed(op, 2)
    if indices is None or values is None:
        return None
    depth = constant_dims(op.operand(1))
    axis = normal_axis(integer(op, "axis", -1), len(indices[1]) + 1)
    extent: Dim = depth[0] if depth else int(constant_number(op.operand(1)) or 0) or UNKNOWN_DIM
    return (TensorType(values.dtype, (*indices[1][:axis], extent, *indices[1][axis:])),)


def _evaluate_one_hot(op: Op, indices: Array, depth: Array, values: Array) -> Array | None:
    count = int(depth.reshape(-1)[0])
    if indices.dtype == object or max(1, indices.size) * count > FOLD_ELEMENTS:
        return None
    axis = normal_axis(integer(op, "axis", -1), indices.ndim + 1)
    # What is out of range (after counting negative ones from the end) is cold everywhere.
    hot = np.expand_dims(np.where(indices < 0, indices + count, indices), axis) == np.arange(count).reshape(
        [-1] + [1] * (indices.ndim - axis)
    )
    return np.asarray(np.where(hot, values[1], values[0]), dtype=values.dtype)


@define("onnx.OneHot", kind=Kind.GATHER, infer=_one_hot_types, evaluate=_evaluate_one_hot)
def one_hot(op: Op) -> Iterable[Primitive]:
    """A fill, and one element put for each index."""
    type_ = tensor(op, 2)
    return (Copy(elements(op), type_.dtype), Gather(size(op, 0), 1, type_.dtype))


def _non_zero_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else (TensorType(DType.I64, (len(x[1]), data_dim(op, 1, dim_product(x[1])))),)


def _evaluate_non_zero(op: Op, x: Array) -> Array | None:
    return None if x.dtype == object else np.array(np.nonzero(x), dtype="int64").reshape(x.ndim, -1)


@define("onnx.NonZero", kind=Kind.SCAN, infer=_non_zero_types, evaluate=_evaluate_non_zero, any_type=True)
def non_zero(op: Op) -> Lowering:
    """One comparison for each element, each result after the one before; writes as if none were zero."""
    shape = dims(op, 0)
    most = prod(shape) * len(shape) * 8
    known = op.results[0].bytes
    return Lowering((Scan("nonzero", prod(shape), tensor(op, 0).dtype),), writes={0: most if known is None else known})


def _unique_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    shape, most, axis = list(x[1]), dim_product(x[1]), 0
    if "axis" in op.attributes:
        axis = normal_axis(integer(op, "axis", 0), len(shape))
        most = shape[axis]
        kept = shape[axis] = data_dim(op, axis, most)
    else:
        kept = data_dim(op, 0, most)
        shape = [kept]
    # First places and counts of what is kept, and between them its place for each element.
    numbers = (TensorType(DType.I64, (extent,)) for extent in (kept, most, kept)[: len(op.results) - 1])
    return (TensorType(x[0], tuple(shape)), *numbers)


@define("onnx.Unique", "com.microsoft.Unique", kind=Kind.SCAN, infer=_unique_types, any_type=True)
def unique(op: Op) -> Lowering:
    """A sort: log2(n) comparisons for each element; writes as if all were different."""
    count, dtype = size(op, 0), tensor(op, 0).dtype
    most = (_bytes(count, dtype), *(count * 8 for _ in op.results[1:]))
    sizes = zip((value.bytes for value in op.results), most, strict=True)
    return Lowering(
        (Scan("sort", count, dtype, largest(1, (count - 1).bit_length())),),
        writes={index: bound if known is None else known for index, (known, bound) in enumerate(sizes)},
    )

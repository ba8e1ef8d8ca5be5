"""Operators of TFLite that move elements without arithmetic, and views of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from ...counts import sum_of
from ...graph import Op
from ...primitives import Copy, Elementwise, Primitive
from ...registry import Kind, Lowering, define
from ...types import Dim, TensorType, Type
from ..layout import concatenation_types, copied, copied_part, permuted
from ..reading import (
    FOLD_ELEMENTS,
    UNKNOWN_DIM,
    Array,
    broadcast,
    constant_dims,
    constant_integers,
    constant_number,
    dim_product,
    dims,
    elements,
    integer,
    largest,
    normal_axis,
    ranked,
    ratio,
    result_dims,
    same_type,
    tensor,
    typed,
    view,
    with_shape,
)
from .stages import activation

__all__: list[str] = []


# -- permutations and reversals ---------------------------------------------------------------------------------------


def _transpose_types(op: Op) -> tuple[Type, ...] | None:
    x, order = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or order is None or len(order) != len(x[1]):
        return None
    return with_shape(op, tuple(x[1][axis] for axis in _permutation(order)))


def _permutation(order: Sequence[int]) -> tuple[int, ...]:
    axes = tuple(normal_axis(axis, len(order)) for axis in order)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{tuple(order)} is no permutation")
    return axes


@define("tfl.TRANSPOSE", kind=Kind.LAYOUT, infer=_transpose_types)
def transpose(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy; a view where only axes of one element change place."""
    order = constant_integers(op.operand(1))
    return copied(op) if order is None else permuted(op, _permutation(order))


@define("tfl.REVERSE_V2", "tfl.REVERSE_SEQUENCE", kind=Kind.LAYOUT, infer=same_type)
def reverse(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


def _block_types(op: Op) -> tuple[Type, ...] | None:
    x, block = ranked(op, 0), integer(op, "block_size", 1)
    if x is None or len(x[1]) != 4:
        return None
    n, *spatial, c = x[1]
    if op.base_name == "SPACE_TO_DEPTH":
        return with_shape(op, (n, *(ratio((dim,), (block,)) for dim in spatial), dim_product((c, block, block))))
    return with_shape(op, (n, *(dim_product((dim, block)) for dim in spatial), ratio((c,), (block, block))))


@define("tfl.SPACE_TO_DEPTH", "tfl.DEPTH_TO_SPACE", kind=Kind.LAYOUT, infer=_block_types)
def depth_space(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


def _batch_types(op: Op) -> tuple[Type, ...] | None:
    """Blocks go from the spatial axes into the batch after padding, or back before cropping."""
    x, block, around = ranked(op, 0), constant_integers(op.operand(1)), constant_integers(op.operand(2))
    if x is None or block is None or around is None or len(around) != 2 * len(block):
        return None
    into = op.base_name == "SPACE_TO_BATCH_ND"
    spatial = x[1][1 : 1 + len(block)]
    sizes: list[Dim] = []
    for dim, size, before, after in zip(spatial, block, around[::2], around[1::2], strict=True):
        sizes.append((dim + before + after) // size if into else dim * size - before - after)
    batch = dim_product((x[1][0], prod(block))) if into else ratio(x[1][:1], block)
    return with_shape(op, (batch, *sizes, *x[1][1 + len(block) :]))


@define("tfl.SPACE_TO_BATCH_ND", "tfl.BATCH_TO_SPACE_ND", kind=Kind.LAYOUT, infer=_batch_types)
def batch_space(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


# -- joining and cutting ----------------------------------------------------------------------------------------------


@define(
    "tfl.CONCATENATION",
    kind=Kind.LAYOUT,
    infer=lambda op: concatenation_types(op, 0),
    evaluate=lambda op, *arrays: np.concatenate(arrays, axis=integer(op, "axis", 0)),
)
def concatenation(op: Op) -> Iterable[Primitive]:
    """A copy of every operand; quantised ones have the result's scale, or the converter rescaled them."""
    shape = result_dims(op)
    rows = prod(shape[: normal_axis(integer(op, "axis", 0), len(shape))])
    return (*copied(op, elements(op) // largest(1, rows * len(op.operands))), *activation(op))


def _pack_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]) + 1)
    return with_shape(op, (*x[1][:axis], len(op.operands), *x[1][axis:]))


@define(
    "tfl.PACK",
    kind=Kind.LAYOUT,
    infer=_pack_types,
    evaluate=lambda op, *arrays: np.stack(arrays, axis=integer(op, "axis", 0)),
)
def pack(op: Op) -> Iterable[Primitive]:
    """A copy of every operand, side by side along a new axis."""
    return copied(op)


def _unpack_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    return (TensorType(x[0], (*x[1][:axis], *x[1][axis + 1 :])),) * len(op.results)


def _parts(op: Op) -> Iterable[Primitive]:
    moved = sum(elements(op, index) for index in range(len(op.results)))
    return (Copy(moved, tensor(op, len(op.operands) - 1 if op.base_name == "SPLIT" else 0).dtype),)


@define("tfl.UNPACK", kind=Kind.LAYOUT, infer=_unpack_types)
def unpack(op: Op) -> Iterable[Primitive]:
    """A copy of every part."""
    return _parts(op)


def _split(op: Op, data: int, axis_at: int, sizes: Sequence[Dim] | None) -> tuple[Type, ...] | None:
    x, given = ranked(op, data), constant_number(op.operand(axis_at))
    if x is None or given is None or (sizes is not None and len(sizes) != len(op.results)):
        return None
    axis, count = normal_axis(int(given), len(x[1])), len(op.results)
    extents = list(sizes) if sizes is not None else [ratio((x[1][axis],), (count,))] * count
    if -1 in extents:
        rest = sum_of(dim for dim in extents if dim != -1)
        extents[extents.index(-1)] = x[1][axis] - rest
    return tuple(TensorType(x[0], (*x[1][:axis], extent, *x[1][axis + 1 :])) for extent in extents)


@define("tfl.SPLIT", kind=Kind.LAYOUT, infer=lambda op: _split(op, 1, 0, None))
def split(op: Op) -> Iterable[Primitive]:
    """A copy of every part; the axis is the first operand."""
    return _parts(op)


def _split_v_types(op: Op) -> tuple[Type, ...] | None:
    sizes = constant_dims(op.operand(1))
    return None if sizes is None else _split(op, 0, 2, sizes)


@define("tfl.SPLIT_V", kind=Kind.LAYOUT, infer=_split_v_types)
def split_v(op: Op) -> Iterable[Primitive]:
    """A copy of every part."""
    return _parts(op)


def _slice_types(op: Op) -> tuple[Type, ...] | None:
    x, begin, wanted = ranked(op, 0), constant_dims(op.operand(1)), constant_dims(op.operand(2))
    if x is None:
        return None
    unknown = (UNKNOWN_DIM,) * len(x[1])
    rows = zip(x[1], begin or unknown, wanted or unknown, strict=True)
    return with_shape(op, tuple(_slice_extent(*row) for row in rows))


def _slice_extent(extent: Dim, begin: Dim, wanted: Dim) -> Dim:
    if wanted != -1:
        return wanted
    if begin == 0:
        return extent
    return extent - begin


def _evaluate_slice(op: Op, x: Array, begin: Array, wanted: Array) -> Array | None:
    starts, sizes = begin.reshape(-1).tolist(), wanted.reshape(-1).tolist()
    stops = (
        x.shape[i] if size < 0 else start + size for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    )
    return x[tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))]


@define("tfl.SLICE", kind=Kind.LAYOUT, infer=_slice_types, evaluate=_evaluate_slice)
def slice_(op: Op) -> Lowering:
    """A copy of what is kept; the rest is not read."""
    return copied_part(op, _run(op))


def _run(op: Op) -> int | None:
    """How many kept elements lie side by side, where axes are cut but none is strided or dropped."""
    shape, kept = dims(op, 0), result_dims(op)
    if len(shape) != len(kept):
        return None
    cut = next((axis for axis in reversed(range(len(kept))) if shape[axis] != kept[axis]), 0)
    return prod(kept[cut:])


# -- padding and repeating --------------------------------------------------------------------------------------------


def _pad_types(op: Op) -> tuple[Type, ...] | None:
    x, around = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or around is None or len(around) != 2 * len(x[1]):
        return None
    pairs = zip(x[1], around[::2], around[1::2], strict=True)
    return with_shape(op, tuple(dim + before + after for dim, before, after in pairs))


@define("tfl.PAD", "tfl.PADV2", "tfl.MIRROR_PAD", kind=Kind.LAYOUT, infer=_pad_types)
def pad(op: Op) -> Iterable[Primitive]:
    """A copy and a fill."""
    return copied(op)


def _dilate_types(op: Op) -> tuple[Type, ...] | None:
    x, factors = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or factors is None:
        return None
    pairs = zip(x[1], factors, strict=True)
    return with_shape(op, tuple((dim - 1) * factor + 1 for dim, factor in pairs))


@define("tfl.DILATE", kind=Kind.LAYOUT, infer=_dilate_types)
def dilate(op: Op) -> Iterable[Primitive]:
    """A copy and a fill between the elements."""
    return copied(op)


def _tile_types(op: Op) -> tuple[Type, ...] | None:
    x, repeats = ranked(op, 0), constant_dims(op.operand(1))
    if x is None or repeats is None or len(repeats) != len(x[1]):
        return None
    return with_shape(op, tuple(dim_product(pair) for pair in zip(x[1], repeats, strict=True)))


@define("tfl.TILE", kind=Kind.LAYOUT, infer=_tile_types)
def tile(op: Op) -> Iterable[Primitive]:
    """A copy to every place."""
    return copied(op)


def _broadcast_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), constant_dims(op.operand(1))
    return None if x is None or wanted is None else with_shape(op, broadcast(x[1], wanted))


@define("tfl.BROADCAST_TO", kind=Kind.LAYOUT, infer=_broadcast_types)
def broadcast_to(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy to every place; a view where nothing is repeated."""
    return view(op) if elements(op) == tensor(op, 0).elements else copied(op)


def _broadcast_args_types(op: Op) -> tuple[Type, ...] | None:
    extents = [x[1][0] for x in (ranked(op, 0), ranked(op, 1)) if x is not None and len(x[1]) == 1]
    counts = [extent for extent in extents if isinstance(extent, int)]
    return with_shape(op, (max(counts),)) if len(counts) == 2 else None


@define("tfl.BROADCAST_ARGS", kind=Kind.LAYOUT, infer=_broadcast_args_types)
def broadcast_args(op: Op) -> Iterable[Primitive]:
    """Two shapes brought to one: a comparison for each extent."""
    return (Elementwise("max", elements(op), tensor(op, 0).dtype),)


# -- fills ------------------------------------------------------------------------------------------------------------


def _filled(op: Op) -> Lowering:
    """Results written; of the operands only the shape or a scalar is read."""
    type_ = op.results[0].type
    dtype = type_.dtype if isinstance(type_, TensorType) else tensor(op, 0).dtype
    return Lowering((Copy(elements(op), dtype),), {0: 0})


@define("tfl.ZEROS_LIKE", kind=Kind.LAYOUT, infer=same_type)
def zeros_like(op: Op) -> Lowering:
    """A fill; the operand gives only its shape."""
    return _filled(op)


def _fill_types(op: Op) -> tuple[Type, ...] | None:
    shape, value = constant_dims(op.operand(0)), typed(op, 1)
    return None if shape is None or value is None else with_shape(op, shape, value.dtype)


def _evaluate_fill(op: Op, shape: Array, value: Array) -> Array | None:
    extents = [int(dim) for dim in shape.reshape(-1)]
    if prod(extents) > FOLD_ELEMENTS or min(extents, default=0) < 0:
        return None
    return np.full(extents, value.reshape(-1)[0], dtype=value.dtype)


@define("tfl.FILL", kind=Kind.LAYOUT, infer=_fill_types, evaluate=_evaluate_fill)
def fill(op: Op) -> Lowering:
    """A fill."""
    return _filled(op)


def _range_types(op: Op) -> tuple[Type, ...] | None:
    start, limit, delta = (constant_number(op.operand(index)) for index in range(3))
    if start is None or limit is None or not delta:
        return with_shape(op, (UNKNOWN_DIM,))
    return with_shape(op, (max(0, int(-(-(limit - start) // delta))),))


def _evaluate_range(op: Op, start: Array, limit: Array, delta: Array) -> Array | None:
    first, last, step = (item.reshape(-1)[0] for item in (start, limit, delta))
    if object in (start.dtype, limit.dtype, delta.dtype) or step == 0 or abs((last - first) / step) > FOLD_ELEMENTS:
        return None
    return np.arange(first, last, step, dtype=start.dtype)


@define("tfl.RANGE", kind=Kind.LAYOUT, infer=_range_types, evaluate=_evaluate_range)
def range_(op: Op) -> Lowering:
    """A fill."""
    return _filled(op)


def _diagonal_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else with_shape(op, (*x[1], x[1][-1]))


@define("tfl.MATRIX_DIAG", kind=Kind.LAYOUT, infer=_diagonal_types)
def matrix_diag(op: Op) -> Iterable[Primitive]:
    """A fill, and a copy onto the diagonal."""
    return copied(op)


@define("tfl.MATRIX_SET_DIAG", kind=Kind.LAYOUT, infer=same_type)
def matrix_set_diag(op: Op) -> Iterable[Primitive]:
    """A copy with another diagonal."""
    return copied(op)

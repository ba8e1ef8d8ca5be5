"""Operators that move elements without arithmetic: transposes, concatenations, slices, padding, broadcasts, fills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from ..counts import symbols_of
from ..expression import is_unknown
from ..graph import Op
from ..inequalities import never_negative
from ..primitives import Copy, Primitive
from ..registry import Kind, Lowering, define
from ..types import Dim, Shape, TensorType, Type
from .reading import (
    FOLD_ELEMENTS,
    UNKNOWN_DIM,
    Array,
    axes_operand,
    broadcast,
    common_dim,
    constant_dims,
    data_dim,
    dim_product,
    elements,
    integer,
    integers,
    largest,
    normal_axis,
    ranked,
    result_dims,
    same_type,
    smallest,
    tensor,
    view,
    with_shape,
)

__all__ = ["concatenated", "concatenation_types", "copied", "copied_part", "kept_indices", "permuted"]


def copied(op: Op, run: int | None = None) -> tuple[Primitive, ...]:
    """Every element of the result moved; ``run`` of them lie side by side."""
    return (Copy(elements(op), tensor(op, 0).dtype, run),)


def copied_part(op: Op, run: int | None = None) -> Lowering:
    """Only what is copied is read."""
    written = op.results[0].bytes
    return Lowering(copied(op, run), {} if written is None else {0: written})


# -- permutations -----------------------------------------------------------------------------------------------------


def _permutation(op: Op, rank: int) -> tuple[int, ...]:
    order = integers(op, "perm", tuple(reversed(range(rank))))
    if sorted(order) != list(range(rank)):
        raise ValueError(f"{order} is no permutation of {rank} axes")
    return order


def _transpose_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else with_shape(op, tuple(x[1][axis] for axis in _permutation(op, len(x[1]))))


@define(
    "onnx.Transpose",
    kind=Kind.LAYOUT,
    infer=_transpose_types,
    evaluate=lambda op, x: np.transpose(x, _permutation(op, x.ndim)),
)
def transpose(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy; a view where only axes of one element change place."""
    return permuted(op, _permutation(op, len(tensor(op, 0).dims)))


def permuted(op: Op, order: Sequence[int]) -> Lowering | Iterable[Primitive]:
    """Operand 0 with its axes in another order.

    Axes of one element count among those that it reaches over where single elements move: kernels go by the axes as
    they are written (onnxruntime takes eleven times as long), and with whole rows to move that makes no difference.
    """
    shape = tensor(op, 0).dims
    moved = [axis for axis in order if shape[axis] != 1]
    in_place = sorted(moved)
    if moved == in_place:
        return view(op)
    while moved[-1] == in_place[-1]:
        moved.pop(), in_place.pop()
    run = prod(shape[max(in_place) + 1 :])
    return (Copy(elements(op), tensor(op, 0).dtype, run, _reach(order if run == 1 else moved)),)


def _reach(order: Sequence[int]) -> int:
    """Over how many neighbouring axes a permutation reaches, those that stay together counted once."""
    rank = {axis: place for place, axis in enumerate(sorted(order))}
    places = [rank[axis] for axis in order]
    starts = [place for i, place in enumerate(places) if i == 0 or place != places[i - 1] + 1]
    group = {place: i for i, place in enumerate(sorted(starts))}
    off = [i for i, place in enumerate(starts) if group[place] != i]
    return off[-1] - off[0] + 1


def _block_types(op: Op) -> tuple[Type, ...] | None:
    x, block = ranked(op, 0), integer(op, "blocksize", 1)
    if x is None or len(x[1]) != 4:
        return None
    n, c, *spatial = x[1]
    deep = op.base_name == "SpaceToDepth"
    channels = _scaled(c, block * block, 1) if deep else _scaled(c, 1, block * block)
    return with_shape(
        op, (n, channels, *(_scaled(dim, 1, block) if deep else _scaled(dim, block, 1) for dim in spatial))
    )


def _scaled(dim: Dim, above: int, below: int) -> Dim:
    return dim * above // below


@define("onnx.DepthToSpace", "onnx.SpaceToDepth", kind=Kind.LAYOUT, infer=_block_types)
def depth_space(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


@define("onnx.ReverseSequence", kind=Kind.LAYOUT, infer=same_type)
def reverse_sequence(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


# -- joining and cutting ----------------------------------------------------------------------------------------------


def concatenated(shapes: Sequence[Shape], along_axis: int) -> Shape | None:
    """The shape of tensors joined along an axis."""
    if len({len(shape) for shape in shapes}) != 1:
        return None
    axis = normal_axis(along_axis, len(shapes[0]))
    along = [shape[axis] for shape in shapes]
    total: Dim = sum(along)
    return tuple(total if at == axis else common_dim(column) for at, column in enumerate(zip(*shapes, strict=True)))


def concatenation_types(op: Op, default_axis: int) -> tuple[Type, ...] | None:
    """Return the type of operands joined along ``axis``; ``None`` while the rank of one is not known."""
    shapes = [x[1] for x in (ranked(op, index) for index in range(len(op.operands))) if x is not None]
    if not shapes or len(shapes) != len(op.operands):
        return None
    shape = concatenated(shapes, integer(op, "axis", default_axis))
    return None if shape is None else with_shape(op, shape)


@define(
    "onnx.Concat",
    kind=Kind.LAYOUT,
    infer=lambda op: concatenation_types(op, 1),
    evaluate=lambda op, *arrays: np.concatenate(arrays, axis=integer(op, "axis", 1)),
    caches=((0, 0),),
)
def concat(op: Op) -> Iterable[Primitive]:
    """A copy of every operand."""
    shape = result_dims(op)
    rows = prod(shape[: normal_axis(integer(op, "axis", 1), len(shape))])
    return copied(op, elements(op) // largest(1, rows * len(op.operands)))


def _split_sizes(op: Op, extent: Dim, sizes: Sequence[int] | None) -> tuple[Dim, ...] | None:
    if sizes:
        return tuple(sizes)
    count = len(op.results)
    part = -(-extent // integer(op, "num_outputs", count))
    return (*(part,) * (count - 1), extent - part * (count - 1))


def _split_types(op: Op) -> tuple[Type, ...] | None:
    x, given = ranked(op, 0), axes_operand(op, "split", 1)
    if x is None or given is None:
        return None
    axis = normal_axis(integer(op, "axis", 0), len(x[1]))
    sizes = _split_sizes(op, x[1][axis], given)
    if sizes is None or len(sizes) != len(op.results):
        return None
    return tuple(TensorType(x[0], (*x[1][:axis], extent, *x[1][axis + 1 :])) for extent in sizes)


def _evaluate_split(op: Op, x: Array, sizes: Array | None = None) -> tuple[Array, ...] | None:
    axis = normal_axis(integer(op, "axis", 0), x.ndim)
    given = axes_operand(op, "split", 1) if sizes is None else tuple(int(extent) for extent in sizes)
    parts = _split_sizes(op, x.shape[axis], given)
    if parts is None:
        return None
    stops = np.cumsum([part for part in parts if isinstance(part, int)])[:-1]
    return tuple(np.split(x, stops, axis=axis))


@define("onnx.Split", kind=Kind.LAYOUT, infer=_split_types, evaluate=_evaluate_split)
def split(op: Op) -> Iterable[Primitive]:
    """A copy of every part."""
    shape, moved = result_dims(op), sum(elements(op, index) for index in range(len(op.results)))
    rows = prod(shape[: normal_axis(integer(op, "axis", 0), len(shape))])
    return (Copy(moved, tensor(op, 0).dtype, moved // largest(1, rows * len(op.results))),)


Bounds = tuple[tuple[Dim, ...] | None, tuple[Dim, ...] | None, tuple[int, ...] | None, tuple[int, ...] | None]


def _slice_bounds(op: Op, rank: int) -> Bounds:
    """Starts, ends, axes, steps: attributes before opset 10, then operands; ``None`` where not known."""
    if "starts" in op.attributes:
        starts: tuple[Dim, ...] | None = integers(op, "starts", ())
        ends: tuple[Dim, ...] | None = integers(op, "ends", ())
        return starts, ends, integers(op, "axes", range(len(starts or ()))), (1,) * len(starts or ())
    starts, ends = constant_dims(op.operand(1)), constant_dims(op.operand(2))
    count = len(starts or ends or ()) or rank
    axes = axes_operand(op, "", 3, range(count))
    steps = axes_operand(op, "", 4, (1,) * len(axes or ()))
    return starts, ends, axes, steps


def _slice_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None:
        return None
    starts, ends, axes, steps = _slice_bounds(op, len(x[1]))
    if axes is None:
        return with_shape(op, tuple(data_dim(op, axis, extent) for axis, extent in enumerate(x[1])))
    shape, unknown = list(x[1]), (UNKNOWN_DIM,) * len(axes)
    for axis, start, end, step in zip(axes, starts or unknown, ends or unknown, steps or unknown, strict=True):
        at = normal_axis(axis, len(shape))
        cut = _slice_extent(shape[at], start, end, step) if isinstance(step, int) else UNKNOWN_DIM
        shape[at] = data_dim(op, at, shape[at]) if is_unknown(cut) else cut
    return with_shape(op, tuple(shape))


_ENDLESS = 2**31 - 1
"""Bounds from here on stand for the end (or the start, where they are negative) of any tensor."""


def _slice_extent(extent: Dim, start: Dim, end: Dim, step: int) -> Dim:
    """ONNX Slice-13: negative bounds count from the end, all are clamped; unknown where bounds or their signs are."""
    if isinstance(extent, int) and isinstance(start, int) and isinstance(end, int):
        return len(kept_indices(extent, start, end, step))
    if step == 0:
        raise ValueError("a slice has no step of 0")
    lowest, highest = (0, extent) if step > 0 else (-1, extent - 1)
    first, last = _from_front(start, extent, 0, highest), _from_front(end, extent, lowest, highest)
    if step == 1 and first == 0:
        return last
    kept: Dim = largest(0, -((first - last) // step)) if step > 0 else largest(0, -((last - first) // -step))
    return kept


def _from_front(bound: Dim, extent: Dim, lowest: Dim, highest: Dim) -> Dim:
    """A bound counted from the front, within these limits."""
    if isinstance(bound, int) and abs(bound) >= _ENDLESS:
        return highest if bound > 0 else lowest
    if bound in (-1, 0, 1) and lowest == 0 and all(symbol.lower > 0 for symbol in symbols_of(extent)):
        return extent - 1 if bound == -1 else bound  # the operand has at least one element along the axis
    clamped: Dim
    if never_negative(bound):
        clamped = smallest(largest(bound, lowest), highest)
    elif never_negative(-1 - bound):
        clamped = smallest(largest(bound + extent, lowest), highest)
    else:
        clamped = UNKNOWN_DIM
    return clamped


def kept_indices(extent: int, start: int, end: int, step: int) -> range:
    """ONNX Slice-13. Unlike Python it clamps a start below 0 to the first element when counting down."""
    if step == 0:
        raise ValueError("a slice has no step of 0")
    lowest, highest = (0, extent) if step > 0 else (-1, extent - 1)
    first = min(max(start + extent if start < 0 else start, 0), highest)
    return range(first, min(max(end + extent if end < 0 else end, lowest), highest), step)


def _evaluate_slice(op: Op, x: Array, *bounds: Array | None) -> Array | None:
    if bounds:
        given = [None if item is None else [int(entry) for entry in item.reshape(-1)] for item in bounds]
        starts, ends, axes, steps = (given + [None] * 4)[:4]
    else:
        starts, ends = list(integers(op, "starts", ())), list(integers(op, "ends", ()))
        axes, steps = list(integers(op, "axes", range(len(starts)))), None
    if starts is None or ends is None:
        return None
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = normal_axis(axes[i] if axes else i, x.ndim), steps[i] if steps else 1
        x = np.take(x, kept_indices(x.shape[axis], start, end, step), axis=axis)
    return x


@define("onnx.Slice", kind=Kind.LAYOUT, infer=_slice_types, evaluate=_evaluate_slice)
def slice_(op: Op) -> Lowering:
    """A copy of what is kept; the rest is not read."""
    shape, kept = tensor(op, 0).shape or (), result_dims(op)
    _, _, axes, steps = _slice_bounds(op, len(kept))
    if len(shape) != len(kept) or axes is None or steps is None:
        return copied_part(op)
    apart = {normal_axis(axis, len(kept)) for axis, step in zip(axes, steps, strict=True) if step != 1}
    cut = next((axis for axis in reversed(range(len(kept))) if axis in apart or shape[axis] != kept[axis]), 0)
    return copied_part(op, prod(kept[cut + 1 if cut in apart else cut :]))


@define("com.microsoft.nchwc.ReorderInput", "com.microsoft.nchwc.ReorderOutput", kind=Kind.LAYOUT)
def reorder(op: Op) -> Iterable[Primitive]:
    """A copy between the plain and the blocked layout."""
    return copied(op)


# -- repeating and padding --------------------------------------------------------------------------------------------


def _expand_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), constant_dims(op.operand(1))
    return None if x is None or wanted is None else with_shape(op, broadcast(x[1], wanted))


def _evaluate_expand(op: Op, x: Array, shape: Array) -> Array | None:
    target = np.broadcast_shapes(x.shape, tuple(int(dim) for dim in shape))
    return np.broadcast_to(x, target).copy() if prod(target) <= FOLD_ELEMENTS else None


@define("onnx.Expand", kind=Kind.LAYOUT, infer=_expand_types, evaluate=_evaluate_expand)
def expand(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy to every place; a view where nothing is repeated."""
    return view(op) if elements(op) == tensor(op, 0).elements else copied(op)


def _tile_types(op: Op) -> tuple[Type, ...] | None:
    x, repeats = ranked(op, 0), constant_dims(op.operand(1))
    if x is None or repeats is None or len(repeats) != len(x[1]):
        return None
    return with_shape(op, tuple(dim_product(pair) for pair in zip(x[1], repeats, strict=True)))


def _evaluate_tile(op: Op, x: Array, repeats: Array) -> Array | None:
    times = [int(repeat) for repeat in repeats]
    return np.tile(x, times) if x.size * prod(max(1, repeat) for repeat in times) <= FOLD_ELEMENTS else None


@define("onnx.Tile", kind=Kind.LAYOUT, infer=_tile_types, evaluate=_evaluate_tile)
def tile(op: Op) -> Iterable[Primitive]:
    """A copy to every place."""
    return copied(op)


def _pad_amounts(op: Op, rank: int) -> list[tuple[int, int]] | None:
    """Before and after each axis: ``paddings`` (opset 1), ``pads`` (2), operand 1 (11), some ``axes`` (18)."""
    flat = axes_operand(op, "pads", 1, None)
    axes = axes_operand(op, "", 3, range(rank))
    if flat is None or axes is None or len(flat) != 2 * len(axes):
        return None
    amounts = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        amounts[normal_axis(axis, rank)] = (flat[i], flat[i + len(axes)])
    return amounts


def _pad_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    amounts = _pad_amounts(op, len(x[1])) if x else None
    if x is None or amounts is None:
        return None
    return with_shape(
        op,
        tuple(dim + sum(around) for dim, around in zip(x[1], amounts, strict=True)),
    )


def _evaluate_pad(
    op: Op, x: Array, pads: Array | None = None, fill: Array | None = None, *_: Array | None
) -> Array | None:
    amounts = _pad_amounts(op, x.ndim)
    if amounts is None or op.attributes.get("mode", "constant") != "constant" or any(min(pair) < 0 for pair in amounts):
        return None
    if prod(dim + sum(pair) for dim, pair in zip(x.shape, amounts, strict=True)) > FOLD_ELEMENTS:
        return None
    return np.pad(x, amounts, constant_values=0 if fill is None else fill.item())


@define("onnx.Pad", "com.microsoft.Pad", kind=Kind.LAYOUT, infer=_pad_types, evaluate=_evaluate_pad)
def pad(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy and a fill."""
    return copied(op)


def _evaluate_trilu(op: Op, x: Array, k: Array | None = None) -> Array | None:
    keep = np.triu if integer(op, "upper", 1) else np.tril
    return None if x.dtype == object else keep(x, 0 if k is None else int(k.reshape(-1)[0]))


@define("onnx.Trilu", "com.microsoft.Trilu", kind=Kind.LAYOUT, infer=same_type, evaluate=_evaluate_trilu)
def trilu(op: Op) -> Iterable[Primitive]:
    """A copy of one triangle, zeros in the other."""
    return copied(op)

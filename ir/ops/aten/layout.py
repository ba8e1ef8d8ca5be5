"""ATen's operators that move or make elements without arithmetic: copies, joins, padding, fills, ranges."""

from __future__ import annotations

from ...graph import Op
from ...primitives import Copy, Primitive
from ...registry import Kind, Lowering
from ...types import TensorType
from ..reading import dims, elements, integer, normal_axis, result_dims, tensor
from .reading import enter, result_dtype

__all__: list[str] = []


def _copy(op: Op) -> tuple[Primitive, ...]:
    return (Copy(elements(op), result_dtype(op)),)


enter(
    "clone flip fliplr flipud roll rot90 repeat tile repeat_interleave pixel_shuffle pixel_unshuffle "
    "channel_shuffle native_channel_shuffle tril triu diag diag_embed diagflat block_diag permute_copy view_copy "
    "expand_copy slice_copy transpose_copy _reshape_copy as_strided_copy unfold_copy cartesian_prod",
    Kind.LAYOUT,
    _copy,
    "A copy.",
)


def _assign(op: Op) -> Lowering:
    """Of operand 0 only the shape matters."""
    return Lowering(_copy(op), {0: 0})


enter("copy", Kind.LAYOUT, _assign, "A copy over what was there.")


def _joined(op: Op) -> tuple[Primitive, ...]:
    shape = result_dims(op)
    rows = 1
    for extent in shape[: normal_axis(integer(op, "dim", 0), len(shape))] if shape else ():
        rows *= extent
    return (Copy(elements(op), result_dtype(op), elements(op) // max(1, rows * len(op.operands))),)


enter(
    "cat concat concatenate stack hstack vstack dstack column_stack row_stack",
    Kind.LAYOUT,
    _joined,
    "A copy of every operand.",
    caches=((0, 0),),
)


def _padded(op: Op) -> tuple[Primitive, ...]:
    return _copy(op)


_PADS = " ".join(f"reflection_pad{rank}d replication_pad{rank}d" for rank in (1, 2, 3))
enter(f"pad constant_pad_nd {_PADS}", Kind.LAYOUT, _padded, "A copy and a fill.")


# -- from nothing -----------------------------------------------------------------------------------------------------


def _fill(op: Op) -> Lowering:
    """What is there gives only its shape, or is written over."""
    return Lowering(_copy(op), dict.fromkeys(range(len(op.operands)), 0))


enter(
    "full full_like zeros zeros_like ones ones_like new_full new_zeros new_ones fill zero arange range linspace "
    "logspace eye scalar_tensor randperm tril_indices triu_indices hann_window hamming_window bartlett_window "
    "blackman_window kaiser_window",
    Kind.LAYOUT,
    _fill,
    "A fill.",
)


def _empty(op: Op) -> Lowering:
    nothing = dict.fromkeys(range(len(op.operands)), 0)
    return Lowering((), nothing, dict.fromkeys(range(len(op.results)), 0))


enter(
    "empty empty_like empty_strided new_empty new_empty_strided empty_permuted", Kind.VIEW, _empty, "Memory, as it is."
)


# -- writing into a copy -------------------------------------------------------------------------------------------


def _scattered(op: Op) -> tuple[Primitive, ...]:
    part = op.operand(1)
    count = part.type.elements if part is not None and isinstance(part.type, TensorType) else 0
    return (Copy(elements(op) + (count or 0), result_dtype(op)),)


enter(
    "slice_scatter select_scatter diagonal_scatter as_strided_scatter",
    Kind.LAYOUT,
    _scattered,
    "A copy of the whole, and of the part that is put into it.",
)


def _one_hot(op: Op) -> tuple[Primitive, ...]:
    count = 1
    for extent in dims(op, 0):
        count *= extent
    return (Copy(elements(op) + count, tensor(op, 0).dtype),)


enter("one_hot", Kind.LAYOUT, _one_hot, "Zeros, and a one for each index.")

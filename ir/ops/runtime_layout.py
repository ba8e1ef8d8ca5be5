"""onnxruntime's operators that move, pad and cut (``com.microsoft``), and what is compiled for one device."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Copy, Primitive, Scan, Window
from ..registry import Kind, Lowering, OpDef, add, define
from ..types import Dim, DType, Symbol, TensorType, Type
from .reading import UNKNOWN_DIM, constant_dims, dims, elements, integer, normal_axis, ranked, tensor, with_shape

__all__: list[str] = []


def _without_padding(op: Op) -> tuple[Type, ...] | None:
    """How many tokens are no padding depends on data: at most all."""
    x = ranked(op, 0)
    if x is None or len(x[1]) != 3:
        return None
    whole = x[1][0] * x[1][1]
    tokens = Symbol(f'tokens of "{op.label}"', 0, whole) if not isinstance(whole, int) or whole else 0
    offsets, starts = TensorType(DType.I32, x[1][:2]), TensorType(DType.I32, (x[1][0] + 1,))
    types = (TensorType(x[0], (tokens, x[1][2])), offsets, starts, TensorType(DType.I32, (1,)))
    return types[: len(op.results)]


@define("com.microsoft.RemovePadding", kind=Kind.LAYOUT, infer=_without_padding, any_type=True)
def remove_padding(op: Op) -> Lowering:
    """A copy of the tokens that are no padding: at most all of them."""
    type_ = tensor(op, 0)
    moved = type_.bytes or 0
    return Lowering((Copy(type_.elements or 0, type_.dtype),), {0: moved}, {0: moved})


def _with_padding(op: Op) -> tuple[Type, ...] | None:
    x, offsets = ranked(op, 0), ranked(op, 1)
    return None if x is None or offsets is None else (TensorType(x[0], (*offsets[1], x[1][-1])),)


@define("com.microsoft.RestorePadding", kind=Kind.LAYOUT, infer=_with_padding, any_type=True)
def restore_padding(op: Op) -> Lowering:
    """A copy of the tokens to their places, zeros elsewhere."""
    type_ = op.results[0].type
    written = elements(op)
    return Lowering((Copy(written, tensor(op, 0).dtype),), {}, {0: (getattr(type_, "bytes", None) or 0)})


def _unfold_types(op: Op) -> tuple[Type, ...] | None:
    """(extent − size) / step + 1 slices, each ``size`` long in a new last axis (com.microsoft.UnfoldTensor-1)."""
    x = ranked(op, 0)
    if x is None:
        return None
    axis, length, step = normal_axis(integer(op, "dim", -1), len(x[1])), integer(op, "size", 1), integer(op, "step", 1)
    slices: Dim = (x[1][axis] - length) // step + 1
    return with_shape(op, (*x[1][:axis], slices, *x[1][axis + 1 :], length))


@define("com.microsoft.UnfoldTensor", kind=Kind.LAYOUT, infer=_unfold_types)
def unfold_tensor(op: Op) -> Iterable[Primitive]:
    """A copy of each slice."""
    return (Copy(elements(op), tensor(op, 0).dtype),)


def _crop_types(op: Op) -> tuple[Type, ...] | None:
    x, boxes, crop = ranked(op, 0), ranked(op, 1), constant_dims(op.operand(3))
    if x is None or boxes is None:
        return None
    return with_shape(op, (boxes[1][0], x[1][1], *(crop or (UNKNOWN_DIM, UNKNOWN_DIM))))


@define("com.microsoft.CropAndResize", kind=Kind.WINDOW, infer=_crop_types)
def crop_and_resize(op: Op) -> Iterable[Primitive]:
    """Each result interpolated between four neighbours."""
    return (Window("bilinear", elements(op), 4, tensor(op, 0).dtype),)


@define("com.microsoft.Tokenizer", kind=Kind.SCAN, any_type=True)
def tokenizer(op: Op) -> Iterable[Primitive]:
    """A pass over the operand's strings: counted as one operation each."""
    return (Scan("tokenize", tensor(op, 0).elements or 0, DType.STRING),)


def _path_types(op: Op) -> tuple[Type, ...] | None:
    """Two rows of indices: a path from corner to corner is at most as long as both sides together."""
    x = ranked(op, 0)
    if x is None:
        return None
    return (TensorType(DType.I32, (2, Symbol(f'path of "{op.label}"', 1, x[1][-2] + x[1][-1]))),)


@define("com.microsoft.DynamicTimeWarping", kind=Kind.SCAN, infer=_path_types, any_type=True)
def dynamic_time_warping(op: Op) -> Lowering:
    """For each place the least of three costs so far, and a sum; then back along the best path."""
    rows = dims(op, 0)
    path = (rows[-2] + rows[-1]) * 2 * DType.I32.bits // 8
    return Lowering((Scan("warp", prod(rows), tensor(op, 0).dtype, 3),), {}, {0: path})


for _name in ("EPContext", "Snpe"):
    add(OpDef(f"com.microsoft.{_name}", Kind.OPAQUE, doc="A network compiled for one device: nothing of it is known."))

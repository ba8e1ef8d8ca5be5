"""StableHLO operators inside TFLite files: the same work under another framework's names.

Their result types stand in the file. A reduction's work for each element is that of the subgraph it applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from ...graph import Op
from ...primitives import Conv, Copy, Elementwise, Gather, Gemm, Primitive, Reduction, Scan, Window, flops
from ...registry import Kind, Lowering, OpDef, add, define, lowering
from ...types import DType, TensorType, Type
from ..elementwise import broadcast_types
from ..layout import copied, copied_part, permuted
from ..reading import (
    compute_dtype,
    constant_integers,
    dims,
    elements,
    integer,
    integers,
    is_constant,
    largest,
    normal_axis,
    ranked,
    result_dims,
    same_type,
    size,
    tensor,
    view,
    with_shape,
)
from .elementwise import elementwise_op
from .stages import result_type, unary_ops

__all__: list[str] = []

_ELEMENTWISE: Mapping[str, tuple[int, int]] = {
    "ABS": (unary_ops("Abs"), 1),
    "ADD": (1, 2),
    "AND": (1, 2),
    "CBRT": (1, 1),
    "CLAMP": (2, 3),
    "COSINE": (unary_ops("Cos"), 1),
    "DIVIDE": (1, 2),
    "EXPONENTIAL": (unary_ops("Exp"), 1),
    "FLOOR": (unary_ops("Floor"), 1),
    "LOG": (unary_ops("Log"), 1),
    "LOGISTIC": (unary_ops("Sigmoid"), 1),
    "MAXIMUM": (1, 2),
    "MINIMUM": (1, 2),
    "MULTIPLY": (1, 2),
    "NEGATE": (unary_ops("Neg"), 1),
    "OR": (1, 2),
    "POWER": (1, 2),
    "REMAINDER": (3, 2),  # divide, multiply, subtract
    "RSQRT": (2, 1),  # root, division
    "SHIFT_LEFT": (1, 2),
    "SUBTRACT": (1, 2),
    "TANH": (unary_ops("Tanh"), 1),
}


def _register(name: str, per_element: int, operands: int) -> None:
    def lower(op: Op) -> Iterable[Primitive]:
        return elementwise_op(op, per_element, operands)

    doc = f"{per_element} operation{'s' * (per_element > 1)} per element of {operands} operand(s)."
    add(OpDef(f"tfl.STABLEHLO_{name}", Kind.ELEMENTWISE, lower, broadcast_types, None, doc))


for _name, (_per_element, _operands) in _ELEMENTWISE.items():
    _register(_name, _per_element, _operands)


@define("tfl.STABLEHLO_COMPARE", kind=Kind.ELEMENTWISE, infer=lambda op: broadcast_types(op, DType.BOOL))
def compare(op: Op) -> Iterable[Primitive]:
    """One comparison per element."""
    return (Elementwise("compare", elements(op), compute_dtype(op)),)


@define("tfl.STABLEHLO_SELECT", kind=Kind.ELEMENTWISE)
def select(op: Op) -> Iterable[Primitive]:
    """One selection per element."""
    return (Elementwise("select", elements(op), tensor(op, 1).dtype),)


@define("tfl.STABLEHLO_CONVERT", kind=Kind.ELEMENTWISE)
def convert(op: Op) -> Lowering | Iterable[Primitive]:
    """One conversion per element; nothing where the type stays."""
    if result_type(op).dtype is tensor(op, 0).dtype:
        return view(op)
    return (Elementwise("cast", elements(op), tensor(op, 0).dtype),)


@define("tfl.STABLEHLO_IOTA", kind=Kind.LAYOUT)
def iota(op: Op) -> Iterable[Primitive]:
    """A fill."""
    return (Copy(elements(op), result_type(op).dtype),)


# -- products ---------------------------------------------------------------------------------------------------------


@define("tfl.STABLEHLO_DOT_GENERAL", kind=Kind.CONTRACTION)
def dot_general(op: Op) -> Iterable[Primitive]:
    """A batch of matrix products over the contracted axes of both sides."""
    a, b = dims(op, 0), dims(op, 1)
    batch, contracted = integers(op, "lhs_batching_dimensions", ()), integers(op, "lhs_contracting_dimensions", ())
    shared = {*integers(op, "rhs_batching_dimensions", ()), *integers(op, "rhs_contracting_dimensions", ())}
    rows = prod(dim for axis, dim in enumerate(a) if axis not in (*batch, *contracted))
    columns = prod(dim for axis, dim in enumerate(b) if axis not in shared)
    inner, times = prod(a[axis] for axis in contracted), prod(a[axis] for axis in batch)
    return (Gemm(rows, columns, inner, tensor(op, 0).dtype, times, is_constant(op, 0, 1)),)


@define("tfl.STABLEHLO_CONVOLUTION", kind=Kind.CONTRACTION)
def convolution(op: Op) -> Iterable[Primitive]:
    """A convolution whose axes the options name; a dilated operand makes it a transposed one."""
    x, w, y = dims(op, 0), dims(op, 1), result_dims(op)
    rank = len(x) - 2
    spatial = integers(op, "input_spatial_dimensions", ())
    dilated = integers(op, "lhs_dilation", (1,) * rank)
    main = Conv(
        batch=y[integer(op, "output_batch_dimension", 0)],
        in_channels=x[integer(op, "input_feature_dimension", 0)],
        out_channels=y[integer(op, "output_feature_dimension", 0)],
        in_size=tuple(x[axis] for axis in spatial),
        out_size=tuple(y[axis] for axis in integers(op, "output_spatial_dimensions", ())),
        kernel=tuple(w[axis] for axis in integers(op, "kernel_spatial_dimensions", ())),
        dtype=tensor(op, 0).dtype,
        strides=integers(op, "window_strides", (1,) * rank),
        dilations=integers(op, "rhs_dilation", (1,) * rank),
        groups=integer(op, "feature_group_count", 1),
        transposed=any(factor > 1 for factor in dilated),
    )
    return (main,)


# -- moving -----------------------------------------------------------------------------------------------------------


@define("tfl.STABLEHLO_RESHAPE", kind=Kind.VIEW)
def reshape(op: Op) -> Lowering:
    """A view."""
    return view(op)


@define("tfl.STABLEHLO_CONCATENATE", "tfl.STABLEHLO_PAD", "tfl.STABLEHLO_BROADCAST_IN_DIM", kind=Kind.LAYOUT)
def move(op: Op) -> Iterable[Primitive]:
    """A copy."""
    return copied(op)


@define("tfl.STABLEHLO_SLICE", "tfl.STABLEHLO_DYNAMIC_SLICE", kind=Kind.LAYOUT)
def slice_(op: Op) -> Lowering:
    """A copy of what is kept; the rest is not read."""
    return copied_part(op)


def _transpose_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else with_shape(op, tuple(x[1][axis] for axis in integers(op, "permutation", ())))


@define("tfl.STABLEHLO_TRANSPOSE", kind=Kind.LAYOUT, infer=_transpose_types)
def transpose(op: Op) -> Lowering | Iterable[Primitive]:
    """A copy; a view where only axes of one element change place."""
    order = integers(op, "permutation", ())
    if sorted(order) != list(range(len(dims(op, 0)))):
        raise ValueError(f"{order} is no permutation of {len(dims(op, 0))} axes")
    return permuted(op, order)


@define("tfl.STABLEHLO_DYNAMIC_UPDATE_SLICE", kind=Kind.GATHER, infer=same_type)
def dynamic_update_slice(op: Op) -> Iterable[Primitive]:
    """A copy, and the update put in its place row by row."""
    rows, dtype = prod(dims(op, 1)[:-1]), tensor(op, 0).dtype
    return (Copy(elements(op), dtype), Gather(rows, size(op, 1) // largest(1, rows), dtype))


@define("tfl.STABLEHLO_GATHER", kind=Kind.GATHER)
def gather(op: Op) -> Lowering:
    """One piece for each index tuple."""
    piece = prod(integers(op, "slice_sizes", ()))
    count, dtype = elements(op), tensor(op, 0).dtype
    fetched = Gather(count // largest(1, piece), piece, dtype)
    return Lowering((fetched,), {0: min((count * dtype.bits + 7) // 8, tensor(op, 0).bytes or 0)})


# -- with a subgraph for each element ----------------------------------------------------------------------------------


def _applied(op: Op) -> int:
    """Operations of the subgraph that joins two elements."""
    if not op.regions:
        raise ValueError("it names no subgraph to apply")
    return max(1, sum(flops(primitive) for inner in op.regions[0].body for primitive in lowering(inner).primitives))


def _scalars(op: Op) -> list[list[Type | None]]:
    """A subgraph that joins elements takes scalars, whatever the operands are."""
    return [[TensorType(DType.UNKNOWN, ()) for _ in region.inputs] for region in op.regions]


@define("tfl.STABLEHLO_REDUCE", kind=Kind.REDUCTION, enter=_scalars)
def reduce(op: Op) -> Iterable[Primitive]:
    """The subgraph for each element of every operand but the initial values."""
    per_element = _applied(op)
    operands = len(op.operands) // 2
    return tuple(
        Reduction("reduce", size(op, i), elements(op, i), tensor(op, i).dtype, per_element if i == 0 else 0)
        for i in range(operands)
    )


@define("tfl.STABLEHLO_REDUCE_WINDOW", kind=Kind.WINDOW, enter=_scalars)
def stablehlo_reduce_window(op: Op) -> Iterable[Primitive]:
    """The subgraph for each element of each window."""
    window = prod(integers(op, "window_dimensions", ())) * _applied(op)
    return (Window("reduce", elements(op), window, tensor(op, 0).dtype),)


@define("tfl.REDUCE_WINDOW", kind=Kind.WINDOW)
def reduce_window(op: Op) -> Iterable[Primitive]:
    """One operation for each element of each window; its extents are operand 2."""
    window = constant_integers(op.operand(2))
    if window is None:
        raise ValueError("the extents of its window are known only when it runs")
    return (Window("reduce", elements(op), prod(window), tensor(op, 0).dtype),)


@define("tfl.STABLEHLO_SCATTER", kind=Kind.GATHER, infer=same_type, enter=_scalars)
def scatter(op: Op) -> Iterable[Primitive]:
    """A copy, and the subgraph for each update and what it meets."""
    updates, dtype = size(op, 2), tensor(op, 0).dtype
    window = [dims(op, 2)[axis] for axis in integers(op, "update_window_dims", ())]
    row = prod(window)
    joined = Elementwise("scatter", updates, dtype, _applied(op)) if op.regions[0].body else None
    put = (Copy(elements(op), dtype), Gather(updates // largest(1, row), row, dtype))
    return (*put, joined) if joined else put


@define("tfl.STABLEHLO_SORT", kind=Kind.SCAN, enter=_scalars)
def sort(op: Op) -> Iterable[Primitive]:
    """log2(n) comparisons for each element along the sorted axis."""
    shape = dims(op, 0)
    extent = shape[normal_axis(integer(op, "dimension", -1), len(shape))]
    return (Scan("sort", prod(shape), tensor(op, 0).dtype, largest(1, (extent - 1).bit_length()) * _applied(op)),)

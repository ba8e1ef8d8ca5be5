"""Operators that make each result from a window of their operand: pools, interpolation, regions of interest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import prod

from ..expression import Expression
from ..graph import Op
from ..primitives import Copy, Elementwise, Primitive, Scan, Window
from ..registry import Kind, Lowering, OpDef, add, define
from ..types import Dim, DType, Shape, TensorType, Type
from .contraction import REQUANTIZE_OPS, window_output
from .reading import (
    UNKNOWN_DIM,
    axes_operand,
    constant_dims,
    constant_integers,
    data_dim,
    dims,
    elements,
    integer,
    integers,
    largest,
    normal_axis,
    ranked,
    result_dims,
    size,
    smallest,
    tensor,
    text,
    typed,
    with_shape,
)

__all__ = ["interpolated"]

# -- pools ------------------------------------------------------------------------------------------------------------


def _pool_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    kernel = integers(op, "kernel_shape", ())
    if x is None or len(x[1]) != len(kernel) + 2:
        return None
    shape = (*x[1][:2], *window_output(op, x[1][2:], kernel))
    return (TensorType(x[0], shape), TensorType(DType.I64, shape))[: len(op.results)]


def _global_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    return None if x is None else with_shape(op, (*x[1][:2], *(1 for _ in x[1][2:])))


def _pool(function: str, per_element: int) -> Callable[[Op], Iterable[Primitive]]:
    def lower(op: Op) -> Iterable[Primitive]:
        window = prod(integers(op, "kernel_shape", ())) * per_element
        return (Window(function, elements(op), window, tensor(op, 0).dtype),)

    return lower


def _global_pool(function: str, per_element: int) -> Callable[[Op], Iterable[Primitive]]:
    def lower(op: Op) -> Iterable[Primitive]:
        window = prod(dims(op, 0)[2:]) * per_element
        return (Window(function, elements(op), window, tensor(op, 0).dtype),)

    return lower


# Operations per element of the window: a maximum or a sum one (the division goes with the first element, which needs no
# sum); an Lp norm a power and a sum.
_POOLS = (("AveragePool", "average", 1), ("MaxPool", "max", 1), ("LpPool", "lp", 2))
for _name, _function, _per_element in _POOLS:
    _doc = f"{_per_element} operation(s) per element of each window."
    add(OpDef(f"onnx.{_name}", Kind.WINDOW, _pool(_function, _per_element), _pool_types, None, _doc))
    _global = f"onnx.Global{_name}"
    add(OpDef(_global, Kind.WINDOW, _global_pool(_function, _per_element), _global_types, None, _doc))
for _name, _function, _per_element in _POOLS[:2]:  # blocked layout: NCHWc
    _doc = f"{_per_element} operation(s) per element of each window."
    _blocked = "com.microsoft.nchwc."
    add(OpDef(f"{_blocked}{_name}", Kind.WINDOW, _pool(_function, _per_element), _pool_types, None, _doc))
    _global_lower = _global_pool(_function, _per_element)
    add(OpDef(f"{_blocked}Global{_name}", Kind.WINDOW, _global_lower, _global_types, None, _doc))
add(
    OpDef(
        "com.microsoft.MaxpoolWithMask",
        Kind.WINDOW,
        _pool("max", 1),
        _pool_types,
        None,
        "MaxPool of what a mask keeps.",
    )
)


def _unpool_types(op: Op) -> tuple[Type, ...] | None:
    """ONNX MaxUnpool-22: the shape that MaxPool came from, or the one that operand 2 gives."""
    x, wanted = ranked(op, 0), constant_dims(op.operand(2))
    if x is None or (wanted is None and op.operand(2) is not None):
        return None
    if wanted is not None:
        return with_shape(op, wanted if len(wanted) == len(x[1]) else (*x[1][:2], *wanted))
    kernel, rank = integers(op, "kernel_shape", ()), len(x[1]) - 2
    strides, pads = integers(op, "strides", (1,) * rank), integers(op, "pads", (0,) * (2 * rank))
    sizes = ((extent - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank] for i, extent in enumerate(x[1][2:]))
    return with_shape(op, (*x[1][:2], *sizes))


@define("onnx.MaxUnpool", kind=Kind.WINDOW, infer=_unpool_types)
def max_unpool(op: Op) -> Iterable[Primitive]:
    """Zeros, and each element put where its maximum came from."""
    return (Copy(elements(op) + size(op, 0), tensor(op, 0).dtype),)


@define("onnx.LRN", kind=Kind.WINDOW, infer=lambda op: None if (x := typed(op, 0)) is None else (x,))
def lrn(op: Op) -> Iterable[Primitive]:
    """Squares summed over ``size`` channels (two each); scale, add, power, divide and the product with alpha / size."""
    dtype, results = tensor(op, 0).dtype, elements(op)
    return (Window("lrn", results, 2 * integer(op, "size", 1), dtype), Elementwise("lrn", results, dtype, 4))


def _channels_last_pool_types(op: Op, kernel: tuple[int, ...]) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None or len(x[1]) != len(kernel) + 2:
        return None
    return with_shape(op, (x[1][0], *window_output(op, x[1][1:-1], kernel), x[1][-1]))


@define(
    "com.microsoft.NhwcMaxPool",
    kind=Kind.WINDOW,
    infer=lambda op: _channels_last_pool_types(op, integers(op, "kernel_shape", ())),
)
def nhwc_max_pool(op: Op) -> Iterable[Primitive]:
    """MaxPool with its channels last."""
    return _pool("max", 1)(op)


def _qlinear_pool_types(op: Op) -> tuple[Type, ...] | None:
    x, last = ranked(op, 0), integer(op, "channels_last", 0)
    if x is None:
        return None
    if op.base_name == "QLinearGlobalAveragePool":
        ones = (1,) * (len(x[1]) - 2)
        return with_shape(op, (x[1][0], *ones, x[1][-1]) if last else (*x[1][:2], *ones))
    return _channels_last_pool_types(op, integers(op, "kernel_shape", ())) if last else _pool_types(op)


@define(
    "com.microsoft.QLinearAveragePool",
    "com.microsoft.QLinearGlobalAveragePool",
    kind=Kind.WINDOW,
    infer=_qlinear_pool_types,
)
def qlinear_average_pool(op: Op) -> Iterable[Primitive]:
    """An integer average whose results are requantised."""
    kernel = integers(op, "kernel_shape", ())
    x = dims(op, 0)
    spatial = x[1:-1] if integer(op, "channels_last", 0) else x[2:]
    window = prod(kernel) if kernel else prod(spatial)
    results = elements(op)
    return (
        Window("average", results, window, tensor(op, 0).dtype),
        Elementwise("requantize", results, DType.I32, REQUANTIZE_OPS),
    )


# -- interpolation -----------------------------------------------------------------------------------------------------


_EXACT_SCALE = 1024
"""Denominators of scales that floating-point numbers hold exactly, such as 1/2 and 3/8."""


def _scaled_extent(extent: Dim, scale: float) -> Dim:
    """ONNX Resize-19: floor(input · scale)."""
    if isinstance(extent, int):
        return int(extent * scale)
    exact = Fraction(scale)
    # Another scale is a rounded one, whose product with an extent depends on how the runtime rounds.
    return extent * exact.numerator // exact.denominator if exact.denominator <= _EXACT_SCALE else UNKNOWN_DIM


def _numbers(op: Op, index: int) -> tuple[float, ...] | None:
    value = op.operand(index)
    dense = value.constant if value is not None else None
    if dense is None or dense.open:
        return None
    return tuple(float(item) for item in dense.values if not isinstance(item, str | Expression))


def _resize_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None or text(op, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    rank = len(x[1])
    axes = tuple(normal_axis(axis, rank) for axis in integers(op, "axes", range(rank)))
    sizes, shape = constant_dims(op.operand(3)), list(x[1])
    first = 2 if len(op.operands) > 2 else 1  # Resize-10 has no regions of interest: its scales come second
    scales = _numbers(op, first)
    if sizes and len(sizes) == len(axes):
        for axis, extent in zip(axes, sizes, strict=True):
            shape[axis] = extent
    elif scales and len(scales) == len(axes):
        for axis, scale in zip(axes, scales, strict=True):
            shape[axis] = _scaled_extent(shape[axis], scale)
    else:
        return None
    return with_shape(op, tuple(shape))


def interpolated(op: Op, mode: str) -> Iterable[Primitive]:
    """One result from 1, 2 or 4 neighbours along each resized axis; a multiplication and an addition for each.

    The nearest neighbour is a copy, and so is what has the size already.
    """
    x, y, dtype = dims(op, 0), result_dims(op), tensor(op, 0).dtype
    resized = sum(before != after for before, after in zip(x, y, strict=True))
    if mode == "nearest" or not resized:
        return (Copy(prod(y), dtype),)
    neighbours = (4 if mode == "cubic" else 2) ** resized
    return (Window(mode, prod(y), 2 * neighbours, dtype),)


@define("onnx.Resize", kind=Kind.WINDOW, infer=_resize_types)
def resize(op: Op) -> Iterable[Primitive]:
    """Interpolation; the nearest neighbour is a copy."""
    return interpolated(op, text(op, "mode", "nearest"))


def _upsample_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    attribute = op.attributes.get("scales")
    scales: Sequence[float] | None = _numbers(op, 1)
    if isinstance(attribute, tuple):
        scales = [float(item) for item in attribute if isinstance(item, (int, float))]
    if x is None or scales is None or len(scales) != len(x[1]):
        return None
    shape = tuple(_scaled_extent(extent, scale) for extent, scale in zip(x[1], scales, strict=True))
    return with_shape(op, shape)


@define("com.microsoft.nchwc.Upsample", kind=Kind.WINDOW)
def blocked_upsample(op: Op) -> Iterable[Primitive]:
    """Interpolation in the blocked layout."""
    return interpolated(op, text(op, "mode", "nearest"))


@define("onnx.Upsample", kind=Kind.WINDOW, infer=_upsample_types)
def upsample(op: Op) -> Iterable[Primitive]:
    """Interpolation; the nearest neighbour is a copy."""
    return interpolated(op, text(op, "mode", "nearest"))


_GRID_NEIGHBOURS = {"nearest": 1, "bilinear": 2, "linear": 2, "bicubic": 4, "cubic": 4}


def _grid_types(op: Op) -> tuple[Type, ...] | None:
    x, grid = ranked(op, 0), ranked(op, 1)
    return None if x is None or grid is None else with_shape(op, (*x[1][:2], *grid[1][1:-1]))


@define("onnx.GridSample", "com.microsoft.GridSample", kind=Kind.WINDOW, infer=_grid_types)
def grid_sample(op: Op) -> Iterable[Primitive]:
    """Interpolation at the places that the grid names: coordinates scaled (two each), then neighbours."""
    mode, dtype = text(op, "mode", "linear"), tensor(op, 0).dtype
    if mode not in _GRID_NEIGHBOURS:
        raise ValueError(f"no mode {mode!r}")
    neighbours = _GRID_NEIGHBOURS[mode] ** (len(dims(op, 0)) - 2)
    return (Elementwise("grid", size(op, 1), dtype, 2), Window(mode, elements(op), 2 * neighbours, dtype))


@define("onnx.AffineGrid", kind=Kind.WINDOW)
def affine_grid(op: Op) -> Iterable[Primitive]:
    """An affine map of each grid point: a product and a sum for each coordinate, and the translation."""
    coordinates = result_dims(op)[-1]
    return (Elementwise("affine_grid", elements(op), tensor(op, 0).dtype, 2 * coordinates),)


# -- regions ----------------------------------------------------------------------------------------------------------


def _roi_types(op: Op) -> tuple[Type, ...] | None:
    x, rois = ranked(op, 0), ranked(op, 1)
    pooled = integers(op, "pooled_shape", (integer(op, "output_height", 1), integer(op, "output_width", 1)))
    return None if x is None or rois is None else with_shape(op, (rois[1][0], x[1][1], *pooled))


@define("onnx.MaxRoiPool", kind=Kind.WINDOW, infer=_roi_types)
def max_roi_pool(op: Op) -> Iterable[Primitive]:
    """A maximum of each cell of each region; taken as if a region covered the whole image, the most there can be."""
    x, y = dims(op, 0), result_dims(op)
    cell = largest(1, -(-prod(x[2:]) // largest(1, prod(y[2:]))))
    return (Window("max", prod(y), cell, tensor(op, 0).dtype),)


@define("onnx.RoiAlign", kind=Kind.WINDOW, infer=_roi_types)
def roi_align(op: Op) -> Lowering:
    """Bilinear samples of each cell: four products and sums, and one for the pool.

    Without ``sampling_ratio`` their number depends on the regions: taken as if one covered the whole image.
    """
    x, y, ratio = dims(op, 0), result_dims(op), integer(op, "sampling_ratio", 0)
    samples = (
        ratio**2 if ratio > 0 else prod(-(-whole // largest(1, cell)) for whole, cell in zip(x[2:], y[2:], strict=True))
    )
    dtype = tensor(op, 0).dtype
    return Lowering((Window("roi_align", prod(y), 9 * samples, dtype),))


@define("onnx.Col2Im", kind=Kind.WINDOW)
def col2im(op: Op) -> Iterable[Primitive]:
    """Blocks added where they overlap: one addition for each element of the columns."""
    return (Elementwise("add", size(op, 0), tensor(op, 0).dtype),)


def _suppressed_types(op: Op) -> tuple[Type, ...]:
    """At most the allowed number of boxes for each class of each image, and no more than there are."""
    scores, limit = ranked(op, 1), constant_integers(op.operand(2))
    most: Dim = UNKNOWN_DIM
    if op.operand(2) is None:
        most = 0
    elif scores is not None and len(scores[1]) == 3:
        batches, classes, boxes = scores[1]
        most = batches * classes * (smallest(boxes, max(0, limit[0])) if limit else boxes)
    return (TensorType(DType.I64, (data_dim(op, 0, most), 3)),)


@define(
    "onnx.NonMaxSuppression",
    kind=Kind.SCAN,
    infer=lambda op: _suppressed_types(op),
    any_type=True,
)
def non_max_suppression(op: Op) -> Lowering:
    """Sort the scores, then compare each kept box (four corners, two areas, a quotient) with those after it.

    How many are kept is known only afterwards: counted as if the largest allowed number were.
    """
    batches, classes, boxes = dims(op, 1)
    limit = constant_integers(op.operand(2))
    kept = smallest(boxes, limit[0]) if limit else 0
    dtype = tensor(op, 0).dtype
    lists = batches * classes
    known = op.results[0].bytes
    return Lowering(
        (
            Scan("sort", lists * boxes, dtype, largest(1, (boxes - 1).bit_length())),
            Scan("suppress", lists * boxes * kept, dtype, 12),
        ),
        writes={0: lists * kept * 3 * 8 if known is None else known},
    )


def _crop_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), axes_operand(op, "shape", 1, None)
    if x is None or wanted is None:
        return None
    shape: list[Dim] = list(x[1])
    axes = integers(op, "axes", range(len(shape)))
    for axis, extent in zip(axes, wanted, strict=True):
        shape[normal_axis(axis, len(shape))] = extent
    return with_shape(op, tuple(shape))


@define("onnx.CenterCropPad", kind=Kind.LAYOUT, infer=_crop_types)
def center_crop_pad(op: Op) -> Lowering:
    """A copy of the middle; what lies outside is not read."""
    x, y, dtype = dims(op, 0), result_dims(op), tensor(op, 0).dtype
    common = prod(smallest(before, after) for before, after in zip(x, y, strict=True))
    return Lowering((Copy(prod(y), dtype),), {0: (common * dtype.bits + 7) // 8})


def _image_shape(op: Op) -> Shape:
    return (UNKNOWN_DIM, UNKNOWN_DIM, 1 if text(op, "pixel_format", "RGB") == "Grayscale" else 3)


@define("onnx.ImageDecoder", kind=Kind.SCAN, infer=lambda op: (TensorType(DType.UI8, _image_shape(op)),))
def image_decoder(op: Op) -> Iterable[Primitive]:
    """Entropy decoding and an inverse transform: about ten operations for each sample."""
    return (Scan("decode", elements(op), DType.UI8, 10),)

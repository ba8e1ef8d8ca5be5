"""ATen's pools, interpolation and the regions of torchvision's detectors."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Copy, Elementwise, Primitive, Scan, Window
from ...registry import Kind, Lowering, OpDef, add
from ..reading import dims, elements, integer, result_dims, size, tensor
from .reading import enter, spread

__all__: list[str] = []


# -- pools ------------------------------------------------------------------------------------------------------------


def _pool(function: str, rank: int, per_element: int = 1) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        window = prod(spread(op, "kernel_size", rank)) * per_element
        return (Window(function, elements(op), window, tensor(op, 0).dtype),)

    return lower


def _adaptive(function: str, rank: int) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        """Windows cover the operand: where sizes do not divide they overlap by one."""
        x, y = dims(op, 0)[-rank:], result_dims(op)[-rank:]
        window = prod(-(-whole // max(1, cells)) for whole, cells in zip(x, y, strict=True))
        return (Window(function, elements(op), window, tensor(op, 0).dtype),)

    return lower


_DOC = "One operation for each element of each window."
for _rank in (1, 2, 3):
    enter(f"avg_pool{_rank}d", Kind.WINDOW, _pool("average", _rank), _DOC)
    enter(f"max_pool{_rank}d max_pool{_rank}d_with_indices", Kind.WINDOW, _pool("max", _rank), _DOC)
    enter(f"adaptive_avg_pool{_rank}d", Kind.WINDOW, _adaptive("average", _rank), _DOC)
    enter(f"adaptive_max_pool{_rank}d", Kind.WINDOW, _adaptive("max", _rank), _DOC)
for _rank in (2, 3):
    enter(f"fractional_max_pool{_rank}d", Kind.WINDOW, _pool("max", _rank), _DOC)
    enter(f"_adaptive_avg_pool{_rank}d", Kind.WINDOW, _adaptive("average", _rank), _DOC)


def _unpool(op: Op) -> tuple[Primitive, ...]:
    return (Copy(elements(op) + size(op, 0), tensor(op, 0).dtype),)


enter("max_unpool2d max_unpool3d", Kind.WINDOW, _unpool, "Zeros, and each element put where its maximum came from.")


# -- interpolation ----------------------------------------------------------------------------------------------------


def _nearest(op: Op) -> tuple[Primitive, ...]:
    return (Copy(elements(op), tensor(op, 0).dtype),)


def _interpolated(mode: str, neighbours: int) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        x, y = dims(op, 0), result_dims(op)
        resized = sum(before != after for before, after in zip(x, y, strict=True))
        return (Window(mode, prod(y), 2 * neighbours**resized, tensor(op, 0).dtype),)

    return lower


_NEAREST = " ".join(f"upsample_nearest{rank}d _upsample_nearest_exact{rank}d" for rank in (1, 2, 3))
enter(_NEAREST, Kind.WINDOW, _nearest, "A copy of the nearest neighbour.")
_BETWEEN = "A product and a sum for each neighbour: along each resized axis two, four of a cubic."
enter(
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa",
    Kind.WINDOW,
    _interpolated("linear", 2),
    _BETWEEN,
)
enter("upsample_bicubic2d _upsample_bicubic2d_aa", Kind.WINDOW, _interpolated("cubic", 4), _BETWEEN)

_GRID_NEIGHBOURS = {0: ("linear", 2), 1: ("nearest", 1), 2: ("cubic", 4)}


def _grid_sample(op: Op) -> tuple[Primitive, ...]:
    mode, neighbours = _GRID_NEIGHBOURS[integer(op, "interpolation_mode", 0)]
    dtype = tensor(op, 0).dtype
    window = 2 * neighbours ** (len(dims(op, 0)) - 2)
    return (Elementwise("grid", size(op, 1), dtype, 2), Window(mode, elements(op), window, dtype))


enter(
    "grid_sampler grid_sampler_2d grid_sampler_3d",
    Kind.WINDOW,
    _grid_sample,
    "Coordinates scaled, then interpolation at the places that the grid names.",
)


def _affine_grid(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("affine_grid", elements(op), tensor(op, 0).dtype, 2 * result_dims(op)[-1]),)


enter("affine_grid_generator", Kind.WINDOW, _affine_grid, "A product and a sum for each coordinate.")
enter("im2col", Kind.WINDOW, _nearest, "A copy of every window.")
enter(
    "col2im",
    Kind.WINDOW,
    lambda op: (Elementwise("add", size(op, 0), tensor(op, 0).dtype),),
    "One addition for each element of the columns.",
)


# -- torchvision ------------------------------------------------------------------------------------------------------


def _roi_align(op: Op) -> Lowering:
    x, y, ratio = dims(op, 0), result_dims(op), integer(op, "sampling_ratio", -1)
    whole = prod(-(-extent // max(1, cell)) for extent, cell in zip(x[2:], y[2:], strict=True))
    return Lowering((Window("roi_align", prod(y), 9 * (ratio**2 if ratio > 0 else whole), tensor(op, 0).dtype),))


def _suppress(op: Op) -> Lowering:
    boxes, dtype = dims(op, 0)[0], tensor(op, 0).dtype
    sort = Scan("sort", boxes, dtype, max(1, (boxes - 1).bit_length()))
    return Lowering((sort, Scan("suppress", boxes * boxes // 2, dtype, 12)))


add(
    OpDef(
        "torchvision.roi_align",
        Kind.WINDOW,
        _roi_align,
        None,
        None,
        "Bilinear samples of each cell, four products each.",
    )
)
add(
    OpDef(
        "torchvision.nms",
        Kind.SCAN,
        _suppress,
        None,
        None,
        "Sort the scores, then compare each box with those after it.",
    )
)

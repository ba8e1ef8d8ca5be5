"""Pools, interpolation and box suppression of TFLite, channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...graph import Op
from ...primitives import Elementwise, Primitive, Scan, Window
from ...registry import Kind, Lowering, OpDef, add, define
from ...types import DType, TensorType, Type
from ..reading import (
    UNKNOWN_DIM,
    constant_integers,
    constant_number,
    dims,
    elements,
    integer,
    largest,
    ranked,
    same_type,
    tensor,
    with_shape,
)
from ..window import interpolated
from .contraction import spatial_output
from .stages import activation

__all__: list[str] = []


def _pool_types(op: Op) -> tuple[Type, ...] | None:
    x = ranked(op, 0)
    if x is None or len(x[1]) != 4:
        return None
    kernel = (integer(op, "filter_height", 1), integer(op, "filter_width", 1))
    return with_shape(op, (x[1][0], *spatial_output(op, x[1][1:3], kernel), x[1][3]))


def _pool(function: str, per_element: int) -> Callable[[Op], Iterable[Primitive]]:
    def lower(op: Op) -> Iterable[Primitive]:
        window = integer(op, "filter_height", 1) * integer(op, "filter_width", 1) * per_element
        return (Window(function, elements(op), window, tensor(op, 0).dtype), *activation(op))

    return lower


# A norm takes the square and the sum of each element. A pool's result has its operand's scale: nothing is requantised.
for _name, _function, _per_element in (("AVERAGE", "average", 1), ("MAX", "max", 1), ("L2", "lp", 2)):
    _doc = f"{_per_element} operation(s) per element of each window."
    add(OpDef(f"tfl.{_name}_POOL_2D", Kind.WINDOW, _pool(_function, _per_element), _pool_types, None, _doc))


@define("tfl.LOCAL_RESPONSE_NORMALIZATION", kind=Kind.WINDOW, infer=same_type)
def local_response_normalization(op: Op) -> Iterable[Primitive]:
    """Squares summed over the channels within ``radius`` (two each); scale, add, power, divide and one product."""
    dtype, results = tensor(op, 0).dtype, elements(op)
    window = 2 * (2 * integer(op, "radius", 0) + 1)
    return (Window("lrn", results, window, dtype), Elementwise("lrn", results, dtype, 4))


# -- interpolation ----------------------------------------------------------------------------------------------------


def _resize_types(op: Op) -> tuple[Type, ...] | None:
    x, wanted = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or len(x[1]) != 4:
        return None
    extents = wanted if wanted is not None and len(wanted) == 2 else (UNKNOWN_DIM, UNKNOWN_DIM)
    return with_shape(op, (x[1][0], *extents, x[1][3]))


@define("tfl.RESIZE_BILINEAR", kind=Kind.WINDOW, infer=_resize_types)
def resize_bilinear(op: Op) -> Iterable[Primitive]:
    """Each result from two neighbours along each resized axis."""
    return interpolated(op, "linear")


@define("tfl.RESIZE_NEAREST_NEIGHBOR", kind=Kind.WINDOW, infer=_resize_types)
def resize_nearest_neighbor(op: Op) -> Iterable[Primitive]:
    """A copy of the nearest element."""
    return interpolated(op, "nearest")


# -- boxes ------------------------------------------------------------------------------------------------------------

_BOX_OPS = 12
"""Comparing two boxes: four corners, two areas, their overlap and its quotient."""


def suppression(boxes: int, lists: int, kept: int, dtype: DType) -> tuple[Primitive, ...]:
    """Sort each list's scores, then compare each kept box with those after it; as if the most allowed were kept."""
    return (
        Scan("sort", lists * boxes, dtype, largest(1, (boxes - 1).bit_length())),
        Scan("suppress", lists * boxes * min(kept, boxes), dtype, _BOX_OPS),
    )


def _suppression_types(op: Op) -> tuple[Type, ...] | None:
    """Indices, of V5 their scores too, and how many of them are valid."""
    kept = constant_number(op.operand(2))
    shape = (UNKNOWN_DIM if kept is None else int(kept),)
    scores = (TensorType(DType.F32, shape),) if len(op.results) == 3 else ()
    return (TensorType(DType.I32, shape), *scores, TensorType(DType.I32, ()))[: len(op.results)]


@define("tfl.NON_MAX_SUPPRESSION_V4", "tfl.NON_MAX_SUPPRESSION_V5", kind=Kind.SCAN, infer=_suppression_types)
def non_max_suppression(op: Op) -> Iterable[Primitive]:
    """One list of boxes."""
    (boxes,) = dims(op, 1)
    return suppression(boxes, 1, elements(op), tensor(op, 0).dtype)


def _detection_types(op: Op) -> tuple[Type, ...] | None:
    """Corners, classes and scores of the boxes kept, and their number."""
    boxes = ranked(op, 0)
    if boxes is None or len(op.results) != 4:
        return None
    kept = integer(op, "max_detections", 0) * integer(op, "max_classes_per_detection", 0)
    rows, batch = kept or UNKNOWN_DIM, boxes[1][0]
    shapes = ((batch, rows, 4), (batch, rows), (batch, rows), (batch,))
    return tuple(TensorType(DType.F32, shape) for shape in shapes)


@define("tfl.custom.TFLite_Detection_PostProcess", kind=Kind.SCAN, infer=_detection_types, any_type=True)
def detection_post_process(op: Op) -> Lowering:
    """Boxes decoded from their anchors (8 operations each for four numbers), the best classes found, boxes suppressed.

    Fast suppression makes one list of all boxes, each with its best classes; the regular one has a list for each class.
    """
    batch, boxes = dims(op, 0)[:2]
    classes, dtype = dims(op, 1)[-1], DType.F32
    kept = integer(op, "max_detections", 0)
    if not kept:
        raise ValueError("its options, which say how many boxes are kept, cannot be read")
    regular = bool(integer(op, "use_regular_nms", 0))
    lists = classes - 1 if regular else 1
    most = integer(op, "detections_per_class", kept) if regular else kept
    best = (Scan("topk", batch * boxes * classes, dtype),)
    decoded = Elementwise("decode_boxes", batch * boxes * 4, dtype, 8)
    written = batch * kept * max(1, integer(op, "max_classes_per_detection", 1)) * 4
    known = [value.bytes for value in op.results]
    bounds = (4 * written, written, written, 4 * batch)
    writes = {i: bound if size is None else size for i, (size, bound) in enumerate(zip(known, bounds, strict=True))}
    return Lowering((decoded, *best, *suppression(boxes, batch * lists, most, dtype)), writes=writes)
